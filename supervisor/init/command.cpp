// All that the command gets is made ready before it is started for the first time; what stands between fork and exec after that
// takes no memory. Pipes and sockets for supervisors have both their ends here: no supervisor's death closes them.

#include "supervisor/init/command.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "supervisor/init/channel.hpp"
#include "supervisor/init/say.hpp"
#include "supervisor/init/terminal.hpp"

namespace bulkhead::init {
namespace {

/// A variable that names the process something is meant for: where that is this process, the command takes its place.
struct Addressee {
  const char* name;
  char text[40];  // "LISTEN_PID=1234": what stands in the environment
  bool ours = false;
};
Addressee addressees[] = {{"LISTEN_PID", {}}, {"WATCHDOG_PID", {}}};

/// As supervisor/process/adopt.hpp reads it. One write, so whole or not at all.
struct Report {
  std::int32_t pid;
  std::int32_t status;  // as waitpid gives it
  std::int64_t at_ns;   // CLOCK_BOOTTIME
};

char life_text[sizeof kLife + 200];  // "BULKHEAD_INIT_LIFE=first"

void write_life(const char* life) { std::snprintf(life_text, sizeof life_text, "%s=%s", kLife, life); }

void inherit(int fd) {
  if (fd >= 0) fcntl(fd, F_SETFD, 0);
}

void write_pid(Addressee& variable, pid_t pid) {
  std::snprintf(variable.text, sizeof variable.text, "%s=%d", variable.name, static_cast<int>(pid));
}

void close_all_but(int first_kept, int last_kept, int also_kept) {
  int limit = INT_MAX;
  auto close_between = [](unsigned from, unsigned to) {
    return from > to || syscall(SYS_close_range, from, to, 0) == 0;
  };
  bool done = also_kept > last_kept
                  ? close_between(static_cast<unsigned>(last_kept) + 1, static_cast<unsigned>(also_kept) - 1) &&
                        close_between(static_cast<unsigned>(also_kept) + 1, UINT_MAX)
                  : close_between(static_cast<unsigned>(last_kept) + 1, UINT_MAX);
  if (done) return;
  // Before Linux 5.9, or where a filter refuses it.
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  limit = files.rlim_cur > 65'536 ? 65'536 : static_cast<int>(files.rlim_cur);
  for (int fd = 3; fd < limit; ++fd)
    if ((fd < first_kept || fd > last_kept) && fd != also_kept) close(fd);
}

}  // namespace

Command::Command(const Options& options) : own_group_(getpgrp()) {
  // Ignored, the kernel would reap for us and keep the exit status from us.
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &by_default, &inherited_child_action_);

  const char* sockets = std::getenv("LISTEN_FDS");
  for (Addressee& variable : addressees) {
    const char* value = std::getenv(variable.name);
    variable.ours = value != nullptr && std::atol(value) == getpid();
    if (!variable.ours) continue;
    write_pid(variable, getpid());
    putenv(variable.text);
    if (&variable == &addressees[0] && sockets != nullptr) sockets_ = std::atoi(sockets);
  }
  if (sockets_ < 0 || sockets_ > 1000) sockets_ = 0;
  unsetenv("LISTEN_PIDFDID");  // of this process, as its number is
  if (!options.supervise()) return;
  directory_ = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  static char mark[40];
  std::snprintf(mark, sizeof mark, "BULKHEAD_INIT_PID=%d", static_cast<int>(getpid()));
  putenv(mark);
  static char grace[48];  // so that it plans no longer end than we wait for
  std::snprintf(grace, sizeof grace, "BULKHEAD_INIT_GRACE=%lld", options.grace);
  putenv(grace);
  // Also from the first one: no supervisor shall have what the next one has not.
  close_all_but(3, 2 + sockets_, directory_);
  if (pipe2(reports_, O_CLOEXEC | O_NONBLOCK) != 0) return;
  static char end[40];
  std::snprintf(end, sizeof end, "BULKHEAD_INIT_REPORTS=%d", reports_[0]);
  putenv(end);
  open_channel();
}

void Command::open_channel() {
  constexpr int kKind = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
  if (socketpair(AF_UNIX, kKind, 0, listeners_) != 0 || socketpair(AF_UNIX, kKind, 0, connections_) != 0 ||
      pipe2(ready_, O_CLOEXEC | O_NONBLOCK) != 0)
    return say("no upgrade will be possible: %s", strerrordesc_np(errno));
  static char channel[96];
  std::snprintf(channel, sizeof channel, "%s=%d %d %d %d %d %d", kChannel, kChannelVersion, listeners_[0],
                listeners_[1], connections_[0], connections_[1], ready_[1]);
  putenv(channel);
  write_life("first");
  putenv(life_text);
}

bool Command::is_ready(pid_t supervisor) const {
  std::int32_t pid = 0;
  bool ready = false;
  while (ready_[0] >= 0 && read(ready_[0], &pid, sizeof pid) == static_cast<ssize_t>(sizeof pid))
    ready = ready || pid == supervisor;
  return ready;
}

/// What nobody has read makes room, the oldest first.
void Command::report(pid_t pid, int status) const {
  if (reports_[1] < 0) return;
  timespec at{};
  clock_gettime(CLOCK_BOOTTIME, &at);
  Report report{static_cast<std::int32_t>(pid), status, at.tv_sec * 1'000'000'000LL + at.tv_nsec};
  while (write(reports_[1], &report, sizeof report) < 0 && errno == EAGAIN) {
    Report oldest;
    if (read(reports_[0], &oldest, sizeof oldest) <= 0) return;
  }
}

pid_t Command::start(const Options& options, const Image& image, const char* life) {
  pid_t init = getpid();
  pid_t pid = fork();
  if (pid == 0) become(options, image, life, init);
  if (pid < 0) return -1;
  // Here too, so that no signal to the group is sent before there is one.
  setpgid(pid, pid);
  give_terminal_to(pid);
  return pid;
}

bool Command::give_terminal_to(pid_t group) {
  bool given = give_terminal(own_group_, group);
  // The command may have been quicker to take it.
  has_terminal_ = given || give_terminal(group, group);
  return given;
}

void Command::become(const Options& options, const Image& image, const char* life, pid_t init) {
  pid_t self = getpid();
  setpgid(self, self);
  give_terminal(own_group_, self);
  for (Addressee& variable : addressees)
    if (variable.ours) write_pid(variable, self);
  if (options.supervise()) {
    // Without us nobody would reap, restart or stop it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != init) _exit(71);  // EX_OSERR: killed before we asked
    for (int fd : {reports_[0], listeners_[0], listeners_[1], connections_[0], connections_[1], ready_[1]}) inherit(fd);
    write_life(life);
    if (directory_ >= 0 && fchdir(directory_) != 0)
      say("cannot go back to the working directory: %s", strerrordesc_np(errno));
  }
  sigaction(SIGCHLD, &inherited_child_action_, nullptr);
  sigprocmask(SIG_SETMASK, &options.mask, nullptr);
  image.execute(options.command);
  int error = errno;
  say("cannot run %s: %s", options.command[0], strerrordesc_np(error));
  _exit(error == ENOENT ? 127 : 126);
}

void Command::let_go(const Options& options) {
  if (!options.supervise()) close_all_but(3, 2, -1);
  if (chdir("/") != 0) say("cannot leave the working directory: %s", strerrordesc_np(errno));
}

}  // namespace bulkhead::init
