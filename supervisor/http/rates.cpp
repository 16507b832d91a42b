#include "supervisor/http/rates.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace bulkhead::http {

namespace {

constexpr double kWindowSeconds = 10;

}  // namespace

Rates::Rates(const std::vector<RateLimit>& limits) {
  for (const RateLimit& limit : limits) {
    buckets_.push_back({.limit = limit, .tokens = static_cast<double>(limit.per_window)});
  }
}

void Rates::replace(const std::vector<RateLimit>& limits) {
  Rates next(limits);
  for (Bucket& bucket : next.buckets_) {
    Bucket* old = find(bucket.limit.path);
    if (old == nullptr) continue;
    bucket.at_once = old->at_once;
    if (bucket.limit.per_window != old->limit.per_window) continue;
    bucket.tokens = old->tokens;
    bucket.filled = old->filled;
  }
  buckets_ = std::move(next.buckets_);
}

Rates::Bucket* Rates::find(std::string_view path) {
  auto found = std::find_if(buckets_.begin(), buckets_.end(), [&](auto& bucket) { return bucket.limit.path == path; });
  return found == buckets_.end() ? nullptr : &*found;
}

std::optional<int> Rates::admit(std::string_view path, TimePoint now) {
  Bucket* bucket = find(path);
  if (bucket == nullptr) return {};
  if (bucket->limit.at_once > 0 && bucket->at_once >= bucket->limit.at_once) return 1;
  if (bucket->limit.per_window > 0) {
    double most = bucket->limit.per_window;
    double per_second = most / kWindowSeconds;
    if (bucket->filled != TimePoint{}) {
      double seconds = std::chrono::duration<double>(now - bucket->filled).count();
      bucket->tokens = std::min(most, bucket->tokens + seconds * per_second);
    }
    bucket->filled = now;
    if (bucket->tokens < 1) return std::max(1, static_cast<int>(std::ceil((1 - bucket->tokens) / per_second)));
    bucket->tokens -= 1;
  }
  ++bucket->at_once;
  return {};
}

void Rates::release(std::string_view path) {
  // One that was admitted before there was a limit is not counted.
  if (Bucket* bucket = find(path); bucket != nullptr && bucket->at_once > 0) --bucket->at_once;
}

}  // namespace bulkhead::http
