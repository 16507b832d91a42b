// Cuts a stream of bytes into lines of bounded length.

#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace bulkhead::process {

class LineSplitter {
 public:
  /// A line without its end, valid UTF-8. A cut one ends in " [… N more bytes]". Valid for the call.
  using Sink = std::function<void(std::string_view line)>;

  explicit LineSplitter(std::size_t max_line) : max_line_(max_line) {}

  void feed(std::string_view bytes, const Sink& sink);
  /// Passes on what has no end yet, if there is anything.
  void flush(const Sink& sink);

 private:
  void take(std::string_view part);
  void end_line(const Sink& sink);

  std::size_t max_line_;
  std::string line_;
  std::size_t cut_ = 0;    // bytes of the line beyond max_line_
  bool returned_ = false;  // a carriage return came: what follows starts the line over, unless it is the line's end
};

}  // namespace bulkhead::process
