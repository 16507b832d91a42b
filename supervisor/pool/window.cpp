#include "supervisor/pool/window.hpp"

#include <algorithm>

namespace bulkhead::pool {

bool Window::ended(std::chrono::microseconds run_time) {
  if (!automatic_) return false;
  if (run_time >= kSlow) return close();
  if (run_time >= kTiny) {
    streak_ = 0;
    return false;
  }
  if (size_ == kMost || ++streak_ < kStreak) return false;
  streak_ = 0;
  size_ = size_ == 0 ? 1 : std::min(kMost, size_ * 4);
  return true;
}

bool Window::close() {
  if (!automatic_) return false;
  streak_ = 0;
  const bool changed = size_ != 0;
  size_ = 0;
  return changed;
}

}  // namespace bulkhead::pool
