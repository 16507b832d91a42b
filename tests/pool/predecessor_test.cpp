// What a new supervisor concludes from the black boxes it finds.

#include "supervisor/pool/predecessor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "tests/pool/harness.hpp"

namespace bulkhead::pool {
namespace {

using protocol::BlackBox;

class PredecessorTest : public testing::Test {
 protected:
  /// A child's box, in which it entered `run` (0: none).
  void box(const std::string& child, RunNumber run) {
    const auto file = process::BlackBoxFile::create(dir_.path() / (child + ".box"));
    if (run == 0) return;
    const int fd = open(file.path().c_str(), O_WRONLY | O_CLOEXEC);
    const auto state = BlackBox::State::Entered;
    const auto at = [](std::size_t field) { return static_cast<off_t>(offsetof(BlackBox, entry) + field); };
    EXPECT_EQ(pwrite(fd, &run, sizeof run, at(offsetof(BlackBox::Entry, run))), static_cast<ssize_t>(sizeof run));
    EXPECT_EQ(pwrite(fd, &state, sizeof state, at(offsetof(BlackBox::Entry, state))),
              static_cast<ssize_t>(sizeof state));
    close(fd);
  }

  TempDir dir_;
};

TEST_F(PredecessorTest, TellsWhatWasEnteredFromWhatWasOnlyHandedOut) {
  Predecessor::mark(dir_.path(), 100);
  box("w0.1", 101);
  box("w1.1", 0);
  const Predecessor known(dir_.path());
  EXPECT_FALSE(known.never_entered(101, "w0.1"));
  EXPECT_TRUE(known.never_entered(102, "w0.1"));
  EXPECT_TRUE(known.never_entered(103, "w1.1"));
}

TEST_F(PredecessorTest, KnowsNothingOfAChildWithoutABox) {
  Predecessor::mark(dir_.path(), 100);
  box("w0.1", 0);
  std::filesystem::resize_file(dir_.path() / "w0.1.box", 10);
  const Predecessor known(dir_.path());
  EXPECT_FALSE(known.never_entered(101, "w0.1"));
  EXPECT_FALSE(known.never_entered(101, "w0.2"));
}

TEST_F(PredecessorTest, KnowsNothingOfRunsThatAnEarlierSupervisorHandedOut) {
  box("w0.1", 0);
  EXPECT_FALSE(Predecessor(dir_.path()).never_entered(5, "w0.1")) << "nobody said whose box it is";
  Predecessor::mark(dir_.path(), 100);
  EXPECT_FALSE(Predecessor(dir_.path()).never_entered(99, "w0.1"));
  EXPECT_TRUE(Predecessor(dir_.path()).never_entered(100, "w0.1"));
}

TEST_F(PredecessorTest, KnowsNothingWhereThereIsNothing) {
  EXPECT_FALSE(Predecessor(dir_.path() / "none").never_entered(1, "w0.1"));
  EXPECT_FALSE(Predecessor().never_entered(1, "w0.1"));
}

}  // namespace
}  // namespace bulkhead::pool
