// NVML's functions are taken by name (nvml.h, which is not everywhere, is not included): those used here have had these
// arguments since driver 510, and are missing, not different, in older ones. What is missing is left out.

#include "supervisor/observe/gpus.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace bulkhead::observe {
namespace {

constexpr std::chrono::seconds kPeriod{5};
constexpr unsigned kMostProcesses = 1024;

using Device = void*;
struct Memory {
  unsigned long long total, free, used;
};
struct ComputeProcess {  // nvmlProcessInfo_v2_t
  unsigned pid;
  unsigned long long bytes;
  unsigned gpu_instance, compute_instance;
};
constexpr unsigned long long kNotKnown = ~0ULL;

class Nvml {
 public:
  explicit Nvml(void* library) : library_(library) {
    load(init_, "nvmlInit_v2");
    load(shutdown_, "nvmlShutdown");
    load(count_, "nvmlDeviceGetCount_v2");
    load(device_, "nvmlDeviceGetHandleByIndex_v2");
    load(memory_, "nvmlDeviceGetMemoryInfo");
    load(processes_, "nvmlDeviceGetComputeRunningProcesses_v3");
    works_ = init_ && shutdown_ && count_ && device_ && memory_ && init_() == 0;
  }
  ~Nvml() {
    if (works_) shutdown_();
  }
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;
  bool works() const { return works_; }

  std::vector<GpuMemory> look() const {
    std::vector<GpuMemory> seen;
    unsigned count = 0;
    if (count_(&count) != 0) return seen;
    for (unsigned i = 0; i < count; ++i) {
      Device device = nullptr;
      Memory memory{};
      if (device_(i, &device) != 0 || memory_(device, &memory) != 0) continue;
      GpuMemory& gpu = seen.emplace_back();
      gpu.index = static_cast<int>(i);
      gpu.used_bytes = memory.used;
      gpu.total_bytes = memory.total;
      unsigned found = kMostProcesses;
      std::vector<ComputeProcess> processes(found);
      if (!processes_ || processes_(device, &found, processes.data()) != 0) continue;
      processes.resize(found);
      for (const ComputeProcess& process : processes)
        if (process.bytes != kNotKnown) gpu.processes.push_back({static_cast<pid_t>(process.pid), process.bytes});
    }
    return seen;
  }

 private:
  template <class Function>
  void load(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(::dlsym(library_, name));
  }

  void* library_;
  int (*init_)() = nullptr;
  int (*shutdown_)() = nullptr;
  int (*count_)(unsigned*) = nullptr;
  int (*device_)(unsigned, Device*) = nullptr;
  int (*memory_)(Device, Memory*) = nullptr;
  int (*processes_)(Device, unsigned*, ComputeProcess*) = nullptr;
  bool works_ = false;
};

}  // namespace

struct GpuWatch::Thread {
  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  std::vector<GpuMemory> seen;
  std::thread thread;

  void run(void* library) {
    Nvml nvml(library);
    std::unique_lock lock(mutex);
    while (nvml.works() && !stopping) {
      lock.unlock();
      auto now = nvml.look();
      lock.lock();
      seen = std::move(now);
      changed.wait_for(lock, kPeriod, [this] { return stopping; });
    }
  }
};

GpuWatch::GpuWatch(const char* name) {
  void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  thread_ = std::make_unique<Thread>();
  sigset_t all, before;  // signals are the loop's
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_->thread = std::thread([this, library] { thread_->run(library); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

GpuWatch::~GpuWatch() {
  if (!thread_) return;
  {
    std::lock_guard lock(thread_->mutex);
    thread_->stopping = true;
  }
  thread_->changed.notify_one();
  thread_->thread.join();
}

std::vector<GpuMemory> GpuWatch::last() const {
  if (!thread_) return {};
  std::lock_guard lock(thread_->mutex);
  return thread_->seen;
}

}  // namespace bulkhead::observe
