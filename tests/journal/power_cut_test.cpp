// The machine loses power at any write or sync, and the disk has of what was not synced some, none, or torn pieces.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "tests/journal/fault_vfs.hpp"
#include "tests/journal/harness.hpp"
#include "tests/journal/workload.hpp"

namespace bulkhead::journal::testing {
namespace {

/// How many changes the load makes to files when nothing happens to it: where it can be cut.
std::uint64_t run(const std::string& directory, FaultVfs& vfs, Durability durability, std::uint64_t seed,
                  Witness& witness) {
  Options options;
  options.directory = directory;
  options.durability = durability;
  options.vfs = vfs.name();
  if (seed % 2 == 0) options.log_pages = 20;  // so short that it is copied back in the midst of it
  Loop loop;
  try {
    auto store = open(options, loop.waker());
    Workload load(*store, witness, seed, 12);
    EXPECT_TRUE(loop.run(*store, [&] { return !load.running(); }));
  } catch (const std::system_error&) {
    // The power went while the journal was being opened: nothing was confirmed.
    EXPECT_TRUE(witness.jobs.empty());
  }
  return vfs.changes();
}

void cut_somewhere(Durability durability, bool full, int seeds) {
  int in_opening = 0, under_way = 0;
  for (int seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TemporaryDirectory directory;
    std::string state = (directory / "state").string();
    Witness witness;
    FaultVfs vfs;
    vfs.track();
    // A run makes some 150 to 400 changes; few cuts are in the opening, some fall after the end.
    vfs.die_at(std::mt19937_64(static_cast<std::uint64_t>(seed))() % (durability == Durability::Full ? 350 : 250) + 1);
    run(state, vfs, durability, static_cast<std::uint64_t>(seed), witness);
    in_opening += witness.jobs.empty() ? 1 : 0;
    under_way += !witness.jobs.empty() && !witness.complete ? 1 : 0;
    vfs.cut_power(static_cast<std::uint64_t>(seed));
    check_after_crash(state, witness, full);
    if (::testing::Test::HasFailure()) return;
  }
  std::printf("%d cuts: %d while opening, %d under way\n", seeds, in_opening, under_way);
  EXPECT_GT(under_way, seeds / 2) << "the cuts miss the load";
}

int seeds(int usual) {
  const char* wanted = std::getenv("BULKHEAD_SEEDS");
  return wanted != nullptr ? std::atoi(wanted) : usual;
}

TEST(PowerCut, InFullDurabilityWhatWasConfirmedIsThere) { cut_somewhere(Durability::Full, true, seeds(300)); }

TEST(PowerCut, InRelaxedDurabilityWhatIsThereIsWhole) { cut_somewhere(Durability::Relaxed, false, seeds(150)); }

}  // namespace
}  // namespace bulkhead::journal::testing
