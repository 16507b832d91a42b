// Limits on how often clients may ask, per path. None unless configured.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::http {

struct RateLimit {
  std::string path;    ///< a route's name: "run", "status", …
  int per_window = 0;  ///< requests in ten seconds; 0: no limit
  int at_once = 0;     ///< requests being answered at a time; 0: no limit
};

class Rates {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  Rates() = default;
  explicit Rates(const std::vector<RateLimit>& limits);

  /// Other limits from now on. Requests that are being answered stay counted.
  void replace(const std::vector<RateLimit>& limits);

  /// None: go on, and release() when the answer is out. Otherwise: come back after so many seconds.
  std::optional<int> admit(std::string_view path, TimePoint now);
  void release(std::string_view path);

 private:
  /// A bucket that holds a window's requests and refills evenly, so that a burst is allowed and a window's edge is not
  /// a trick.
  struct Bucket {
    RateLimit limit;
    double tokens = 0;
    TimePoint filled{};
    int at_once = 0;
  };
  Bucket* find(std::string_view path);

  std::vector<Bucket> buckets_;
};

}  // namespace bulkhead::http
