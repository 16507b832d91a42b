// Where cgroups are, from what the kernel says; and a leaf as far as this machine lets one be made.

#include "supervisor/process/cgroups.hpp"

#include <sys/resource.h>

#include <fstream>

#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

namespace fs = std::filesystem;

constexpr char kHybrid[] =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /sys/fs/cgroup/both rw,relatime shared:7 - cgroup cgroup rw,pids,cpu\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

TEST(Cgroups, AreFoundInEachHierarchy) {
  auto places = find_cgroups("4:memory:/a/b\n8:cpu,pids:/\n1:name=systemd:/x\n0::/c\n", kHybrid);
  EXPECT_EQ(places.v2, "/sys/fs/cgroup/unified/c");
  EXPECT_EQ(places.v1_memory, "/sys/fs/cgroup/memory/a/b");
  EXPECT_EQ(places.v1_pids, "/sys/fs/cgroup/both");
}

TEST(Cgroups, OfVersion2Alone) {
  auto places = find_cgroups("0::/system.slice/bulkhead.service\n",
                             "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
  EXPECT_EQ(places.v2, "/sys/fs/cgroup/system.slice/bulkhead.service");
  EXPECT_EQ(places.v1_memory + places.v1_pids, "");
}

TEST(Cgroups, InAContainer) {
  // With a namespace of its own the container is at the root; without one a part of the hierarchy is mounted.
  constexpr char kPart[] = "29 22 0:26 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
  EXPECT_EQ(find_cgroups("0::/\n", "29 22 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n").v2, "/sys/fs/cgroup");
  EXPECT_EQ(find_cgroups("0::/docker/1/leaf\n", kPart).v2, "/sys/fs/cgroup/leaf");
  EXPECT_EQ(find_cgroups("0::/docker/1\n", kPart).v2, "/sys/fs/cgroup");
  EXPECT_EQ(find_cgroups("0::/docker/12\n", kPart).v2, "") << "another container's";
  EXPECT_EQ(find_cgroups("0::/../outside\n", kPart).v2, "");
  EXPECT_EQ(find_cgroups("", "").v2, "");
  EXPECT_EQ(find_cgroups("nonsense\n0:\n", "nonsense\n - \n").v2, "");
}

std::string said(const Cgroups& cgroups) {
  std::string text;
  for (const auto& remark : cgroups.remarks()) text += remark.text + '\n';
  return text;
}

TEST(Cgroups, NoneLeavesResourceLimits) {
  Cgroups cgroups({.memory_max = 64 << 20, .pids_max = 10}, "bulkhead-test", 0, {});
  EXPECT_NE(said(cgroups).find("RLIMIT_AS"), std::string::npos) << said(cgroups);
  EXPECT_NE(said(cgroups).find("RLIMIT_NPROC"), std::string::npos) << said(cgroups);
  EXPECT_TRUE(cgroups.make("w0.1").directories().empty());
  std::vector<SpawnPlan::Limit> limits;
  cgroups.add_limits(limits);
  ASSERT_EQ(limits.size(), 2U);
  EXPECT_EQ(limits[0].resource, RLIMIT_AS);
  EXPECT_EQ(limits[0].value.rlim_max, 64U << 20);
  EXPECT_EQ(limits[1].resource, RLIMIT_NPROC);
  EXPECT_GT(limits[1].value.rlim_max, 10U);
}

TEST(Cgroups, NoGuardsAndNoDelegationTouchNothing) {
  TemporaryDirectory directory;
  std::ofstream(directory.path() / "cgroup.procs") << "";
  std::ofstream(directory.path() / "cgroup.controllers") << "memory pids";
  if (::geteuid() != 0) GTEST_SKIP() << "what belongs to somebody who is not root counts as delegated";
  Cgroups cgroups({}, "bulkhead-test", 0, {.v2 = directory.path(), .v1_memory = "", .v1_pids = ""});
  EXPECT_EQ(said(cgroups), "");
  EXPECT_TRUE(cgroups.make("w0.1").directories().empty());
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()), 2);
}

TEST(Cgroups, APlaceThatDoesNotWorkIsSaidAndLeftAsItWas) {
  TemporaryDirectory directory;  // no cgroup file system: files do not appear in a new directory
  std::ofstream(directory.path() / "cgroup.procs") << "";
  std::ofstream(directory.path() / "cgroup.subtree_control") << "";
  std::ofstream(directory.path() / "cgroup.controllers") << "memory pids";
  Cgroups cgroups({.memory_max = 64 << 20}, "bulkhead-test", 0,
                  {.v2 = directory.path(), .v1_memory = directory.path(), .v1_pids = ""});
  EXPECT_NE(said(cgroups).find("RLIMIT_AS"), std::string::npos) << said(cgroups);
  EXPECT_NE(said(cgroups).find("memory.limit_in_bytes"), std::string::npos) << said(cgroups);
  EXPECT_FALSE(fs::exists(directory.path() / Cgroups::kSupervisorLeaf));
  EXPECT_FALSE(fs::exists(directory.path() / "bulkhead-test-probe"));
}

}  // namespace
}  // namespace bulkhead::process::testing
