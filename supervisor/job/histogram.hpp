// How often something took how long, in buckets whose bounds never change, so that counts of several supervisors can be
// added up. To count one is a search among two dozen numbers and three increments.

#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace bulkhead {

struct Histogram {
  /// Upper bounds, in seconds, bound included: a journal's commit takes tenths of a millisecond, a job up to hours.
  static constexpr std::array kBounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,  0.1,   0.25,
                                      0.5,    1.0,     2.5,    5.0,   10.0,   30.0,  60.0, 300.0, 900.0, 3600.0};

  std::array<std::uint64_t, kBounds.size() + 1> counts{};  ///< each bucket's own; the last: above every bound
  std::uint64_t count = 0;
  double sum = 0;  ///< seconds

  void add(std::chrono::microseconds value) {
    const double seconds = std::max(0.0, static_cast<double>(value.count()) / 1e6);
    const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
    ++counts[static_cast<std::size_t>(bound - kBounds.begin())];
    ++count;
    sum += seconds;
  }
};

}  // namespace bulkhead
