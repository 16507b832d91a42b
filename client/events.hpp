// Server-sent events, taken apart as their bytes arrive.

#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace bulkhead::client {

struct Event {
  std::string id;
  std::string name;  ///< "message" when it has none
  std::string data;  ///< of several data lines, with line ends between
};

/// https://html.spec.whatwg.org/multipage/server-sent-events.html: lines end with LF, CRLF or CR, an empty one ends an
/// event, one that begins with a colon is a comment. `retry` is skipped: the client has its own pace.
class EventReader {
 public:
  using Found = std::function<void(const Event&)>;
  explicit EventReader(Found found) : found_(std::move(found)) {}

  void take(std::string_view bytes);
  /// A new connection: what stands half is forgotten.
  void restart();

 private:
  void take_line(std::string_view line);

  Found found_;
  std::string line_;
  bool after_return_ = false;  ///< a line feed that comes next belongs to the line before
  bool has_data_ = false;
  Event event_;
};

}  // namespace bulkhead::client
