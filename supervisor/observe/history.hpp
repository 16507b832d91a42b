// The last hour, in intervals: how many jobs ended how, and how long they waited and ran. A ring of fixed size; to count a
// job allocates nothing.

#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "supervisor/job/job.hpp"

namespace bulkhead::observe {

/// Times in buckets a quarter of an octave wide, from a millisecond to a week: a quantile of them is right within a tenth.
class Spread {
 public:
  void add(milliseconds time);
  void add(const Spread& other);
  void clear() { counts_.fill(0); }
  /// Below which time lies this part of them; 0 where there are none.
  double quantile_ms(double part) const;

 private:
  std::array<std::uint32_t, 120> counts_{};
};

struct Quantiles {
  double p50_ms = 0, p95_ms = 0;
};

class History {
 public:
  static constexpr std::chrono::seconds kInterval{20};
  static constexpr std::size_t kIntervals = 180;

  struct Ended {
    std::uint32_t completed = 0, failed = 0, cancelled = 0, timed_out = 0;
  };
  struct Interval {
    std::int64_t begin_ms = 0;  ///< wall time, a multiple of kInterval
    Ended ended;
    Quantiles wait, run;
  };

  /// Of a job that ended at `now_ms`. One that never ran counts among the ended only.
  void add(std::int64_t now_ms, Status status, bool ran, milliseconds waited, milliseconds run);

  /// Oldest first, those without a job left out; the last is still being filled.
  std::vector<Interval> intervals(std::int64_t now_ms) const;
  /// The whole hour as one.
  Interval hour(std::int64_t now_ms) const;

 private:
  struct Slot {
    std::int64_t number = -1;  ///< of the interval, since the epoch
    Ended ended;
    Spread wait, run;
  };
  static std::int64_t number_at(std::int64_t ms) { return ms / std::chrono::milliseconds(kInterval).count(); }
  bool within(const Slot& slot, std::int64_t now) const;

  std::vector<Slot> ring_{kIntervals};
};

}  // namespace bulkhead::observe
