// The state of a supervisor as one line of JSON, for SIGUSR1: who runs, what runs there, how much waits.

#pragma once

#include <string>

#include "supervisor/observe/snapshot.hpp"

namespace bulkhead {

/// {"event":"state","time":…,"pid":…,"phase":…,"jobs":{…},"children":[{"id":"w0.1",…,"jobs":["id"]}],…}, without an end of
/// line.
std::string state_line(const observe::Snapshot& seen);

}  // namespace bulkhead
