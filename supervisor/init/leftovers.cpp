#include "supervisor/init/leftovers.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bulkhead::init {
namespace {

constexpr long kMaxPid = 4'194'304;  // PID_MAX_LIMIT of a 64-bit kernel (include/linux/threads.h)

/// One bit a process: below us. Half a megabyte, of which a page exists once it is written to, so none until the end.
std::uint64_t below[kMaxPid / 64];

bool is_below(long pid) { return pid > 0 && pid < kMaxPid && (below[pid / 64] >> (pid % 64) & 1) != 0; }
void mark(long pid) { below[pid / 64] |= std::uint64_t{1} << (pid % 64); }

struct Facts {
  char state = 0;  // 0: no such process
  long parent = 0;
  long threads = 0;

  /// A process whose first thread ended looks like a zombie, and lives on in its other threads.
  bool lives() const { return state != 0 && state != 'X' && (state != 'Z' || threads > 1); }
};

Facts facts_of(long pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[512];
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0) return {};
  text[size] = '\0';
  // The name, in brackets, may hold anything: the last bracket ends it.
  const char* after = std::strrchr(text, ')');
  Facts facts;
  constexpr char kFields[] = " %c %ld %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld";  // 3, 4, 20
  if (after == nullptr || std::sscanf(after + 1, kFields, &facts.state, &facts.parent, &facts.threads) != 3) return {};
  return facts;
}

/// Calls `visit` with each process /proc lists. False: there is no /proc of our own namespace.
template <class Visit>
bool each_process(Visit visit) {
  char self[16] = {};
  if (readlink("/proc/self", self, sizeof self - 1) <= 0 || std::atol(self) != getpid()) return false;
  int directory = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return false;
  alignas(dirent64) static char buffer[16'384];
  for (long size; (size = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0;) {
    for (long at = 0; at < size;) {
      auto* entry = reinterpret_cast<dirent64*>(buffer + at);
      at += entry->d_reclen;
      long pid = std::atol(entry->d_name);
      if (pid > 0 && pid < kMaxPid) visit(pid);
    }
  }
  close(directory);
  return true;
}

bool find_all_below() {
  for (std::uint64_t& word : below)
    if (word != 0) word = 0;
  // A child mostly has a higher number than its parent, and comes later: a second pass finds what wrapped around.
  for (bool more = true; more;) {
    more = false;
    bool listed = each_process([&](long pid) {
      if (is_below(pid)) return;
      long parent = facts_of(pid).parent;
      if (parent != getpid() && !is_below(parent)) return;
      mark(pid);
      more = true;
    });
    if (!listed) return false;
  }
  return true;
}

/// Through a descriptor: the number may be a stranger's by now.
void signal_one(long pid, int signal) {
  int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  // Not there before Linux 5.3, and refused by the filters of older container engines.
  bool by_number = fd < 0 && (errno == ENOSYS || errno == EPERM);
  Facts facts = facts_of(pid);
  bool ours = facts.lives() && (facts.parent == getpid() || is_below(facts.parent));
  if (ours && by_number) kill(static_cast<pid_t>(pid), signal);
  if (fd < 0) return;
  if (ours) syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0);
  close(fd);
}

}  // namespace

void signal_all_below(int signal, int group) {
  if (getpid() == 1) {
    kill(-1, signal);
    return;
  }
  if (!find_all_below()) {
    if (group > 1) kill(-group, signal);
    return;
  }
  for (long word = 0; word < kMaxPid / 64; ++word) {
    if (below[word] == 0) continue;
    for (int bit = 0; bit < 64; ++bit)
      if (long pid = word * 64 + bit; is_below(pid)) signal_one(pid, signal);
  }
}

}  // namespace bulkhead::init
