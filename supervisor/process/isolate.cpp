#include "supervisor/process/isolate.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>

namespace bulkhead::process {
namespace {

// getdents64's record; glibc has no wrapper that does not allocate.
struct DirectoryEntry {
  ino64_t inode;
  off64_t offset;
  unsigned short length;
  unsigned char type;
  char name[256];
};

int write_whole(int fd, const char* text) noexcept {
  size_t length = std::strlen(text);
  return ::write(fd, text, length) == static_cast<ssize_t>(length) ? 0 : errno;
}

// The number a name of /proc/self/fd stands for, or -1.
int to_number(const char* name) noexcept {
  int number = 0;
  if (*name == '\0') return -1;
  for (; *name != '\0'; ++name) {
    if (*name < '0' || *name > '9') return -1;
    number = number * 10 + (*name - '0');
  }
  return number;
}

// For kernels before 5.9, and filters that refuse close_range. Closing while reading the directory is safe here: procfs
// goes by number, not by position.
int close_listed(int keep) noexcept {
  int directory = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    int end = limit.rlim_cur > 65536 ? 65536 : static_cast<int>(limit.rlim_cur);
    for (int fd = 3; fd < end; ++fd)
      if (fd != keep) ::close(fd);
    return 0;
  }
  alignas(DirectoryEntry) char buffer[4096];
  for (;;) {
    long got = ::syscall(SYS_getdents64, directory, buffer, sizeof buffer);
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      auto* entry = reinterpret_cast<DirectoryEntry*>(buffer + at);
      int fd = to_number(entry->name);
      if (fd > 2 && fd != keep && fd != directory) ::close(fd);
      at += entry->length;
    }
  }
  ::close(directory);
  return 0;
}

int close_range(unsigned first, unsigned last) noexcept {
  if (first > last) return 0;
  return ::syscall(SYS_close_range, first, last, 0) == 0 ? 0 : errno;
}

}  // namespace

int EnterCgroup::run() const noexcept {
  for (int directory : *directories) {
    int fd = ::openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = write_whole(fd, "0");
    ::close(fd);
    if (error != 0) return error;
  }
  return 0;
}

int NewSession::run() const noexcept { return ::setsid() < 0 ? errno : 0; }

int ResetSignals::run() const noexcept {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  // Refused for SIGKILL, SIGSTOP and the two the C library keeps for itself; the others cannot fail.
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  return ::sigprocmask(SIG_SETMASK, &none, nullptr) < 0 ? errno : 0;
}

int ConnectStdio::run() const noexcept {
  for (int fd = 0; fd < 3; ++fd)
    if (::dup2(from[fd], fd) < 0) return errno;
  return 0;
}

int CloseDescriptors::run() const noexcept {
  auto kept = static_cast<unsigned>(keep);
  if (close_range(3, kept - 1) == 0 && close_range(kept + 1, UINT_MAX) == 0) return 0;
  return close_listed(keep);
}

int ChangeDirectory::run() const noexcept {
  if (*path == '\0') return 0;
  return ::chdir(path) < 0 ? errno : 0;
}

int SetLimits::run() const noexcept {
  for (const SpawnPlan::Limit& limit : *limits)
    if (::setrlimit(static_cast<__rlimit_resource_t>(limit.resource), &limit.value) < 0) return errno;
  return 0;
}

int SetNice::run() const noexcept {
  if (!wanted) return 0;
  return ::setpriority(PRIO_PROCESS, 0, value) < 0 ? errno : 0;
}

int SetOomScore::run() const noexcept {
  if (*value == '\0') return 0;
  int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno == EROFS || errno == ENOENT || errno == EACCES || errno == EPERM ? 0 : errno;
  int error = write_whole(fd, value);
  ::close(fd);
  return error;
}

int SetDeathSignal::run() const noexcept {
  if (signal == 0) return 0;
  if (::prctl(PR_SET_PDEATHSIG, signal) < 0) return errno;
  return ::getppid() == parent ? 0 : ESRCH;
}

}  // namespace bulkhead::process
