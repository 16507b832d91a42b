// A snapshot as Prometheus reads it. docs/METRICS.md describes every metric, and a test holds the two together.

#pragma once

#include <string>

#include "supervisor/observe/snapshot.hpp"

namespace bulkhead::observe {

inline constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";

/// The text exposition format. Labels have values from closed lists, and numbers of slots and devices: nothing that grows
/// with jobs or restarts.
std::string to_prometheus(const Snapshot& snapshot);

}  // namespace bulkhead::observe
