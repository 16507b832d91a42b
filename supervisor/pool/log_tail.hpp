// The last lines a child wrote, and how many it may send. Pure.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/ports.hpp"

namespace bulkhead::pool {

/// The last kLines lines, whoever wrote them; each knows its run.
class LogTail {
 public:
  static constexpr std::size_t kLines = 50;

  void add(RunNumber run, std::string_view line);
  /// Oldest first: those of `run`, and those of no run (a child's set-up, output nobody can tell apart). What other
  /// jobs wrote is nobody else's business.
  std::vector<std::string> of(RunNumber run) const;
  /// The last `count`, whosever they are, as one text with a line each.
  std::string last(std::size_t count) const;

 private:
  struct Line {
    RunNumber run = 0;
    std::string text;
  };
  std::vector<Line> lines_;  ///< a ring once it is full
  std::size_t next_ = 0;
};

/// Lines a child may log through the SDK: a burst, then a steady rate. What is above is dropped and counted. (The
/// pipes of stdout and stderr have a limit of their own.)
class LogBudget {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::int64_t kBurst = 20'000;
  static constexpr std::int64_t kPerSecond = 5'000;
  static constexpr std::chrono::milliseconds kFull{1000 * kBurst / kPerSecond};  ///< to earn a whole burst

  /// True if this line may pass.
  bool take(Time now);
  /// Lines dropped since this was last asked with something to say; 0 while lines are still being dropped.
  std::uint64_t dropped();

 private:
  std::int64_t left_ = kBurst;
  std::uint64_t dropped_ = 0;
  bool passing_ = true;
  Time counted_{};
};

}  // namespace bulkhead::pool
