// How long to wait after a failed set-up. Pure.
//
// Exponential with full jitter: many places of one pool (and many machines after one bad release) must not try again
// in step. After `patience` failures in a row the place counts as exhausted, and tries again at a slow, steady pace.

#pragma once

#include <chrono>

namespace bulkhead::pool {

using std::chrono::milliseconds;

struct BackoffTimes {
  milliseconds first{250};       ///< the longest wait after the first failure; doubled with every further one
  milliseconds longest{30'000};  ///< where doubling ends
  milliseconds slow{30'000};     ///< once exhausted (a tenth more or less)
  int patience = 5;
};

class Backoff {
 public:
  explicit Backoff(const BackoffTimes& times) : times_(times) {}

  /// Notes one more failure in a row, and says how long to wait. `random` is uniform in [0, 1).
  milliseconds failed(double random);
  /// No more attempt is worth the wait of a short row: the next failure counts as the last of it.
  void lose_patience();
  void succeeded() { failures_ = 0; }

  int failures() const { return failures_; }
  bool exhausted() const { return failures_ >= times_.patience; }

 private:
  BackoffTimes times_;
  int failures_ = 0;
};

}  // namespace bulkhead::pool
