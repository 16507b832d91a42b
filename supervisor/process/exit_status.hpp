// How a process ended, as a value.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace bulkhead::process {

struct ExitStatus {
  /// `Unknown`: somebody else took the status (or threw it away). Never to be read as success.
  enum class How : std::uint8_t { Exited, Killed, Unknown };

  How how = How::Unknown;
  int code = 0;    ///< exit code, if it exited
  int signal = 0;  ///< the signal, if it was killed
  bool core_dumped = false;

  /// The most memory it (or a child it had waited for) ever held. The kernel counts what the process was before it
  /// became the command, so a figure at or below the supervisor's own peak says only "at most this":
  /// `peak_rss_is_bound` is set then.
  std::uint64_t peak_rss_bytes = 0;
  bool peak_rss_is_bound = false;
  std::chrono::microseconds user_time{0};
  std::chrono::microseconds system_time{0};

  bool succeeded() const { return how == How::Exited && code == 0; }

  /// To follow the name of the process: "was killed by SIGSEGV (core dumped)", "exited with code 3",
  /// "ended in a way that nobody saw".
  std::string describe() const;
};

/// "SIGSEGV", "SIGRTMIN+2", or "signal 77" where the number has no name.
std::string signal_name(int signal);

}  // namespace bulkhead::process
