// The black box: a small file, mapped by the child and by the supervisor, in which the SDK notes what it is doing
// before anything can crash. After a death it says which runs had been entered even where no message got out.
//
// One writer process (the child), any number of readers, no locks: every field is an aligned atomic. A run's entry is
// taken when its handler is about to be entered, marked left when its result was given to the socket, and freed only
// when the supervisor acknowledged that result. So an outstanding run that has no entry was never entered (it is a
// bystander and may run elsewhere, uncounted), and one that has an entry but no result that arrived is a crash.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bulkhead::protocol {

struct BlackBox {
  static constexpr std::uint64_t kMagic = 0x31584f424b4c5542;  // "BULKBOX1", little endian
  static constexpr std::size_t kEntries = 1000;

  enum class Phase : std::uint32_t { Launched = 0, SettingUp = 1, Idle = 2, Running = 3, Stopping = 4, Crashing = 5 };
  enum class State : std::uint32_t { Free = 0, Entered = 1, Left = 2 };

  struct Entry {
    std::atomic<std::uint64_t> run;
    std::atomic<State> state;
    std::uint32_t reserved;
  };

  std::atomic<std::uint64_t> magic;  ///< written last by whoever creates the file
  std::atomic<std::uint64_t> pid;    ///< of the process that said hello
  std::atomic<Phase> phase;
  std::atomic<std::uint32_t> crash_signal;  ///< set by the fatal-signal handler
  std::atomic<std::int64_t> last_sign_ns;   ///< CLOCK_BOOTTIME of the SDK's last activity
  std::uint64_t reserved[28];
  Entry entry[kEntries];
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(BlackBox) == 256 + 16 * BlackBox::kEntries);

}  // namespace bulkhead::protocol
