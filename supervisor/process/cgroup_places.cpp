#include "supervisor/process/cgroup_places.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

namespace bulkhead::process {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t end = 0; end != std::string_view::npos;) {
    end = text.find(at);
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return parts;
}

bool lists(std::string_view commas, std::string_view word) {
  auto words = split(commas, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// This process's path in a hierarchy: v2's, where no controller is named.
std::optional<std::string_view> path_in(std::string_view cgroups, std::string_view controller) {
  for (std::string_view line : split(cgroups, '\n')) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    std::string_view controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? controllers.empty() : lists(controllers, controller)) return line.substr(second + 1);
  }
  return std::nullopt;
}

/// The directory of `path` in the first mount of that hierarchy in which it can be seen.
std::string directory_of(std::optional<std::string_view> path, std::string_view mountinfo,
                         std::string_view controller) {
  if (!path || path->starts_with("/..")) return {};  // outside our cgroup namespace
  for (std::string_view line : split(mountinfo, '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    auto before = split(line.substr(0, dash), ' '), behind = split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || behind.size() < 3) continue;
    const bool right =
        controller.empty() ? behind[0] == "cgroup2" : behind[0] == "cgroup" && lists(behind[2], controller);
    if (!right) continue;
    // Of a mount of a part of the hierarchy, what lies in that part.
    std::string_view rest = *path, root = before[3] == "/" ? "" : before[3];
    if (!rest.starts_with(root)) continue;
    rest.remove_prefix(root.size());
    if (!rest.empty() && !rest.starts_with('/')) continue;
    return std::string(before[4]) + (rest == "/" ? "" : std::string(rest));
  }
  return {};
}

std::string contents(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

CgroupPlaces find_cgroups(std::string_view cgroups, std::string_view mountinfo) {
  return {.v2 = directory_of(path_in(cgroups, ""), mountinfo, ""),
          .v1_memory = directory_of(path_in(cgroups, "memory"), mountinfo, "memory"),
          .v1_pids = directory_of(path_in(cgroups, "pids"), mountinfo, "pids")};
}

CgroupPlaces find_cgroups() { return find_cgroups(contents("/proc/self/cgroup"), contents("/proc/self/mountinfo")); }

}  // namespace bulkhead::process
