// What a child is to be, as one value: everything `launch` does between fork and exec is read from here.
//
// Given to every child, and so not in the plan: a session and a process group of its own, all signals at their default
// and unblocked, no descriptor beyond 0, 1 and 2.

#pragma once

#include <sys/resource.h>

#include <csignal>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bulkhead::process {

struct SpawnPlan {
  /// One limit for the child and what it starts. `resource` is RLIMIT_….
  struct Limit {
    int resource = 0;
    rlimit value{};
  };

  /// The command. argv[0] without a slash is looked up in the PATH the child will have; with one it is relative to
  /// `cwd`.
  std::vector<std::string> argv;

  /// The child's environment is the supervisor's, less `environment_removed`, with `environment` set. The later of two
  /// settings of one name holds.
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> environment_removed;

  /// Value of BULKHEAD_COOKIE (see strays.hpp); placed first in the environment, where a search finds it soonest.
  std::string cookie;
  /// Directory that becomes TMPDIR and BULKHEAD_SCRATCH (see scratch.hpp); empty: neither is set.
  std::string scratch;
  /// Working directory; empty: the supervisor's.
  std::string cwd;

  /// Descriptors of the supervisor's to become the child's 0, 1 and 2; they stay the caller's. -1: /dev/null.
  /// To let the child share the supervisor's own, pass STDOUT_FILENO.
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;

  std::vector<Limit> limits;
  /// -1000..1000; raising is always allowed. A child should go before its supervisor, so the pool raises it.
  std::optional<int> oom_score_adj;
  /// Added to the supervisor's own niceness.
  int nice = 0;
  /// The signal the child gets when the *thread* that launched it ends; 0: none. Launch from the main thread with it.
  int death_signal = 0;
  /// Directories of the cgroups the child moves into first, one of each hierarchy; none: it stays in the supervisor's.
  std::vector<int> cgroups;
};

}  // namespace bulkhead::process
