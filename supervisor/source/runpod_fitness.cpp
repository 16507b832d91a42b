#include "supervisor/source/runpod_fitness.hpp"

#include <sys/statvfs.h>

#include <cstdio>
#include <fstream>

namespace bulkhead {
namespace {

constexpr double kGiB = 1 << 30;

std::optional<double> available_gb() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    double kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %lf kB", &kib) == 1) return kib * 1024 / kGiB;
  }
  return {};
}

std::string text(double number) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.2f", number);
  return digits;
}

constexpr char kSkip[] = "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true skips this check";

}  // namespace

std::optional<Unfit> judge_fitness(const RunPodFitness& wanted) {
  if (!wanted.checked) return {};
  if (auto gb = available_gb(); gb && *gb < wanted.memory_gb)
    return Unfit{"_memory_check", "Insufficient memory: " + text(*gb) + " GB available, " + text(wanted.memory_gb) +
                                      " GB required (RUNPOD_MIN_MEMORY_GB; " + kSkip + ")"};
  struct statvfs root {};
  if (statvfs("/", &root) == 0 && root.f_blocks > 0) {
    double percent = 100.0 * static_cast<double>(root.f_bavail) / static_cast<double>(root.f_blocks);
    if (percent < wanted.disk_percent)
      return Unfit{"_disk_check", "Insufficient disk space: " + text(percent) + "% free, " + text(wanted.disk_percent) +
                                      "% required (RUNPOD_MIN_DISK_PERCENT; " + kSkip + ")"};
  }
  return {};
}

}  // namespace bulkhead
