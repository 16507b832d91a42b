// The last lines of the log, in memory: for whoever has no access to where it is written to. A ring, bounded in lines and in
// bytes; what falls out of it is gone, and a reader that was too slow sees by the numbers how much. One thread.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace bulkhead::observe {

class Lines {
 public:
  static constexpr std::size_t kMostLines = 10'000;
  static constexpr std::size_t kMostBytes = 4 << 20;
  static constexpr std::size_t kLongest = 16 << 10;  ///< bytes of a line's text; what is beyond is cut off

  struct Line {
    std::uint64_t number = 0;  ///< counts up from begin()
    std::int64_t at_ms = 0;    ///< wall time
    std::string_view level;    ///< "trace" … "error"; lives for ever
    std::string_view job;      ///< an id, or empty
    std::string_view worker;   ///< "w2.7", or empty
    std::string_view stream;   ///< "stdout", "stderr", "log", "pool"; of the supervisor's own lines "supervisor"
    std::string_view text;
  };

  /// The first line will have number `begin`, not 0.
  explicit Lines(std::uint64_t begin = 1) : begin_(begin), first_(begin) {}

  /// All but its number is to be said.
  void add(const Line& line);

  std::uint64_t begin() const { return begin_; }
  /// The numbers of the oldest line that is here and of the newest; there is none where first() > last().
  std::uint64_t first() const { return first_; }
  std::uint64_t last() const { return first_ + lines_.size() - 1; }
  /// One that is here. Valid until the next add().
  Line at(std::uint64_t number) const;

  /// `written` is called once, from within the next add(): it is not to do more than to take note. The number may be given
  /// to stop_waiting().
  std::uint64_t wait(std::function<void()> written);
  void stop_waiting(std::uint64_t waiter) { waiters_.erase(waiter); }

 private:
  struct Kept {
    std::int64_t at_ms;
    std::string_view level;
    std::uint8_t job, worker, stream;  ///< sizes; they stand one behind the other, and the text behind them
    std::string bytes;
  };

  std::deque<Kept> lines_;
  std::uint64_t begin_;
  std::uint64_t first_;
  std::size_t bytes_ = 0;
  std::map<std::uint64_t, std::function<void()>> waiters_;
  std::uint64_t last_waiter_ = 0;
};

}  // namespace bulkhead::observe
