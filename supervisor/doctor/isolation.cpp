// Every mechanism is tried as it would be used, since what a kernel has and what a container lets through are two things:
// a file that is there may be read-only, and a system call may be filtered.

#include "supervisor/doctor/isolation.hpp"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sched.h>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>

#include "supervisor/doctor/files.hpp"
#include "supervisor/doctor/trial.hpp"
#include "supervisor/process/cgroup_places.hpp"
#include "supervisor/process/oom.hpp"

namespace bulkhead::doctor {
namespace {

std::string reason(int error) { return std::strerror(error); }

Finding pidfd() {
  Finding finding{.subject = "pidfd"};
  int error = try_in_child([] {
    int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
    if (self < 0) return errno;
    return syscall(SYS_pidfd_send_signal, self, 0, nullptr, 0) == 0 ? 0 : errno;
  });
  if (error == 0) {
    finding.found = "children are watched and signalled by descriptor";
    return finding;
  }
  finding.verdict = Verdict::Limited;
  finding.found = "pidfd_open: " + reason(error);
  finding.cost = "a thread waits for each child; no --preload, and the next supervisor takes none up";
  finding.way_out = error == ENOSYS ? "use Linux 5.3 or newer, and a seccomp profile that knows pidfd_open"
                                    : "allow pidfd_open in the seccomp profile";
  return finding;
}

Finding subreaper() {
  Finding finding{.subject = "subreaper"};
  if (getpid() == 1) {
    finding.found = "not needed: we are PID 1 here, and orphans come to us";
    return finding;
  }
  int error = try_in_child([] { return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : errno; });
  if (error == 0) {
    finding.found = "what a handler leaves behind comes to our init, which ends it";
  } else {
    finding.verdict = Verdict::Limited;
    finding.found = "PR_SET_CHILD_SUBREAPER: " + reason(error);
    finding.cost = "what a handler leaves behind goes to PID 1; it is found by its environment only";
  }
  return finding;
}

constexpr const char* kUnified = "boot with the unified hierarchy (systemd.unified_cgroup_hierarchy=1)";

/// Where cgroup v2 lets us make a child's own, and which limits that has.
Finding cgroups() {
  Finding finding{.subject = "cgroups"};
  const process::CgroupPlaces places = process::find_cgroups();
  auto makes = [](const std::string& parent) {
    std::string path = parent + "/bulkhead-doctor-" + std::to_string(getpid());
    if (mkdir(path.c_str(), 0755) != 0) return errno;
    rmdir(path.c_str());
    return 0;
  };
  const std::string controllers = read_text(places.v2 + "/cgroup.controllers").value_or("");
  const bool memory = controllers.find("memory") != std::string::npos;
  const bool pids = controllers.find("pids") != std::string::npos;
  const int error = places.v2.empty() ? ENOENT : makes(places.v2);
  if (error == 0 && memory && pids) {
    finding.found = "v2, and ours to divide (" + controllers + ")";
    return finding;
  }
  if (!places.v2.empty())
    finding.found = error == 0 ? "v2 without memory and pids" : "v2, which we may not divide: " + reason(error);
  if (!places.v1_memory.empty() && makes(places.v1_memory) == 0) {
    finding.verdict = Verdict::Limited;
    finding.found = "v1, where we may make cgroups" + (finding.found.empty() ? "" : " (and " + finding.found + ")");
    finding.cost = "limits hold, but a cgroup cannot be killed at one stroke";
    finding.way_out = kUnified;
    return finding;
  }
  if (error == 0) {
    finding.verdict = Verdict::Limited;
    finding.found =
        "v2, and ours to divide, but with these controllers only: " + (controllers.empty() ? "none" : controllers);
    finding.cost = std::string("strays are found, but no limit by cgroup for ") +
                   (memory ? "processes"
                    : pids ? "memory"
                           : "memory and processes") +
                   "; --worker-memory-max and --worker-pids-max fall back to resource limits";
    finding.way_out = places.v1_memory.empty() ? "under systemd: Delegate=yes" : kUnified;
    return finding;
  }
  finding.verdict = Verdict::Missing;
  if (finding.found.empty())
    finding.found = places.v1_memory.empty() ? "no cgroup hierarchy can be seen" : "v1, read-only";
  finding.cost =
      "a child's memory and processes are limited by resource limits only, and strays are found by their environment";
  finding.way_out = "in a container: mount /sys/fs/cgroup writable (--cgroupns=private); under systemd: Delegate=yes";
  return finding;
}

Finding namespaces() {
  Finding finding{.subject = "namespaces"};
  int with_rights = try_in_child([] { return unshare(CLONE_NEWPID) == 0 ? 0 : errno; });
  int by_user = try_in_child([] { return unshare(CLONE_NEWUSER | CLONE_NEWPID) == 0 ? 0 : errno; });
  if (with_rights == 0 || by_user == 0) {
    finding.found = with_rights == 0 ? "may be made" : "may be made inside a user namespace";
    return finding;
  }
  finding.verdict = Verdict::Missing;
  finding.found = "PID namespace: " + reason(with_rights) + "; inside a user namespace: " + reason(by_user);
  finding.cost =
      "nothing for Bulkhead; handlers that bring a sandbox (Chromium, bubblewrap) run without it or not at all";
  if (auto limit = read_text("/proc/sys/user/max_user_namespaces"); limit == "0")
    finding.way_out = "sysctl user.max_user_namespaces=15000";
  return finding;
}

Finding privileges() {
  Finding finding{.subject = "privileges"};
  auto capabilities = number(value_of("/proc/self/status", "CapEff").value_or("0"), 16).value_or(0);
  std::string who = geteuid() == 0 ? "root" : "user " + std::to_string(geteuid());
  std::string filter = value_of("/proc/self/status", "Seccomp").value_or("0") == "2" ? ", behind a seccomp filter" : "";
  std::string no_new = value_of("/proc/self/status", "NoNewPrivs").value_or("0") == "1" ? ", no new privileges" : "";
  constexpr std::uint64_t kSysAdmin = std::uint64_t{1} << 21;  // capabilities(7)
  finding.found = who + ", " +
                  (capabilities == 0                 ? "no capabilities"
                   : (capabilities & kSysAdmin) != 0 ? "capabilities with CAP_SYS_ADMIN"
                                                     : "some capabilities") +
                  filter + no_new;
  if (geteuid() == 0 && (capabilities & kSysAdmin) != 0) {
    finding.verdict = Verdict::Limited;
    finding.cost = "handlers run with the same rights: a handler that is taken over has the machine";
    finding.way_out = "run as an ordinary user; Bulkhead needs no rights";
  }
  return finding;
}

// ---- evidence ------------------------------------------------------------------------------------------------------

Finding tracing() {
  Finding finding{.subject = "ptrace"};
  int error = try_in_child([] {
    pid_t child = fork();
    if (child < 0) return errno;
    if (child == 0) {
      pause();
      _exit(0);
    }
    int failed = ptrace(PTRACE_SEIZE, child, nullptr, nullptr) == 0 ? 0 : errno;
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    return failed;
  });
  std::string scope = read_text("/proc/sys/kernel/yama/ptrace_scope").value_or("");
  if (error == 0) {
    finding.found = "a process may trace its children" +
                    (scope.empty() || scope == "0" ? std::string() : " (ptrace_scope " + scope + ": only those)");
    return finding;
  }
  finding.verdict = Verdict::Missing;
  finding.found = "PTRACE_SEIZE of a child of our own: " + reason(error);
  finding.cost = "gdb, strace and py-spy cannot look into a handler; crash records have their stacks all the same";
  finding.way_out = scope == "3" ? "it is off until the next boot (kernel.yama.ptrace_scope=3)"
                                 : "docker run --cap-add=SYS_PTRACE, or a seccomp profile that allows ptrace";
  return finding;
}

Finding oom() {
  Finding finding{.subject = "OOM kills"};
  const process::OomCounters counters;
  const process::OomCounts counts = counters.read();
  if (counts.cgroup) {
    finding.found = "counted by our cgroup";
    if (auto limit = counters.memory_limit()) finding.found += ", which allows " + in_bytes(*limit);
    return finding;
  }
  if (counts.machine) {
    finding.verdict = Verdict::Limited;
    finding.found = "counted for the whole machine only";
    finding.cost =
        "oom_killed in a crash record is a likelihood, not a fact, when several processes are killed at once";
    return finding;
  }
  finding.verdict = Verdict::Missing;
  finding.found = "neither a cgroup nor /proc/vmstat counts them";
  finding.cost = "a crash record cannot tell the OOM killer from anybody else's SIGKILL";
  return finding;
}

Finding cores() {
  Finding finding{.subject = "core dumps"};
  rlimit limit{};
  getrlimit(RLIMIT_CORE, &limit);
  std::string pattern = read_text("/proc/sys/kernel/core_pattern").value_or("");
  if (limit.rlim_cur == 0) {
    finding.found = "off (ulimit -c 0)";
  } else if (pattern.starts_with('|')) {
    finding.found = "go to " + pattern.substr(1, pattern.find(' ') - 1);
  } else {
    finding.verdict = Verdict::Limited;
    finding.found = "are written to " + (pattern.empty() ? "a file" : pattern) + ", up to " +
                    (limit.rlim_cur == RLIM_INFINITY ? "any size" : in_bytes(limit.rlim_cur));
    finding.cost = "a child that crashes with a full GPU model in memory writes that to disk before its slot is free";
    finding.way_out = "ulimit -c 0, or a core_pattern with a collector";
  }
  return finding;
}

Finding helper_program(std::string subject, const std::vector<std::string>& places, std::string found,
                       std::string cost) {
  Finding finding{.subject = std::move(subject)};
  for (const std::string& place : places) {
    if (access(place.c_str(), X_OK) != 0) continue;
    finding.found = std::move(found) + " (" + place + ")";
    return finding;
  }
  finding.verdict = Verdict::Limited;
  finding.found = "not installed beside this program";
  finding.cost = std::move(cost);
  finding.way_out = "install the whole of Bulkhead: meson install";
  return finding;
}

std::vector<std::string> beside_us(const std::string& built_in, const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  return {(self / built_in / name).string(), (self.parent_path() / "libexec" / "bulkhead" / name).string(),
          std::string(BULKHEAD_LIBEXEC_DIR) + "/" + name};
}

}  // namespace

Section isolation() {
  return {"Isolation",
          {pidfd(), subreaper(),
           helper_program("init", beside_us("init", "bulkhead-init"), "bulkhead-init stands above the supervisor",
                          "run and serve have no init: nobody starts a supervisor again that is killed"),
           cgroups(), namespaces(), privileges()}};
}

Section evidence() {
  return {"Evidence of a crash",
          {helper_program("stacks", beside_us("process", "bulkhead-symbolise"), "get names and lines",
                          "the stacks of crash records are bare addresses"),
           oom(), tracing(), cores()}};
}

}  // namespace bulkhead::doctor
