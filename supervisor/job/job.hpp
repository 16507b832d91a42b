// A job and what may become of it.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "supervisor/job/payload.hpp"

namespace bulkhead {

using std::chrono::milliseconds;

/// One moment on both clocks. Deadlines are kept on the monotonic one, so a clock that jumps moves none of them; what
/// people and the journal see is wall time, in milliseconds since the epoch.
struct Instant {
  std::chrono::steady_clock::time_point mono;
  std::int64_t wall_ms = 0;
};

/// The ways to lose an attempt: bits of Policy::retry_on.
enum Loss : std::uint8_t {
  kLostByCrash = 1,    ///< its child died
  kLostByTimeout = 2,  ///< it ran longer than its execution_timeout, or stalled
  kLostByLoss = 4,     ///< the supervisor or the machine went away, or child after child died before starting it
  kLostByError = 8,    ///< the handler itself failed the job
};

/// What a client may ask for in `policy`; the defaults are RunPod's.
struct Policy {
  milliseconds execution_timeout{600'000};  ///< of one attempt; 5 s to 7 days over HTTP
  milliseconds ttl{86'400'000};             ///< from submission to the end; 10 s to 7 days over HTTP
  bool low_priority = false;                ///< does not make an autoscaler act
  int max_attempts = 1;                     ///< 1 + --retries
  std::uint8_t retry_on = kLostByCrash | kLostByLoss;
  milliseconds retry_backoff_min{200};     ///< before the second attempt at least so long, up to twice that …
  milliseconds retry_backoff_max{30'000};  ///< … then twice as long each time, but never longer
  milliseconds stall_timeout{0};           ///< without a sign of life for so long is a time-out; 0: not looked at

  bool retries(Loss loss) const { return (retry_on & loss) != 0; }
  bool operator==(const Policy&) const = default;
};

struct Job {
  std::string id;
  Payload input;  ///< the JSON value of `input`, as the client wrote it
  Payload extra;  ///< further top-level keys the handler sees, as one JSON object; empty when there are none
  Policy policy;
  std::string webhook;            ///< URL, or empty
  std::string idempotency_key;    ///< the client's; empty when there is none
  std::string traceparent;        ///< the request's, as W3C's Trace Context has it; empty when there is none
  std::int64_t submitted_ms = 0;  ///< wall time; 0: when it is submitted to the core
  bool sync = false;              ///< came by runsync: its result is kept for a shorter time
};

enum class Status : std::uint8_t { InQueue, InProgress, Completed, Failed, Cancelled, TimedOut };

/// RunPod's word for it: "IN_QUEUE", "IN_PROGRESS", …
std::string_view to_string(Status status);
inline bool is_final(Status status) { return status >= Status::Completed; }

/// How a job ended.
struct Outcome {
  Status status = Status::Failed;
  Payload output;                 ///< one JSON value, or none
  Payload error;                  ///< one JSON value (usually a string), or none
  std::string error_type;         ///< "WorkerCrash", "executionTimeout", "HandlerError", …; empty when it succeeded
  std::string worker_id;          ///< the child that had it last; empty if none ever had it
  int attempts = 0;               ///< attempts that were counted
  std::int64_t started_ms = 0;    ///< wall time at which the last attempt entered its handler; 0: never
  std::int64_t finished_ms = 0;   ///< wall time
  std::int64_t execution_ms = 0;  ///< run time of the last attempt
  bool refresh_worker = false;    ///< the handler asked for a fresh child
  bool dead = false;              ///< the last of its attempts ended in a crash
  Payload history;                ///< of its attempts (history.hpp); none where none was lost
};

}  // namespace bulkhead
