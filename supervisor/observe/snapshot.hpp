// What there is to see of a supervisor at one moment, as one value: whatever shows it (the metrics, SIGUSR1's line, a page,
// a command) reads this, and nothing of the parts behind it.
//
// It is put together when it is asked for; but what is counted is counted as it happens, without an allocation or a lock,
// on the loop's thread.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/histogram.hpp"
#include "supervisor/job/watchers.hpp"
#include "supervisor/observe/gpus.hpp"
#include "supervisor/observe/processes.hpp"

namespace bulkhead::observe {

// ---- jobs ------------------------------------------------------------------------------------------------------------

/// How jobs end: outcome and error type, which are known beforehand; a type that is not is the last.
struct JobEnd {
  Status status;
  std::string_view error_type;
};
inline constexpr std::array kJobEnds{
    JobEnd{Status::Completed, "none"},          JobEnd{Status::Failed, "HandlerError"},
    JobEnd{Status::Failed, "WorkerCrash"},      JobEnd{Status::Failed, "WorkerLost"},
    JobEnd{Status::Failed, "ExecutionTimeout"}, JobEnd{Status::Failed, "ProtocolViolation"},
    JobEnd{Status::Failed, "Stalled"},          JobEnd{Status::Failed, "Quarantined"},
    JobEnd{Status::Failed, "Shutdown"},         JobEnd{Status::Cancelled, "Cancelled"},
    JobEnd{Status::TimedOut, "Expired"},        JobEnd{Status::Failed, "other"},
};
inline constexpr std::size_t kRefusals = 7;  ///< Refusal's values

struct JobTotals {
  std::uint64_t accepted = 0;
  std::array<std::uint64_t, kRefusals> refused{};
  std::array<std::uint64_t, kJobEnds.size()> ended{};
  std::uint64_t retried = 0;
  Histogram wait;  ///< from the submission to the start of the last attempt
  Histogram run;   ///< of the last attempt
};

struct Queue {
  std::int64_t jobs = 0;
  std::int64_t running = 0;
  double oldest_seconds = 0;  ///< how long the job at its head has waited; 0: nobody waits
};

// ---- children --------------------------------------------------------------------------------------------------------

enum class ChildState : std::uint8_t { Launching, SettingUp, Spare, Ready, Retiring, Ending, Dead };
inline constexpr std::array<std::string_view, 7> kChildStates{"launching", "setting up", "spare", "ready",
                                                              "retiring",  "ending",     "dead"};

struct ChildJob {
  std::string id;
  RunNumber run = 0;
  int attempt = 1;
  bool entered = false;  ///< false: it waits in the child
  milliseconds age{0};   ///< since it was entered, or else handed out
};

struct Child {
  std::string id;  ///< "w2.7": the seventh child in slot 2
  int slot = 0;
  pid_t pid = 0;
  ChildState state = ChildState::Launching;
  milliseconds in_state{0};
  int concurrency = 0;
  int window = 0;
  int jobs_done = 0;
  std::uint64_t resident_bytes = 0;
  double cpu_seconds = 0;                  ///< its own, with the processes it waited for
  std::optional<std::uint64_t> gpu_bytes;  ///< none: no device, or not known
  std::vector<ChildJob> jobs;              ///< in the order they were handed out
};

/// All children that were ever in one place of the pool.
struct Slot {
  std::uint64_t resident_bytes = 0;  ///< of those there now
  double cpu_seconds = 0;            ///< of all
  std::uint64_t gpu_bytes = 0;
};

struct Restart {
  std::int64_t at_ms = 0;  ///< wall time
  std::string child;       ///< that ended
  int slot = 0;
  EndCause cause = EndCause::Exit;
  std::string how;  ///< "was killed by SIGSEGV"
};
/// Of the restarts, so many are remembered one by one.
inline constexpr std::size_t kRestartsKept = 256;

// ---- the rest --------------------------------------------------------------------------------------------------------

struct JournalView {
  bool kept = false;  ///< there is a file
  bool writable = true;
  std::uint64_t bytes = 0;  ///< of the file and its log
  std::size_t backlog = 0;  ///< writes that wait
  Histogram commits;        ///< one transaction each
};

/// Calls to a platform, by what they were for and how they went.
struct PlatformCalls {
  std::string_view call;  ///< "take", "result", "ping", "stop"
  std::uint64_t ok = 0;
  std::uint64_t refused = 0;  ///< answered with a 4xx
  std::uint64_t failed = 0;   ///< no answer, or one that says the platform is ill
};

/// Why no job would be run now. None of it: ready.
struct Readiness {
  bool ready = false;
  std::string reason;  ///< for people
};

struct Snapshot {
  std::int64_t at_ms = 0;  ///< wall time
  std::string_view version;
  std::string_view phase;  ///< "serving", "draining", …
  Readiness readiness;
  bool accepts = false;  ///< a job that came now would be taken in

  JobTotals jobs;
  Queue queue;

  int workers_wanted = 0;
  int spares_wanted = 0;
  int backing_off = 0;  ///< slots whose next child waits, because the last ones failed in their set-up
  std::vector<Child> children;
  std::vector<Slot> slots;  ///< by number
  std::array<std::uint64_t, kEndCauses> restarts{};
  std::vector<Restart> last_restarts;  ///< oldest first

  OwnUsage own;
  std::vector<GpuMemory> gpus;
  JournalView journal;
  std::vector<PlatformCalls> platform;  ///< empty: there is none
  std::size_t webhooks = 0;             ///< to be delivered
  std::size_t connections = 0;
  std::size_t log_lines_dropped = 0;
  double loop_lag_seconds = 0;  ///< the longest that a due timer waited for its turn in the last minute
};

}  // namespace bulkhead::observe
