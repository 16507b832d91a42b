// Launching is a launcher of Boost.Process v2, with the steps of isolate.hpp as its initializers. It differs from
// v2's own launchers in what happens around the fork, each time for a reason:
//
//  - vfork, so that a launch costs the same whatever the supervisor's size, and no page of it is copied afterwards.
//    All signals are blocked around it: a handler must not run in a child that borrows this memory.
//  - the execution context is not told of the fork: that allocates, takes locks and rebuilds the reactor in the child.
//  - a failing step writes its name to a pipe and leaves by _exit; v2 calls exit, which would run our destructors.
//  - a child that failed before its exec is reaped here; v2 leaves a zombie.
//  - what comes out is a Child, because v2's process signals and waits by bare number.

#include "supervisor/process/launch.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/process/v2/posix/default_launcher.hpp>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <utility>

#include "supervisor/process/child_state.hpp"
#include "supervisor/process/command.hpp"
#include "supervisor/process/descriptor.hpp"
#include "supervisor/process/isolate.hpp"

namespace bulkhead::process {

namespace v2 = boost::process::v2;

namespace {

/// What a failing child says of itself.
struct Report {
  Step step;
  int error;
};

/// Above 2, so that connecting a child's 0, 1 and 2 cannot overwrite it.
Descriptor lifted(Descriptor descriptor) {
  if (!descriptor || descriptor.get() > 2) return descriptor;
  return Descriptor(::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, 3));
}

class Launcher : public v2::posix::default_launcher {
 public:
  Step step = Step::Fork;

  /// Returns 0 with `pid` set, or the errno of the fork. What fails after it is told through `report_fd`.
  template <typename... Initializers>
  int operator()(const v2::filesystem::path& executable, const char* const* argv, int report_fd,
                 Initializers... initializers) {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = ::vfork();
    if (pid == 0) {
      boost::system::error_code error = v2::posix::detail::on_exec_setup(*this, executable, argv, initializers...);
      if (!error) {
        step = Step::Exec;
        ::execve(executable.c_str(), const_cast<char* const*>(argv), const_cast<char* const*>(env));
        error.assign(errno, boost::system::system_category());
      }
      Report report{step, error.value()};
      // If it cannot be written, the supervisor sees a child that exited with this code.
      if (::write(report_fd, &report, sizeof report) < 0) ::_exit(126);
      ::_exit(127);
    }
    int failed = pid < 0 ? errno : 0;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return failed;
  }
};

/// With SIGCHLD ignored, as some parents leave it, the kernel would throw exit statuses away.
void keep_exit_statuses() {
  struct sigaction action {};
  ::sigaction(SIGCHLD, nullptr, &action);
  if (action.sa_handler != SIG_IGN && (action.sa_flags & SA_NOCLDWAIT) == 0) return;
  action = {};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &action, nullptr);
}

std::vector<const char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

/// The child's report, if it made one: end of file is the exec's doing.
bool read_report(int fd, Report& report) {
  ssize_t got;
  do got = ::read(fd, &report, sizeof report);
  while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(sizeof report);
}

}  // namespace

std::string_view to_string(Step step) {
  switch (step) {
    case Step::Prepare: return "prepare";
    case Step::Fork: return "fork";
    case Step::Cgroup: return "cgroup";
    case Step::Session: return "session";
    case Step::Signals: return "signals";
    case Step::Stdio: return "stdio";
    case Step::Descriptors: return "descriptors";
    case Step::Chdir: return "chdir";
    case Step::Limits: return "rlimit";
    case Step::Nice: return "nice";
    case Step::OomScore: return "oom score";
    case Step::DeathSignal: return "death signal";
    case Step::Exec: return "exec";
  }
  return "?";
}

bool LaunchError::is_transient() const {
  switch (error) {
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EINTR:
    case ETXTBSY: return true;
    default: return false;
  }
}

LaunchResult launch(asio::any_io_executor executor, const SpawnPlan& plan) {
  std::string path = plan.argv.empty() ? "" : plan.argv.front();
  auto refuse = [&](Step step, int error) { return LaunchError{step, error, explain(plan, path, step, error)}; };
  if (plan.argv.empty()) return LaunchError{Step::Exec, ENOENT, "there is no command to execute"};

  std::vector<std::string> environment = environment_of(plan);
  Found found = find_command(plan, environment);
  path = found.path;
  if (found.error != 0) return refuse(Step::Exec, found.error);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return refuse(Step::Prepare, errno);
  Descriptor reports(ends[0]), report_to = lifted(Descriptor(ends[1]));
  Descriptor nothing = lifted(Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)));
  if (!report_to || !nothing) return refuse(Step::Prepare, errno);
  ConnectStdio stdio{{plan.stdin_fd, plan.stdout_fd, plan.stderr_fd}};
  Descriptor lent[3];
  for (int i = 0; i < 3; ++i) {
    int& fd = stdio.from[i];
    if (fd < 0) fd = nothing.get();
    if (fd > 2) continue;
    // The supervisor's own 0, 1 and 2 are lent from above them: see ConnectStdio.
    lent[i] = Descriptor(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    fd = lent[i].get();
    if (fd < 0) return refuse(Step::Prepare, errno);
  }

  keep_exit_statuses();
  std::vector<const char*> argv = pointers_to(plan.argv), envp = pointers_to(environment);
  std::string score = plan.oom_score_adj ? std::to_string(*plan.oom_score_adj) : "";
  int niceness = plan.nice == 0 ? 0 : ::getpriority(PRIO_PROCESS, 0) + plan.nice;
  v2::filesystem::path executable(path);

  Launcher launcher;
  launcher.env = envp.data();
  int error =
      launcher(executable, argv.data(), report_to.get(), AsInitializer{EnterCgroup{&plan.cgroups}},
               AsInitializer{NewSession{}}, AsInitializer{ResetSignals{}}, AsInitializer{stdio},
               AsInitializer{CloseDescriptors{report_to.get()}}, AsInitializer{ChangeDirectory{plan.cwd.c_str()}},
               AsInitializer{SetLimits{&plan.limits}}, AsInitializer{SetNice{plan.nice != 0, niceness}},
               AsInitializer{SetOomScore{score.c_str()}}, AsInitializer{SetDeathSignal{plan.death_signal, ::getpid()}});
  if (error != 0) return refuse(Step::Fork, error);

  report_to.close();
  Report report{};
  if (read_report(reports.get(), report)) {
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(launcher.pid), &info, WEXITED) < 0 && errno == EINTR) {
    }
    return refuse(report.step, report.error);
  }
  return Child(std::make_shared<Child::State>(std::move(executor), launcher.pid));
}

std::vector<std::string> missing_mechanisms() {
  std::vector<std::string> missing;
  int fd = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  if (fd < 0) {
    missing.push_back("no pidfd_open (it came with Linux 5.3, or a filter refuses it): a thread waits for each child");
  } else {
    if (::syscall(SYS_pidfd_send_signal, fd, 0, nullptr, 0) < 0)
      missing.push_back(
          "no pidfd_send_signal: strays outside a child's process group cannot be ended safely, and are not");
    ::close(fd);
  }
  if (::syscall(SYS_close_range, ~0U, ~0U, 0) < 0)
    missing.push_back(
        "no close_range (it came with Linux 5.9, or a filter refuses it): children start a little slower");
  if (::access("/proc/self/oom_score_adj", W_OK) < 0)
    missing.push_back(
        "/proc is not writable: children cannot be made to die before the supervisor when memory runs out");
  return missing;
}

}  // namespace bulkhead::process
