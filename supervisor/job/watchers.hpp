// What onlookers are told of jobs and of children, for them to count. Nobody waits for an onlooker, and none is told
// anything it could act upon.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "supervisor/job/ports.hpp"

namespace bulkhead {

/// Called on the way of every job: an implementation counts, and returns.
class JobsWatcher {
 public:
  virtual ~JobsWatcher() = default;
  virtual void accepted() = 0;
  virtual void refused(Refusal refusal) = 0;
  /// An attempt was lost; another follows.
  virtual void retried() = 0;
  /// The outcome is durable, and not yet told. `run_time`: of the last attempt.
  virtual void ended(const Job& job, const Outcome& outcome, std::chrono::microseconds run_time) = 0;
};

/// Why a child's process is gone.
enum class EndCause : std::uint8_t {
  Exit,      ///< it ended by itself
  Signal,    ///< it crashed, or somebody else killed it
  Oom,       ///< the kernel's out-of-memory killer
  Timeout,   ///< it did not stop a job whose time was over
  Cancel,    ///< the same of a cancelled job
  Refresh,   ///< its handler asked for a clean process
  Recycle,   ///< it has run --max-jobs-per-worker jobs
  Protocol,  ///< it said what no child may say, or stopped listening
  Setup,     ///< it could not be started, or was not ready in time
  Shutdown,  ///< the supervisor ends, or wants fewer children
};
inline constexpr int kEndCauses = 10;
/// "exit", "signal", …
std::string_view to_string(EndCause cause);

struct ChildEnd {
  int slot = 0;         ///< its place in the pool: 2 of "w2.7"
  std::string_view id;  ///< "w2.7"
  EndCause cause = EndCause::Exit;
  bool replaced = false;             ///< another child follows in its place
  std::string_view how;              ///< for people: "was killed by SIGSEGV"
  std::chrono::microseconds cpu{0};  ///< that it used, with the processes it waited for
};
using ChildEnds = std::function<void(const ChildEnd&)>;

}  // namespace bulkhead
