// The dispatch window of one child: how many jobs it may hold beyond those it runs. Pure.
//
// With tiny jobs the time goes into wake-ups, not into work: a child that has the next job already is several times
// faster. With any other job a window only makes it wait behind a neighbour. So by itself the window is closed; a streak
// of tiny runs opens it in steps; one slow run, or one line on stdout or stderr, closes it at once. (Output is told
// apart by asking whose turn it was: that is exact only while a child is not fed ahead.)

#pragma once

#include <chrono>
#include <optional>

namespace bulkhead::pool {

class Window {
 public:
  static constexpr int kMost = 16;
  /// A streak of so many runs, each below kTiny, opens the window by one step: to 1, 4, 16.
  static constexpr int kStreak = 32;
  static constexpr std::chrono::microseconds kTiny{1000};
  /// A run this long closes it.
  static constexpr std::chrono::microseconds kSlow{3000};

  /// `fixed`: always this size; empty: as the runs say.
  explicit Window(std::optional<int> fixed) : automatic_(!fixed), size_(fixed.value_or(0)) {}

  int size() const { return size_; }
  bool automatic() const { return automatic_; }

  /// A run took this long. True if the size has changed.
  bool ended(std::chrono::microseconds run_time);
  /// A run is slow, or the child has written something. True if the size has changed.
  bool close();

 private:
  bool automatic_;
  int size_;
  int streak_ = 0;
};

}  // namespace bulkhead::pool
