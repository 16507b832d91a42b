// One loop: wait for a signal, or for the deadline of the phase we are in; then reap whoever has ended. Signals are
// always blocked and taken one by one, so no handler ever runs and nothing is lost; while all is well there is no
// deadline, and so no wake-up.
//
//   Running   the command lives. SIGTERM starts the grace, at whose end everything is killed.
//   Pausing   a supervisor was killed, and the next one is not started yet.
//   Leaving   the command has ended. What it left has had SIGTERM, and the grace runs.
//   Killing   SIGKILL, again and again, to whatever appears, until there is no child.
//
// A supervisor that hands over exits with a code that says so. The next one is the file at the same path, on trial: one that
// does not become ready in time, or ends soon after, is followed by the file that ran before, which was kept open.
//
// Only the command is ever signalled by its number or group, and only while it is not reaped (a group also while it has
// members): no number can be a stranger's. Everything else is found and signalled by leftovers.cpp.

#include "supervisor/init/init.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include "supervisor/init/channel.hpp"
#include "supervisor/init/leftovers.hpp"
#include "supervisor/init/say.hpp"
#include "supervisor/init/terminal.hpp"

namespace bulkhead::init {
namespace {

constexpr long long kNever = 1LL << 62;
constexpr int kKillPause = 10;  // between two rounds of SIGKILL, ms

long long now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1'000'000;
}

/// The next signal, or 0 when the deadline has passed.
int next_signal(long long deadline) {
  sigset_t all;
  sigfillset(&all);
  for (;;) {
    int signal;
    if (deadline == kNever) {
      signal = sigwaitinfo(&all, nullptr);
    } else {
      long long left = deadline - now();
      if (left < 0) left = 0;
      timespec time{static_cast<time_t>(left / 1000), static_cast<long>(left % 1000) * 1'000'000};
      signal = sigtimedwait(&all, nullptr, &time);
    }
    if (signal > 0) return signal;
    if (errno == EAGAIN) return 0;
    // EINTR: we were stopped and continued, or traced.
  }
}

/// Those a process gets for its own faults. From outside they would only end us or the command.
bool is_fault(int signal) {
  switch (signal) {
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGSYS: return true;
    default: return false;
  }
}

/// As the signal does by itself: where no shell watches over this group (it is orphaned) the kernel drops it.
void stop_by(int signal) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  kill(getpid(), signal);
  sigprocmask(SIG_UNBLOCK, &one, nullptr);
  sigprocmask(SIG_BLOCK, &one, nullptr);
}

int code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace

Init::Init(const Options& options) : options_(options), command_(options), deadline_(kNever), trial_ends_(kNever) {
  if (options_.supervise()) image_.open(options_.command[0]);
}

int Init::run() {
  start();
  command_.let_go(options_);
  // Before the first wait: it may have ended already, under a SIGCHLD that was taken for an earlier one.
  for (reap(); phase_ != Phase::Over; reap()) {
    int signal = next_signal(deadline_ < trial_ends_ ? deadline_ : trial_ends_);
    // What is known of the command decides what a signal does, and its SIGCHLD may stand behind this one.
    reap();
    if (phase_ == Phase::Over) break;
    look_after_trial();
    if (signal == 0 && now() >= deadline_) time_is_up();
    if (signal != 0 && signal != SIGCHLD) handle(signal);
  }
  return options_.success[code_] ? 0 : code_;
}

void Init::start() {
  phase_ = Phase::Running;
  if (!told_) deadline_ = kNever;
  stopped_ = false;
  started_ = now();
  main_ = command_.start(options_, image_, life_);
  if (main_ > 0) {
    group_ = main_;
    if (told_) pass_on(told_by_);
    if (std::exchange(renewal_due_, false)) pass_on(SIGUSR2);
    return;
  }
  say("cannot start a process: %s", strerrordesc_np(errno));
  main_ = 0;
  code_ = 71;  // EX_OSERR
  if (!restart()) leave();
}

// ---- a new supervisor ------------------------------------------------------------------------------------------------

/// The supervisor has handed over to what is at its path now.
void Init::renew() {
  if (!on_trial_) proved_.take(image_);
  image_.open(options_.command[0]);
  on_trial_ = true;
  ready_ = late_ = false;
  std::snprintf(life_, sizeof life_, "trial %d", kTrialTime);
  trial_ends_ = now() + options_.trial;
  start();
}

