// Processes that an earlier supervisor started: which they are, and how they end.
//
// A process is named by its pid, its start time and the machine's boot; no other ever has the same three. Whoever adopts one
// opens a descriptor of it first and compares afterwards, so what is signalled later is the process that was compared.
//
// Its parent by now is the init (supervisor/init), which keeps a pipe across supervisors and writes a record into it for
// every orphan that it reaps. Without an init (or one that writes no records) nobody but the kernel knows how it ended, and
// only newer ones tell (child.cpp): then the verdict is Unknown.

#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "supervisor/process/descriptor.hpp"
#include "supervisor/process/launch.hpp"

namespace bulkhead::process {

/// One process of all that there ever were on this machine.
struct Identity {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  ///< clock ticks since boot
  std::string boot_id;
  bool operator==(const Identity&) const = default;
};

/// This boot's name; empty if the system does not say.
std::string boot_id();
/// Empty if there is no such process.
std::optional<Identity> identity_of(pid_t pid);

/// What the init has reaped, out of its pipe.
class ReapReports {
 public:
  /// `pipe`: the end to read from, not blocking; none where there is no such init.
  explicit ReapReports(Descriptor pipe) : pipe_(std::move(pipe)) {}
  bool available() const { return static_cast<bool>(pipe_); }
  /// As waitpid gives it; nothing if it was not reported (yet).
  std::optional<int> status_of(const Identity& process);

 private:
  /// As supervisor/init/init.cpp writes it.
  struct Record {
    std::int32_t pid;
    std::int32_t status;
    std::int64_t at_ns;  ///< CLOCK_BOOTTIME
  };
  static constexpr std::size_t kKept = 4096;  ///< as many as a pipe holds
  void read();

  Descriptor pipe_;
  std::deque<Record> records_;
};

/// The process as a Child, also one that has ended meanwhile: its verdict comes by async_wait like any other. Empty where
/// nothing can be said of it: it is of another boot, or the system has no descriptors of processes.
struct Adopted {
  Child child;
  bool gone = false;  ///< it has ended already
};
std::optional<Adopted> adopt(asio::any_io_executor executor, const Identity& process,
                             std::shared_ptr<ReapReports> reports);

}  // namespace bulkhead::process
