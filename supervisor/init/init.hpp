// The process at the top: one command below it, signals sent on, every orphan reaped, and nothing left at the end.

#pragma once

#include <sys/types.h>

#include "supervisor/init/command.hpp"
#include "supervisor/init/image.hpp"
#include "supervisor/init/options.hpp"

namespace bulkhead::init {

// For a supervisor that died by a signal. The first restart is immediate.
inline constexpr int kFirstPause = 100;  ///< before the second restart in a row, ms; doubled before each further one
inline constexpr int kLongestPause = 5'000;
inline constexpr int kSteady = 1'000;  ///< a supervisor that lived this long is followed by the next at once, ms
inline constexpr int kIntensityPeriod = 60'000;  ///< restarts are counted over this time, ms
/// A command told to end twice, and what is left by one that ended late: ms.
inline constexpr int kShortGrace = 1'000;
/// What a supervisor leaves behind, ms: its own graces are over.
inline constexpr int kLeftoversGrace = 5'000;
/// Systemd's watchdog says SIGABRT: to write stacks, ms.
inline constexpr int kAbortGrace = 10'000;
/// A new supervisor that ends within this time of being ready is taken back, ms.
inline constexpr int kTrialTime = 10'000;
/// Killed processes that wait in the kernel are left to it after this time, ms.
inline constexpr int kKillTime = 5'000;

class Init {
 public:
  /// All signals are blocked.
  explicit Init(const Options& options);

  /// Starts the command, and returns the exit code when it and all it left are gone.
  int run();

 private:
  enum class Phase { Running, Pausing, Leaving, Killing, Over };

  void start();
  void look_after_trial();
  void trial_is_up();
  void renew();
  void go_back(int status);
  void handle(int signal);
  void pass_on(int signal);
  void told_to_end(long long grace);
  void reap();
  void stopped(int signal);
  void ended(int status);
  bool restart();
  void leave();
  void time_is_up();
  void end_by(long long deadline);

  const Options& options_;
  Command command_;
  Phase phase_ = Phase::Running;
  pid_t main_ = 0;   ///< the command, until it is reaped
  pid_t group_ = 0;  ///< its process group, also later
  bool stopped_ = false;
  bool told_ = false;   ///< to end: no restart, and the grace runs
  int told_by_ = 0;     ///< this signal
  int code_ = 0;        ///< what is to be reported
  long long deadline_;  ///< of the phase, ms of the monotonic clock
  long long kill_until_ = 0;
  int pause_ = 0;
  long long started_ = 0;
  static constexpr int kCounted = 1001;
  long long restarted_[kCounted] = {};  ///< when; a ring
  int restarts_ = 0;

  // Of supervisors.
  Image image_;               ///< what is started
  Image proved_;              ///< on trial: what was started before
  char life_[160] = "first";  ///< what the next one is told of how it comes to be
  bool on_trial_ = false;     ///< it is new, and may be taken back
  bool ready_ = false;        ///< … has said that it is
  bool late_ = false;         ///< … was killed since it did not
  bool renewal_due_ = false;  ///< asked for while there was no supervisor
  long long trial_ends_;      ///< ms of the monotonic clock
};

}  // namespace bulkhead::init
