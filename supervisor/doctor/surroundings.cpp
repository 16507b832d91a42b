// Who stands around us: the container, the service manager, the clock, and whoever listens where we want to. Who they are
// is read from what they leave for others to read (systemd.io/CONTAINER_INTERFACE, and the files Docker and Podman make).

#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "supervisor/doctor/address.hpp"
#include "supervisor/doctor/files.hpp"
#include "supervisor/doctor/resources.hpp"

namespace bulkhead::doctor {
namespace {

bool is_there(const char* path) { return access(path, F_OK) == 0; }

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

std::string container() {
  if (!variable("RUNPOD_POD_ID").empty()) return "RunPod";
  if (!variable("KUBERNETES_SERVICE_HOST").empty()) return "Kubernetes";
  if (is_there("/.dockerenv")) return "Docker";
  if (is_there("/run/.containerenv")) return "Podman";
  // Others say who they are to the first process (systemd's container interface).
  if (auto name = read_text("/run/host/container-manager"); name && !name->empty()) return *name;
  if (auto name = read_text("/run/systemd/container"); name && !name->empty()) return *name;
  return variable("container");
}

Finding clock() {
  Finding finding{.subject = "clock"};
  timex state{};
  int said = adjtimex(&state);
  std::string source =
      read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource").value_or("unknown");
  if (said < 0) {
    finding.verdict = Verdict::Limited;
    finding.found = "adjtimex: " + std::string(std::strerror(errno)) + "; source " + source;
    finding.cost = "whether it is right cannot be told";
    return finding;
  }
  bool right = (state.status & STA_UNSYNC) == 0;
  bool slow = source == "acpi_pm" || source == "hpet";
  finding.found = std::string(right ? "synchronised" : "nobody says that it is synchronised") + ", source " + source;
  if (right && !slow) return finding;
  finding.verdict = Verdict::Limited;
  finding.cost =
      slow ? "each reading is a microsecond or more, several per job"
           : "deadlines do not depend on it, but the times of jobs may be wrong, and TLS fails when it is far off";
  finding.way_out =
      slow ? "a kernel or a machine type with tsc or kvm-clock" : "chrony or systemd-timesyncd, on the host";
  return finding;
}

Finding service_manager() {
  Finding finding{.subject = "service manager"};
  std::string first = read_text("/proc/1/comm").value_or("unknown");
  if (!variable("INVOCATION_ID").empty()) {
    finding.found = "started by systemd";
    if (variable("NOTIFY_SOCKET").empty()) {
      finding.verdict = Verdict::Limited;
      finding.found += ", which takes no notifications";
      finding.cost = "the unit is \"started\" before a handler is ready, and no watchdog looks after it";
      finding.way_out = "Type=notify and NotifyAccess=all, as in the unit that is installed";
    }
    return finding;
  }
  if (getpid() == 1 || getppid() == 1) {
    finding.found = getpid() == 1 ? "none: we are PID 1" : "PID 1 is " + first;
  } else {
    finding.found = "not started by one (PID 1 is " + first + ")";
  }
  return finding;
}

Finding address(const std::string& where) {
  Finding finding{.subject = "address"};
  if (where.starts_with("fd:")) {
    finding.found = where + " is handed over";
    return finding;
  }
  const int error = try_address(where);
  if (error == 0) {
    finding.found = where + " is free";
    return finding;
  }
  finding.verdict = Verdict::Broken;
  finding.found = where + ": " + std::strerror(error);
  finding.cost = "serve cannot listen there";
  finding.way_out = error == EACCES       ? "a port from 1024 on, or CAP_NET_BIND_SERVICE"
                    : error == EADDRINUSE ? "end whoever listens there (ss -ltnp), or give --listen"
                                          : "an address of this machine";
  return finding;
}

}  // namespace

Section surroundings(const std::vector<std::string>& listen) {
  Section section{"Surroundings", {service_manager(), clock()}};
  for (const std::string& where : listen) section.findings.push_back(address(where));
  return section;
}

std::string place() {
  utsname kernel{};
  uname(&kernel);
  std::string system = value_of("/etc/os-release", "PRETTY_NAME").value_or("an unknown system");
  std::erase(system, '"');
  std::string text = system + ", Linux " + kernel.release + ", " + kernel.machine;
  if (std::string around = container(); !around.empty()) text += ", in a container (" + around + ")";
  return text;
}

}  // namespace bulkhead::doctor