void Init::look_after_trial() {
  if (trial_ends_ == kNever || main_ == 0) return;
  if (!ready_ && command_.is_ready(main_)) {
    ready_ = true;
    trial_ends_ = now() + kTrialTime;
  }
  if (now() >= trial_ends_) trial_is_up();
}

void Init::trial_is_up() {
  trial_ends_ = kNever;
  if (ready_) {
    on_trial_ = false;
    proved_.close();
    return;
  }
  late_ = true;
  kill(main_, SIGKILL);
}

/// The new one is no good: the one before takes its place again.
void Init::go_back(int status) {
  char what[96];
  if (late_)
    std::snprintf(what, sizeof what, "it was not ready within %lld ms", options_.trial);
  else if (WIFSIGNALED(status))
    std::snprintf(what, sizeof what, "SIG%s ended it", sigabbrev_np(WTERMSIG(status)));
  else
    std::snprintf(what, sizeof what, "it ended with code %d", WEXITSTATUS(status));
  say("the new supervisor is no good (%s): the one before it is started again", what);
  std::snprintf(life_, sizeof life_, "back %s", what);
  on_trial_ = false;
  trial_ends_ = kNever;
  image_.take(proved_);
  start();
}

// ---- signals -------------------------------------------------------------------------------------------------------

void Init::handle(int arrived) {
  int signal = options_.rewrite[arrived];
  if (signal == 0) return;
  if (main_ == 0) {
    if (options_.supervise() && arrived == SIGUSR2) renewal_due_ = phase_ == Phase::Pausing;
    // Nobody to send it to. Whoever wants an end gets it sooner.
    if (arrived == SIGTERM || arrived == SIGINT || arrived == SIGQUIT || (options_.supervise() && arrived == SIGABRT)) {
      told_ = true;
      if (phase_ == Phase::Pausing) return leave();
      end_by(now() + kShortGrace);
    }
    return;
  }
  if (options_.supervise() && arrived == SIGABRT) {
    pass_on(told_by_ = SIGABRT);
    return told_to_end(kAbortGrace);
  }
  if (is_fault(arrived) && options_.rewrite[arrived] == arrived) return;
  pass_on(signal);
  if (arrived == SIGTERM || arrived == SIGINT || arrived == SIGQUIT) told_by_ = signal;
  if (arrived == SIGTERM || signal == SIGTERM) return told_to_end(options_.grace);
  // A supervisor drains on these too, by deadlines of its own.
  if (options_.supervise() && (arrived == SIGINT || arrived == SIGQUIT)) told_ = true;
}

void Init::pass_on(int signal) {
  // A group that nobody outside it watches over cannot be stopped by what a terminal sends.
  if ((signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) && getsid(main_) != getsid(0)) signal = SIGSTOP;
  if (options_.group && main_ > 1)
    kill(-main_, signal);
  else
    kill(main_, signal);
}

void Init::told_to_end(long long grace) {
  // Stopped, it would not see the signal.
  if (stopped_) pass_on(SIGCONT);
  // A supervisor has deadlines of its own, which its second SIGTERM shortens.
  bool shorten = told_ && !options_.supervise();
  told_ = true;
  end_by(now() + (shorten && grace > kShortGrace ? kShortGrace : grace));
}

void Init::end_by(long long deadline) {
  if (phase_ != Phase::Killing && deadline < deadline_) deadline_ = deadline;
}

// ---- children ------------------------------------------------------------------------------------------------------

/// Many deaths may be one SIGCHLD, and a SIGCHLD no death: so until the kernel has no more.
void Init::reap() {
  for (;;) {
    int status = 0;
    pid_t pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED);
    if (pid == 0) return;
    if (pid < 0) {
      if (errno == EINTR) continue;
      if (phase_ == Phase::Leaving || phase_ == Phase::Killing) phase_ = Phase::Over;
      return;
    }
    if (pid != main_) {
      if (WIFEXITED(status) || WIFSIGNALED(status)) command_.report(pid, status);
      continue;
    }
    if (WIFSTOPPED(status))
      stopped(WSTOPSIG(status));
    else if (WIFCONTINUED(status))
      stopped_ = false;
    else
      ended(status);
  }
}

