// What the machine has to give: limits, shared memory, GPUs, a disk that keeps its word, a clock, free addresses.

#pragma once

#include <string>
#include <vector>

#include "supervisor/doctor/finding.hpp"

namespace bulkhead::doctor {

Section resources();

/// `state_dir` need not exist; nothing is left in it. Writes some hundred kilobytes, which takes up to two seconds.
Section storage(const std::string& state_dir);

/// `listen`: addresses as --listen takes them. Each is tried and given back.
Section surroundings(const std::vector<std::string>& listen);

/// One line about the machine and what stands between it and us.
std::string place();

}  // namespace bulkhead::doctor
