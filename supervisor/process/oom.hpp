// Was it the out-of-memory killer? The kernel tells no process, it only counts: per cgroup, and for the whole machine.
// So the counts are read when a child starts and again when it has died, and SIGKILLs of our own are taken out.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "supervisor/process/exit_status.hpp"

namespace bulkhead::process {

/// Kills so far; empty where the system does not say.
struct OomCounts {
  std::optional<std::uint64_t> cgroup;   ///< in the supervisor's memory cgroup (and below it)
  std::optional<std::uint64_t> machine;  ///< everywhere
};

/// Knows where this process's counters are.
class OomCounters {
 public:
  OomCounters();
  OomCounts read() const;
  /// What the cgroup allows, or empty: for the text of a record.
  std::optional<std::uint64_t> memory_limit() const;

 private:
  std::string cgroup_events_;  ///< memory.events (v2) or memory.oom_control (v1); empty: none
  std::string cgroup_limit_;
};

struct OomVerdict {
  bool oom_killed = false;
  std::string remark;  ///< what is not certain about it, or what else is known; may be empty
};

/// `killed_by_us`: we had sent SIGKILL ourselves before it died.
OomVerdict judge_oom(const ExitStatus& status, bool killed_by_us, const OomCounts& at_launch,
                     const OomCounts& at_death);

}  // namespace bulkhead::process
