#include "supervisor/pool/backoff.hpp"

#include <algorithm>

namespace bulkhead::pool {

milliseconds Backoff::failed(double random) {
  ++failures_;
  if (exhausted()) return std::chrono::duration_cast<milliseconds>(times_.slow * (0.9 + 0.2 * random));
  const int doublings = std::min(failures_ - 1, 30);
  const milliseconds ceiling = std::min(times_.longest, times_.first * (std::int64_t{1} << doublings));
  return std::chrono::duration_cast<milliseconds>(ceiling * random);
}

void Backoff::lose_patience() { failures_ = std::max(failures_, times_.patience - 1); }

}  // namespace bulkhead::pool
