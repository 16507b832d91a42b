// Whether this machine is fit to take jobs, as RunPod's own worker judges it before its first one: memory and disk.

#pragma once

#include <optional>
#include <string>

namespace bulkhead {

/// The official worker's defaults.
struct RunPodFitness {
  bool checked = true;  ///< RUNPOD_SKIP_AUTO_SYSTEM_CHECKS
  double memory_gb = 4;
  double disk_percent = 10;
};

struct Unfit {
  std::string check;  ///< by the name the platform knows it under
  std::string reason;
};

/// What is wrong, if something is. What cannot be found out is not held against the machine.
std::optional<Unfit> judge_fitness(const RunPodFitness& wanted);

}  // namespace bulkhead
