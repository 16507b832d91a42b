// How far a job is that somebody waits for, in one line on standard error that is drawn over itself.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::client {

/// How much of its work a handler's progress says is done, 0 to 1; none when that cannot be told. It may be a number (up to 1:
/// a share; else percent), a text such as "40%" or "page 2 of 5", or an object with one of fraction, percent, percentage,
/// progress, or with of or total beside another number, as {"page": 2, "of": 5}.
std::optional<double> share_done(std::string_view progress);

class ProgressLine {
 public:
  /// Not `shown`: nothing is ever drawn.
  explicit ProgressLine(bool shown) : shown_(shown) {}
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  bool shown() const { return shown_; }
  /// What is known now. `progress` is the handler's, JSON, or empty.
  void set(std::string_view status, std::string_view progress);
  /// Draws it as it is at this moment.
  void draw();
  /// Makes the line free, for something else to be said.
  void clear();

 private:
  bool shown_;
  bool drawn_ = false;
  std::string status_ = "submitted";
  std::string progress_;
  std::optional<double> share_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace bulkhead::client
