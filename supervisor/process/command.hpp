// What a plan's command means on this machine: which file it is, with which environment, and what to tell a person when
// it cannot be executed.

#pragma once

#include <string>
#include <vector>

#include "supervisor/process/launch.hpp"
#include "supervisor/process/spawn_plan.hpp"

namespace bulkhead::process {

/// The child's whole environment as NAME=value; the cookie first.
std::vector<std::string> environment_of(const SpawnPlan& plan);

/// The file to execute. A name without a slash is looked up in the PATH of `environment` as a shell would; the name
/// itself comes back where there is none, and error is what exec would say then (0 otherwise).
struct Found {
  std::string path;
  int error = 0;
};
Found find_command(const SpawnPlan& plan, const std::vector<std::string>& environment);

/// The sentence for a person.
std::string explain(const SpawnPlan& plan, const std::string& path, Step step, int error);

}  // namespace bulkhead::process
