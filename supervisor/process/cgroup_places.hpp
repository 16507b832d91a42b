// Where in the file system this process's cgroups are: text in, paths out.

#pragma once

#include <string>
#include <string_view>

namespace bulkhead::process {

/// Directories; empty where there is none, or none that can be seen from here.
struct CgroupPlaces {
  std::string v2;
  std::string v1_memory;
  std::string v1_pids;
};

/// From the texts of /proc/self/cgroup (cgroups(7)) and /proc/self/mountinfo (proc(5)).
CgroupPlaces find_cgroups(std::string_view cgroups, std::string_view mountinfo);
/// Of this process.
CgroupPlaces find_cgroups();

}  // namespace bulkhead::process
