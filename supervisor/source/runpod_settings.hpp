// What RunPod's platform tells a worker by its environment, as one value. Pure.

#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "supervisor/source/runpod_fitness.hpp"

namespace bulkhead {

struct RunPodSettings {
  // URL templates. In `take`, $ID is the worker; in the others it is the job, and $RUNPOD_POD_ID the worker.
  std::string take;
  std::string output;
  std::string stream;  ///< empty: chunks have nowhere to go
  std::string ping;    ///< empty: no pings
  std::string key;     ///< the Authorization header, as it is; never shown
  std::string worker_id;
  std::chrono::milliseconds ping_interval{10'000};
  std::string integration;  ///< RUNPOD_UA_INTEGRATION, a word for the User-Agent
  RunPodFitness fitness;
  /// What is set and not honoured, or not as it was meant: for the operator.
  std::vector<std::string> remarks;

  // Bulkhead's own.
  int prefetch = 0;       ///< jobs taken beyond those that can start at once
  bool stop_pod = false;  ///< a result that asks for a fresh worker tells the platform to stop the pod
};

struct NotOnRunPod {};

using EnvironmentVariables = std::map<std::string, std::string, std::less<>>;

/// A string is what is wrong, for the operator. `fresh_id` is the worker's where the platform gave none.
std::variant<RunPodSettings, NotOnRunPod, std::string> runpod_settings(const EnvironmentVariables& environment,
                                                                       std::string_view fresh_id);

}  // namespace bulkhead