/// Whoever watches us in a terminal shall see that the command stopped, and can continue it by continuing us. Without a
/// terminal, and as PID 1, nobody would.
void Init::stopped(int signal) {
  stopped_ = true;
  pid_t own = getpgrp();
  // The shell above gave us the terminal after we had passed it on, or only now.
  if ((signal == SIGTTIN || signal == SIGTTOU) && command_.give_terminal_to(main_)) {
    kill(-main_, SIGCONT);
    return;
  }
  // Told to end while it was about to stop: it is to see that.
  if (told_) return pass_on(SIGCONT);
  // In the background. Whoever continues us sends SIGCONT, which is sent on; it asks for the terminal again then.
  if ((signal == SIGTTIN || signal == SIGTTOU) && getsid(main_) == getsid(0) && getpid() != 1) return stop_by(signal);
  // A shell's `fg` gives the terminal to our group, and tells us only where we were stopped.
  if (getpid() == 1 || !(give_terminal(main_, own) || give_terminal(own, own))) return;
  kill(getpid(), SIGSTOP);
  // From here on we are continued.
  command_.give_terminal_to(main_);
  kill(-main_, SIGCONT);
}

void Init::ended(int status) {
  // For the shell that reads from it next.
  if (command_.has_terminal()) give_terminal(main_, getpgrp());
  main_ = 0;
  code_ = code_of(status);
  if (options_.supervise() && WIFEXITED(status) && WEXITSTATUS(status) == kHandedOver) return renew();
  if (on_trial_ && !told_) return go_back(status);
  if (options_.supervise() && WIFSIGNALED(status)) {
    std::snprintf(life_, sizeof life_, "again");
    if (!told_) say("the supervisor was ended by SIG%s", sigabbrev_np(WTERMSIG(status)));
    if (restart()) return;
  }
  leave();
}

/// False: not any more.
bool Init::restart() {
  if (!options_.supervise() || told_ || options_.restarts == 0) return false;
  long long time = now();
  int limit = options_.restarts;
  if (restarts_ >= limit && time - restarted_[(restarts_ - limit) % kCounted] < kIntensityPeriod) {
    say("started again %d times within %d s: giving up", limit, kIntensityPeriod / 1000);
    return false;
  }
  bool in_a_row = restarts_ > 0 && time - restarted_[(restarts_ - 1) % kCounted] < kIntensityPeriod;
  if (!in_a_row || time - started_ >= kSteady)
    pause_ = 0;
  else
    pause_ = pause_ == 0 ? kFirstPause : pause_ * 2 > kLongestPause ? kLongestPause : pause_ * 2;
  restarted_[restarts_++ % kCounted] = time;
  phase_ = Phase::Pausing;
  // Up to an eighth more, so that several that died of one cause do not come back as one.
  deadline_ = time + pause_ + (pause_ > 0 ? time % (pause_ / 8) : 0);
  return true;
}

// ---- the end -------------------------------------------------------------------------------------------------------

void Init::leave() {
  if (phase_ == Phase::Killing) return;
  trial_ends_ = kNever;
  long long left = deadline_ - now();  // of the grace, if it runs already
  long long least = options_.grace < kShortGrace ? options_.grace : kShortGrace;
  bool runs = phase_ == Phase::Running && deadline_ != kNever;
  phase_ = Phase::Leaving;
  long long grace = options_.supervise() && options_.grace > kLeftoversGrace ? kLeftoversGrace : options_.grace;
  deadline_ = now() + (!runs ? grace : left > least ? left : least);
  signal_all_below(SIGTERM, group_);
  signal_all_below(SIGCONT, group_);
}

void Init::time_is_up() {
  switch (phase_) {
    case Phase::Pausing: return start();
    case Phase::Running:
    case Phase::Leaving:
      phase_ = Phase::Killing;
      kill_until_ = now() + kKillTime;
      break;
    case Phase::Killing:
      if (now() >= kill_until_) {
        say("processes that were killed are still there; leaving them to the kernel");
        if (main_ != 0) code_ = 128 + SIGKILL;  // what it would have said itself
        phase_ = Phase::Over;
        return;
      }
      break;
    case Phase::Over: return;
  }
  signal_all_below(SIGKILL, group_);
  if (main_ != 0) kill(main_, SIGKILL);  // not reaped, so the number is its own, whatever was seen in /proc
  deadline_ = now() + kKillPause;
}

}  // namespace bulkhead::init
