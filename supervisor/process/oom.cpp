#include "supervisor/process/oom.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <fstream>
#include <iterator>
#include <string_view>

#include "supervisor/process/descriptor.hpp"

namespace bulkhead::process {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The number behind `name` and a blank, at the start of a line.
std::optional<std::uint64_t> value_in(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    std::string_view rest = text.substr(at + name.size());
    if ((at > 0 && text[at - 1] != '\n') || !rest.starts_with(' ')) continue;
    std::uint64_t value = 0;
    rest.remove_prefix(1);
    if (std::from_chars(rest.data(), rest.data() + rest.size(), value).ec == std::errc{}) return value;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> value_of(const std::string& path, std::string_view name) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::string text(16 * 1024, '\0');
  ssize_t got = ::read(file.get(), text.data(), text.size());
  return got <= 0 ? std::nullopt : value_in(std::string_view(text).substr(0, static_cast<std::size_t>(got)), name);
}

/// This process's path in the hierarchy with `controllers` ("" is v2's), from lines like "4:memory:/a/b".
std::optional<std::string> path_in(std::string_view cgroups, std::string_view controllers) {
  while (!cgroups.empty()) {
    std::string_view line = cgroups.substr(0, cgroups.find('\n'));
    cgroups.remove_prefix(std::min(line.size() + 1, cgroups.size()));
    std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    if (line.substr(first + 1, second - first - 1) == controllers) return std::string(line.substr(second + 1));
  }
  return std::nullopt;
}

bool readable(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }

bool rose(const std::optional<std::uint64_t>& from, const std::optional<std::uint64_t>& to) {
  return from && to && *to > *from;
}

}  // namespace

OomCounters::OomCounters() {
  std::string cgroups = contents("/proc/self/cgroup");
  auto v1 = path_in(cgroups, "memory");
  auto v2 = path_in(cgroups, "");
  // In a container the path may be one that only the host can see; the container's own root is the same group then.
  for (const std::string& path : {v1.value_or("/"), std::string("/")}) {
    std::string group = "/sys/fs/cgroup/memory" + (path == "/" ? "" : path);
    if (!v1 || !readable(group + "/memory.oom_control")) continue;
    cgroup_events_ = group + "/memory.oom_control";
    cgroup_limit_ = group + "/memory.limit_in_bytes";
    return;
  }
  for (const std::string& path : {v2.value_or("/"), std::string("/")}) {
    std::string group = "/sys/fs/cgroup" + (path == "/" ? "" : path);
    if (!v2 || !readable(group + "/memory.events")) continue;
    cgroup_events_ = group + "/memory.events";
    cgroup_limit_ = group + "/memory.max";
    return;
  }
}

OomCounts OomCounters::read() const {
  OomCounts counts;
  if (!cgroup_events_.empty()) counts.cgroup = value_of(cgroup_events_, "oom_kill");
  counts.machine = value_of("/proc/vmstat", "oom_kill");
  return counts;
}

std::optional<std::uint64_t> OomCounters::memory_limit() const {
  if (cgroup_limit_.empty()) return std::nullopt;
  std::string text = contents(cgroup_limit_);
  std::uint64_t limit = 0;
  // "max", or v1's way to say the same.
  constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 62;
  if (std::from_chars(text.data(), text.data() + text.size(), limit).ec != std::errc{} || limit >= kUnlimited)
    return std::nullopt;
  return limit;
}

OomVerdict judge_oom(const ExitStatus& status, bool killed_by_us, const OomCounts& at_launch,
                     const OomCounts& at_death) {
  if (status.how != ExitStatus::How::Killed || status.signal != SIGKILL || killed_by_us) return {};
  if (rose(at_launch.cgroup, at_death.cgroup)) return {true, "out of memory in its cgroup"};
  bool cgroup_known = at_launch.cgroup && at_death.cgroup, machine_known = at_launch.machine && at_death.machine;
  if (rose(at_launch.machine, at_death.machine)) {
    // Where the cgroup counts too, and counted nothing, it was somebody else.
    if (cgroup_known) return {false, "not by the out-of-memory killer, and not by the supervisor"};
    return {true, "most likely out of memory: the machine ran out of it meanwhile"};
  }
  if (cgroup_known || machine_known) return {false, "not by the out-of-memory killer, and not by the supervisor"};
  return {false, "whether by the out-of-memory killer is unknown: this system does not count its kills"};
}

}  // namespace bulkhead::process
