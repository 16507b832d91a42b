// Memory of NVIDIA's devices, by NVML, which is loaded where it is there: nothing of it is needed to build or to run. Its
// calls may take long, so a thread of its own makes them, every few seconds; what it saw last is asked for here.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace bulkhead::observe {

struct GpuMemory {
  int index = 0;  ///< NVML's, which is nvidia-smi's
  std::uint64_t used_bytes = 0;
  std::uint64_t total_bytes = 0;
  struct Process {
    pid_t pid = 0;  ///< as the driver counts: not this container's numbers where that has its own
    std::uint64_t bytes = 0;
  };
  std::vector<Process> processes;
};

class GpuWatch {
 public:
  /// Loads `library` and looks at once, on the thread; without that library there is no thread.
  explicit GpuWatch(const char* library = "libnvidia-ml.so.1");
  ~GpuWatch();
  GpuWatch(const GpuWatch&) = delete;
  GpuWatch& operator=(const GpuWatch&) = delete;

  /// Empty: no devices, or not looked at yet.
  std::vector<GpuMemory> last() const;

 private:
  struct Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace bulkhead::observe
