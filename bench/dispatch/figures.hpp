// Latencies of one measurement, and how they are shown.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <vector>

namespace bulkhead::bench {

using Clock = std::chrono::steady_clock;

inline double micros(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

struct Figures {
  double p50_us = 0, p99_us = 0, per_second = 0;

  static Figures of(std::vector<double> latencies_us, Clock::duration whole) {
    Figures figures;
    if (latencies_us.empty()) return figures;
    std::sort(latencies_us.begin(), latencies_us.end());
    figures.p50_us = latencies_us[latencies_us.size() / 2];
    figures.p99_us = latencies_us[latencies_us.size() * 99 / 100];
    figures.per_second = static_cast<double>(latencies_us.size()) / std::chrono::duration<double>(whole).count();
    return figures;
  }
};

}  // namespace bulkhead::bench
