// GPUs, as NVML says them, and where there is none.

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "supervisor/observe/gpus.hpp"

namespace bulkhead::observe {
namespace {

TEST(Gpus, without_the_library_there_are_none) {
  GpuWatch watch("libno-such-library.so.1");
  EXPECT_TRUE(watch.last().empty());
}

TEST(Gpus, are_what_the_library_says) {
  const std::string library = std::string(std::getenv("BULKHEAD_BUILD")) + "/tests/observe/fake_nvml.so";
  GpuWatch watch(library.c_str());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (watch.last().empty() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto gpus = watch.last();
  ASSERT_EQ(gpus.size(), 2U);
  EXPECT_EQ(gpus[0].used_bytes, 100U);
  EXPECT_EQ(gpus[1].used_bytes, 200U);
  EXPECT_EQ(gpus[1].total_bytes, 1000U);
  ASSERT_EQ(gpus[0].processes.size(), 1U);
  EXPECT_EQ(gpus[0].processes[0].pid, getpid());
  EXPECT_EQ(gpus[0].processes[0].bytes, 42U);
  EXPECT_TRUE(gpus[1].processes.empty());
}

}  // namespace
}  // namespace bulkhead::observe
