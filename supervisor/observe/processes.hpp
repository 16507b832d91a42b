// What the kernel says of a process, from /proc. Nothing here waits: a file of it is made as it is read.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace bulkhead::observe {

struct ProcessUsage {
  std::uint64_t resident_bytes = 0;  ///< shared pages counted in full
  double cpu_seconds = 0;            ///< user and system, with those of the processes it has waited for
};
/// None where there is no such process.
std::optional<ProcessUsage> usage_of(pid_t pid);

/// This process, as the client libraries of Prometheus describe theirs.
struct OwnUsage {
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  double cpu_seconds = 0;    ///< its own, without its children's
  double start_seconds = 0;  ///< since the epoch
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
};
OwnUsage own_usage();

}  // namespace bulkhead::observe
