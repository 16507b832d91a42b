// What is told about a job whose process died: the value behind the JSON string in the job's `error`.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/process/exit_status.hpp"

namespace bulkhead::process {

struct CrashRecord {
  std::string error_type = "WorkerCrash";
  std::string error_message;  ///< "handler process 4711 was killed by SIGSEGV while running this job"
  std::optional<int> signal;
  std::optional<int> exit_code;
  bool oom_killed = false;
  std::uint64_t peak_rss_bytes = 0;
  std::chrono::milliseconds run_time{0};  ///< of this attempt
  int attempt = 1;
  std::vector<std::string> stack;              ///< innermost first; empty where the process left none
  std::vector<std::string> interpreter_stack;  ///< of every thread, as an interpreter wrote it; left out where empty
  std::vector<std::string> log_tail;           ///< oldest first
  std::string worker_id;
  std::string hostname;
};

/// Fills in what an exit status says: type, message, signal or exit code, peak memory. `remark` (oom's, or the pool's:
/// "it had closed its connection") is put behind the message in parentheses; `pid` is the child's.
CrashRecord describe_crash(pid_t pid, const ExitStatus& status, bool oom_killed, std::string_view remark);

/// One JSON object, keys in the order of the struct; `signal` as its name ("SIGSEGV") with `signal_number` beside it,
/// what is absent left out. Never above `max_bytes`: log lines, then frames, are dropped from the far end to fit.
std::string to_json(const CrashRecord& record, std::size_t max_bytes = 64 * 1024);

/// The machine's name, for `hostname`.
std::string host_name();

}  // namespace bulkhead::process
