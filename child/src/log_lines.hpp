// Text as the protocol wants it: a line at a time, valid UTF-8, no line too long.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::child {

class LogLines {
 public:
  /// `text` must outlive it. The end of the last line need not be marked; an empty text is one empty line.
  explicit LogLines(std::string_view text) : rest_(text) {}

  /// The next line, without its end: bytes that are no UTF-8 become U+FFFD, what is above protocol::kMaxLogLine is cut
  /// between two characters and replaced by a mark. Good until the next call.
  std::optional<std::string_view> next();

 private:
  std::string_view rest_;
  std::string line_;  ///< only for a line that had to be changed
  bool over_ = false;
};

}  // namespace bulkhead::child
