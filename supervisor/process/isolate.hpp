// The steps a child takes between fork and exec, each an initializer in the sense of Boost.Process v2.
//
// They run in a child that still borrows the supervisor's memory (vfork): nothing but async-signal-safe calls, no
// allocation, no lock, no write to anything the supervisor will read. All they need was prepared before. A step
// returns 0 or an errno; the launcher reports the step's name with it.

#pragma once

#include <sys/types.h>

#include <boost/system/error_code.hpp>
#include <vector>

#include "supervisor/process/launch.hpp"
#include "supervisor/process/spawn_plan.hpp"

namespace bulkhead::process {

/// Into its cgroups first, so that all the child costs is counted there.
struct EnterCgroup {
  static constexpr Step kStep = Step::Cgroup;
  const std::vector<int>* directories = nullptr;
  int run() const noexcept;
};

/// A session and a process group of its own, both with the child's pid for a number.
struct NewSession {
  static constexpr Step kStep = Step::Session;
  int run() const noexcept;
};

/// Every signal at its default, then none blocked: ignored ones survive an exec otherwise (SIGPIPE, SIGINT …).
struct ResetSignals {
  static constexpr Step kStep = Step::Signals;
  int run() const noexcept;
};

/// All three are above 2, so that no dup2 overwrites what a later one needs.
struct ConnectStdio {
  static constexpr Step kStep = Step::Stdio;
  int from[3] = {-1, -1, -1};
  int run() const noexcept;
};

/// Closes everything above 2 but `keep`, which closes itself at the exec.
struct CloseDescriptors {
  static constexpr Step kStep = Step::Descriptors;
  int keep = -1;
  int run() const noexcept;
};

struct ChangeDirectory {
  static constexpr Step kStep = Step::Chdir;
  const char* path = nullptr;  ///< empty: stay
  int run() const noexcept;
};

struct SetLimits {
  static constexpr Step kStep = Step::Limits;
  const std::vector<SpawnPlan::Limit>* limits = nullptr;
  int run() const noexcept;
};

struct SetNice {
  static constexpr Step kStep = Step::Nice;
  bool wanted = false;
  int value = 0;
  int run() const noexcept;
};

/// Where /proc is not writable the score stays as it is: missing_mechanisms() says so, and a child is better than none.
struct SetOomScore {
  static constexpr Step kStep = Step::OomScore;
  const char* value = nullptr;  ///< as text; empty: leave it
  int run() const noexcept;
};

/// After the signals were reset, and with a look at who the parent is now: it may have died before the request.
struct SetDeathSignal {
  static constexpr Step kStep = Step::DeathSignal;
  int signal = 0;
  pid_t parent = 0;
  int run() const noexcept;
};

/// Makes an initializer of a step: v2 calls on_exec_setup in the child, in the order given, and stops at the first
/// error.
template <typename Base>
struct AsInitializer : Base {
  template <typename Launcher, typename Path>
  boost::system::error_code on_exec_setup(Launcher& launcher, const Path&, const char* const*(&)) {
    launcher.step = Base::kStep;
    return {this->run(), boost::system::system_category()};
  }
};
template <typename Base>
AsInitializer(Base) -> AsInitializer<Base>;

}  // namespace bulkhead::process
