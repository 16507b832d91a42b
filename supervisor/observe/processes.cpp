#include "supervisor/observe/processes.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace bulkhead::observe {
namespace {

/// The fields of /proc/PID/stat that are wanted; numbers are those of proc(5).
struct Stat {
  double user = 0, system = 0, waited_user = 0, waited_system = 0;  ///< seconds
  double started = 0;                                               ///< seconds after the machine
  std::uint64_t virtual_bytes = 0, resident_bytes = 0;
};

std::optional<Stat> read_stat(const char* path) {
  char text[1024];
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  const ssize_t size = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (size <= 0) return std::nullopt;
  text[size] = '\0';
  const char* at = std::strrchr(text, ')');  // its name may hold anything
  unsigned long user = 0, system = 0, virtual_bytes = 0;
  long waited_user = 0, waited_system = 0, pages = 0;
  unsigned long long started = 0;
  if (!at ||
      std::sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %*d %*d %llu %lu %ld",
                  &user, &system, &waited_user, &waited_system, &started, &virtual_bytes, &pages) != 7)
    return std::nullopt;
  static const double kTick = static_cast<double>(sysconf(_SC_CLK_TCK));
  static const auto kPage = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return Stat{.user = static_cast<double>(user) / kTick,
              .system = static_cast<double>(system) / kTick,
              .waited_user = static_cast<double>(waited_user) / kTick,
              .waited_system = static_cast<double>(waited_system) / kTick,
              .started = static_cast<double>(started) / kTick,
              .virtual_bytes = virtual_bytes,
              .resident_bytes = static_cast<std::uint64_t>(pages) * kPage};
}

std::uint64_t count_descriptors() {
  DIR* directory = ::opendir("/proc/self/fd");
  if (!directory) return 0;
  std::uint64_t count = 0;
  while (const dirent* entry = ::readdir(directory)) count += entry->d_name[0] != '.';
  ::closedir(directory);
  return count - 1;  // the one that looks
}

/// When the machine was started, since the epoch.
double boot_seconds() {
  timespec since_boot{}, now{};
  clock_gettime(CLOCK_BOOTTIME, &since_boot);
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec - since_boot.tv_sec) +
         static_cast<double>(now.tv_nsec - since_boot.tv_nsec) / 1e9;
}

}  // namespace

std::optional<ProcessUsage> usage_of(pid_t pid) {
  char path[40];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  auto stat = read_stat(path);
  if (!stat) return std::nullopt;
  return ProcessUsage{.resident_bytes = stat->resident_bytes,
                      .cpu_seconds = stat->user + stat->system + stat->waited_user + stat->waited_system};
}

OwnUsage own_usage() {
  OwnUsage usage;
  if (auto stat = read_stat("/proc/self/stat")) {
    static const double kStarted = boot_seconds() + stat->started;  // the clock may be set later
    usage.resident_bytes = stat->resident_bytes;
    usage.virtual_bytes = stat->virtual_bytes;
    usage.cpu_seconds = stat->user + stat->system;
    usage.start_seconds = kStarted;
  }
  usage.open_fds = count_descriptors();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) usage.max_fds = limit.rlim_cur;
  return usage;
}

}  // namespace bulkhead::observe
