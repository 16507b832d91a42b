#include "supervisor/doctor/resources.hpp"

#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "supervisor/doctor/files.hpp"
#include "supervisor/process/cgroup_places.hpp"
#include "supervisor/process/gpus.hpp"

namespace bulkhead::doctor {
namespace {

Finding descriptors() {
  Finding finding{.subject = "open files"};
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  finding.found = std::to_string(limit.rlim_cur) + " (up to " + std::to_string(limit.rlim_max) + ")";
  constexpr rlim_t kEnough = 4096;  // 1,000 connections, 64 children with some ten each, the journal
  if (limit.rlim_cur >= kEnough) return finding;
  finding.verdict = Verdict::Limited;
  finding.cost = "each connection and each handler process needs some: clients are refused when they are used up";
  finding.way_out = "ulimit -n 65536, LimitNOFILE=65536, or docker run --ulimit nofile=65536";
  return finding;
}

Finding processes() {
  Finding finding{.subject = "processes"};
  rlimit limit{};
  getrlimit(RLIMIT_NPROC, &limit);
  const process::CgroupPlaces places = process::find_cgroups();
  std::string in_cgroup;
  for (const std::string& place : {places.v2, places.v1_pids})
    if (!place.empty() && in_cgroup.empty()) in_cgroup = read_text(place + "/pids.max").value_or("");
  std::uint64_t most = limit.rlim_cur == RLIM_INFINITY ? ~std::uint64_t{0} : limit.rlim_cur;
  if (auto pids = number(in_cgroup)) most = std::min(most, *pids);
  finding.found = most == ~std::uint64_t{0} ? "not limited" : "at most " + std::to_string(most) + " with their threads";
  if (most >= 1024) return finding;
  finding.verdict = Verdict::Limited;
  finding.cost =
      "one Python handler with numpy can have a thread per core: fork fails with \"Resource temporarily unavailable\"";
  finding.way_out = "docker run --pids-limit, TasksMax=, or ulimit -u";
  return finding;
}

Finding processors() {
  Finding finding{.subject = "processors"};
  cpu_set_t set;
  CPU_ZERO(&set);
  int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
  finding.found = std::to_string(usable) + " to run on";
  const std::string v2 = process::find_cgroups().v2;
  const std::string quota = v2.empty() ? "" : read_text(v2 + "/cpu.max").value_or("");
  auto share = number(quota);
  auto period = number(quota.substr(std::min(quota.size(), quota.find(' ') + 1)));
  if (!share || !period || *period == 0) return finding;
  double allowed = static_cast<double>(*share) / static_cast<double>(*period);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), ", of whose time %.2g may be used", allowed);
  finding.found += text.data();
  if (allowed >= usable) return finding;
  finding.verdict = Verdict::Limited;
  finding.cost = "libraries that start a thread for each processor they see are stopped in the middle of every period";
  finding.way_out = "OMP_NUM_THREADS by --worker-env, as many as may be used";
  return finding;
}

Finding shared_memory() {
  Finding finding{.subject = "shared memory"};
  struct statvfs status {};
  if (statvfs("/dev/shm", &status) != 0) {
    finding.verdict = Verdict::Missing;
    finding.found = "there is no /dev/shm";
    finding.cost = "multiprocessing and data loaders fail; Bulkhead itself needs none";
    return finding;
  }
  std::uint64_t size = std::uint64_t{status.f_blocks} * status.f_frsize;
  std::uint64_t free = std::uint64_t{status.f_bavail} * status.f_frsize;
  finding.found = in_bytes(size) + ", of it free " + in_bytes(free);
  if (free >= std::uint64_t{256} << 20) return finding;
  finding.verdict = Verdict::Limited;
  finding.cost = "data loaders that hand tensors over in shared memory die of SIGBUS when it is full";
  finding.way_out = "docker run --shm-size=1g, or --ipc=host";
  return finding;
}

/// By NVML (nvml.h of the CUDA toolkit), which comes with the driver; it is asked for, never linked.
Finding gpus() {
  Finding finding{.subject = "GPUs"};
  std::size_t devices = process::count_gpus();
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (devices == 0 && library == nullptr) {
    finding.found = "none, and no driver's library";
    return finding;
  }
  auto fail = [&](std::string found, std::string way_out) {
    finding.verdict = Verdict::Limited;
    finding.found = std::move(found);
    finding.cost = "handlers that want a GPU fail in their set-up";
    finding.way_out = std::move(way_out);
    return finding;
  };
  if (library == nullptr)
    return fail(std::to_string(devices) + " device files, and no libnvidia-ml.so.1",
                "run the container by the NVIDIA container toolkit (docker run --gpus all)");
  auto init = reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"));
  auto count = reinterpret_cast<int (*)(unsigned*)>(dlsym(library, "nvmlDeviceGetCount_v2"));
  auto version = reinterpret_cast<int (*)(char*, unsigned)>(dlsym(library, "nvmlSystemGetDriverVersion"));
  auto shutdown = reinterpret_cast<int (*)()>(dlsym(library, "nvmlShutdown"));
  if (init == nullptr || count == nullptr || version == nullptr || shutdown == nullptr)
    return fail("libnvidia-ml.so.1 is not NVIDIA's", "reinstall the driver");
  if (int error = init(); error != 0)
    return fail("the driver does not answer (NVML error " + std::to_string(error) + ")",
                "look at nvidia-smi and dmesg on the host; its driver and this library must have one version");
  unsigned seen = 0;
  std::array<char, 96> driver{};
  count(&seen);
  version(driver.data(), driver.size());
  shutdown();
  finding.found = std::to_string(seen) + ", driver " + driver.data();
  if (seen != 0) return finding;
  return fail("a driver (" + std::string(driver.data()) + "), and no device",
              "docker run --gpus all; DeviceAllow= in the unit");
}

}  // namespace

Section resources() { return {"Resources", {processors(), processes(), descriptors(), shared_memory(), gpus()}}; }

}  // namespace bulkhead::doctor
