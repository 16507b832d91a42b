// What the platform's answers say: jobs that were handed over, and jobs that are to be stopped. Pure.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/job.hpp"

namespace bulkhead {

/// Says what is wrong with a text that should be one JSON value, or nothing.
using JsonCheck = std::function<std::optional<std::string>(std::string_view)>;

struct TakenJob {
  std::string id;
  Payload input;  ///< the bytes as they came, not copied
  Payload extra;  ///< all other members but the id, as one object; empty when there are none
  std::optional<milliseconds> execution_timeout;  ///< the job's `policy.executionTimeout`
  std::string fault;                              ///< why it cannot be run; empty: it can. Then there may be no input
};

struct TakenJobs {
  std::vector<TakenJob> jobs;
  int nameless = 0;   ///< jobs without an id, whom nobody can be told of
  std::string fault;  ///< why the answer means nothing
};

/// The body of a take: one job, or an array of them (whichever was asked for), or nothing. Members given twice: the last
/// one counts, as Python reads it.
TakenJobs read_taken(std::string body, const JsonCheck& check);

/// The ids in the body of an answer on the stop channel: {"jobsToStop": [ids]}. None when it is not understood.
std::optional<std::vector<std::string>> read_stops(std::string_view body);

}  // namespace bulkhead
