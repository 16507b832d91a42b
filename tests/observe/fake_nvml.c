/* What GpuWatch needs of NVML: two devices, the second of which does not say who uses it. */

#include <unistd.h>

struct memory {
  unsigned long long total, free, used;
};
struct process {
  unsigned pid;
  unsigned long long bytes;
  unsigned gpu_instance, compute_instance;
};

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = (void*)(unsigned long)(index + 1);
  return 0;
}

int nvmlDeviceGetMemoryInfo(void* device, struct memory* memory) {
  memory->total = 1000;
  memory->used = 100 * (unsigned long)device;
  memory->free = memory->total - memory->used;
  return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, struct process* processes) {
  if ((unsigned long)device != 1 || *count < 2) return 3; /* not supported */
  *count = 2;
  processes[0] = (struct process){(unsigned)getpid(), 42, 0, 0};
  processes[1] = (struct process){1, ~0ULL, 0, 0}; /* not known */
  return 0;
}
