// Starts a process by a plan, and holds what is known of it until it is reaped.
//
// A child is in one of three states: running; ended (its verdict is known, but its zombie is kept); reaped. As long
// as it is not reaped its pid, its process group and its session cannot be given to a stranger, so the strays it left
// can be killed by group without risk. Hence the order at a death, which belongs to the caller:
//
//     child.async_wait([&](const ExitStatus& status) {         // the verdict, well under a millisecond after the death
//       end_strays(executor, child, cookie, limit, [&](StrayReport) {
//         child.reap();                                         // only now may the numbers be used again
//       });
//     });
//
// One thread: all calls on the thread that runs the executor. Nobody else in the process may wait for these pids.

#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "supervisor/process/exit_status.hpp"
#include "supervisor/process/spawn_plan.hpp"

namespace bulkhead::process {

namespace asio = boost::asio;

/// The steps of a launch, in their order. All but the first two happen in the child.
enum class Step : std::uint8_t {
  Prepare,
  Fork,
  Cgroup,
  Session,
  Signals,
  Stdio,
  Descriptors,
  Chdir,
  Limits,
  Nice,
  OomScore,
  DeathSignal,
  Exec
};
/// "prepare", "fork", "cgroup", "session", …
std::string_view to_string(Step step);

/// Nothing was started, and nothing of the attempt is left.
struct LaunchError {
  Step step = Step::Prepare;
  int error = 0;     ///< errno
  std::string text;  ///< one sentence for the person who wrote the command line: "'./handler' is not executable (…)"

  /// True if trying again may help (out of memory, processes or descriptors), false if the plan is wrong.
  bool is_transient() const;
};

class Child {
 public:
  using ExitHandler = std::function<void(const ExitStatus&)>;

  Child(Child&&) noexcept;
  Child& operator=(Child&&) noexcept;
  /// A child that was not reaped is killed with its process group and waited for (at most kLastWait).
  ~Child();

  static constexpr std::chrono::milliseconds kLastWait{1000};

  pid_t pid() const;
  std::chrono::steady_clock::time_point launched() const;

  /// Calls `handler` once, from the executor and never from within async_wait, as soon as the child has ended. It is
  /// not called after the Child is gone. The child is not reaped by it. Once per child.
  void async_wait(ExitHandler handler);

  /// The verdict; asks the kernel if nobody has yet. Empty while the child runs.
  const std::optional<ExitStatus>& poll();

  /// True also while the verdict of a child with another parent is still asked for.
  bool has_ended();

  /// Sends a signal to the child alone. False: it has ended, and no signal was sent.
  /// SIGTERM to a stopped child stays unseen until SIGCONT; SIGKILL does not.
  bool signal(int number);
  /// Sends a signal to the child's process group: also after its end, as long as it is not reaped (then: false).
  bool signal_group(int number);

  /// Gives the zombie back to the kernel. The child must have ended. After this only pid() and poll() mean anything.
  void reap();
  bool reaped() const;

  /// For process/ alone (child_state.hpp).
  struct State;
  explicit Child(std::shared_ptr<State> state);
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  std::shared_ptr<State> state_;
};

using LaunchResult = std::variant<Child, LaunchError>;

/// Starts the plan's command. Blocks until the command is being executed (exec succeeded) or a step failed: about the
/// time of an exec, whatever the supervisor's size, because the child borrows the supervisor's memory until then
/// (vfork). Never throws for what the plan or the system did wrong; std::bad_alloc apart.
LaunchResult launch(asio::any_io_executor executor, const SpawnPlan& plan);

/// What this kernel or container refuses of what process/ would like to use, one sentence each with what is done
/// instead. For the supervisor to say once, at its start. Empty on any usual Linux since 5.9.
std::vector<std::string> missing_mechanisms();

}  // namespace bulkhead::process
