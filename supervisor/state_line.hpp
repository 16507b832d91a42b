// The state of a supervisor as one line of JSON, for SIGUSR1: who runs, what runs there, how much waits.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/dispatcher.hpp"
#include "supervisor/pool/pool.hpp"

namespace bulkhead {

struct StateView {
  std::string_view phase;  ///< "serving", "draining", …
  int workers = 0;         ///< wanted
  int spares = 0;
  int backing_off = 0;
  Dispatcher::Counts counts;
  std::vector<pool::WorkerView> children;
  std::size_t connections = 0;
  std::size_t webhooks = 0;  ///< to be delivered
};

/// {"event":"state","time":…,"pid":…,"phase":…,"jobs":{…},"children":[{"id":"w0.1",…,"jobs":["id"]}],…}, without an end of
/// line.
std::string state_line(const StateView& view);

}  // namespace bulkhead
