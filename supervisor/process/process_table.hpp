// Looks into /proc: what a process is, who its children are, what its environment says. A snapshot of something that
// moves: every answer may be out of date when it is read, so whoever kills by it checks the identity again
// (end_process).

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::process {

struct ProcessFacts {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  char state = '?';
  std::uint64_t start_time = 0;  ///< clock ticks since boot; with the pid it names one process and no other
  int threads = 0;
  std::string name;

  /// A process whose main thread ended looks like a zombie, and lives on in its other threads.
  bool is_dead() const { return state == 'X' || (state == 'Z' && threads <= 1); }
};

/// Empty if there is no such process.
std::optional<ProcessFacts> read_facts(pid_t pid);

/// The children of all threads of a process; empty if the system does not list them. None of a process that is gone.
std::optional<std::vector<pid_t>> children_of(pid_t pid);

/// The CPU time of all processes, each with that of its children that ended and were waited for.
class CpuTimes {
 public:
  /// Reads all of /proc: a few microseconds for each process there is.
  static CpuTimes read();
  /// What a process, those of the session that it leads, and the descendants of all of them have used. Less than before
  /// where one of them ended and nobody of them had waited for it.
  std::chrono::microseconds of(pid_t leader) const;

 private:
  struct Process {
    pid_t pid = 0, parent = 0, session = 0;
    std::int64_t ticks = 0;
  };
  std::vector<Process> processes_;
};

/// Whether a process has a handler for a signal.
bool catches(pid_t pid, int signal);

/// All processes there are.
std::vector<pid_t> all_processes();

/// From the caller's parent up to the first process of the machine (or container).
std::vector<pid_t> ancestors();

/// `NotYet`: the process is just beginning another program, and shows an environment only a moment later.
enum class Has : std::uint8_t { Yes, No, NotYet };

/// Whether the environment the process was started with has a variable of this name for whose value `matches`. `No`
/// where it may not be read. A process may have overwritten it.
Has has_variable(pid_t pid, std::string_view name, const std::function<bool(std::string_view)>& matches);

/// Sends SIGKILL through a descriptor of the process, after a check that pid and start time still go together. False if
/// that process is gone, or cannot be signalled.
bool end_process(const ProcessFacts& process);

}  // namespace bulkhead::process
