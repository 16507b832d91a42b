// What a child noted in its black box is read after its death, and a damaged box is known as one.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <fstream>

#include "supervisor/process/black_box_file.hpp"
#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

using protocol::BlackBox;

/// The child's side: the file mapped.
class Mapped {
 public:
  explicit Mapped(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    void* at = ::mmap(nullptr, sizeof(BlackBox), PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    EXPECT_NE(at, MAP_FAILED);
    box_ = static_cast<BlackBox*>(at);
  }
  ~Mapped() { ::munmap(box_, sizeof(BlackBox)); }
  BlackBox* operator->() { return box_; }

 private:
  Descriptor fd_;
  BlackBox* box_ = nullptr;
};

TEST(BlackBoxFile, StartsMarkedAndEmpty) {
  TemporaryDirectory directory;
  BlackBoxFile file = BlackBoxFile::create(directory.path() / "w0.1.box");
  struct stat status {};
  ASSERT_EQ(::stat(file.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), sizeof(BlackBox));
  EXPECT_EQ(Mapped(file.path())->magic.load(), BlackBox::kMagic);
  auto snapshot = file.read();
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->pid, 0U);
  EXPECT_EQ(snapshot->phase, BlackBox::Phase::Launched);
  EXPECT_TRUE(snapshot->runs.empty());
  EXPECT_EQ(file.last_sign().count(), 0);
}

TEST(BlackBoxFile, TellsWhatTheChildNoted) {
  TemporaryDirectory directory;
  BlackBoxFile file = BlackBoxFile::create(directory.path() / "box");
  Mapped box(file.path());
  box->pid = 4711;
  box->phase = BlackBox::Phase::Crashing;
  box->crash_signal = 11;
  box->last_sign_ns = 123'456'789;
  auto note = [&](std::size_t entry, std::uint64_t run, BlackBox::State state) {
    box->entry[entry].run = run;
    box->entry[entry].state = state;
  };
  note(0, 5, BlackBox::State::Left);
  note(3, 7, BlackBox::State::Entered);
  note(4, 8, BlackBox::State::Free);
  note(BlackBox::kEntries - 1, 9, BlackBox::State::Entered);

  BlackBoxFile moved = std::move(file);
  auto snapshot = moved.read();
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->pid, 4711U);
  EXPECT_EQ(snapshot->phase, BlackBox::Phase::Crashing);
  EXPECT_EQ(snapshot->crash_signal, 11);
  EXPECT_EQ(snapshot->last_sign.count(), 123'456'789);
  EXPECT_EQ(moved.last_sign(), snapshot->last_sign);
  EXPECT_EQ(snapshot->runs.size(), 3U);
  EXPECT_TRUE(snapshot->was_entered(7));
  EXPECT_FALSE(snapshot->was_left(7));
  EXPECT_TRUE(snapshot->was_entered(5));
  EXPECT_TRUE(snapshot->was_left(5));
  EXPECT_TRUE(snapshot->was_entered(9));
  EXPECT_FALSE(snapshot->was_entered(8));
  EXPECT_FALSE(snapshot->was_entered(0));
}

TEST(BlackBoxFile, OneThatWasTamperedWithSaysNothing) {
  TemporaryDirectory directory;
  BlackBoxFile cut = BlackBoxFile::create(directory.path() / "cut");
  std::filesystem::resize_file(cut.path(), 100);
  EXPECT_FALSE(cut.read());
  BlackBoxFile emptied = BlackBoxFile::create(directory.path() / "emptied");
  std::filesystem::resize_file(emptied.path(), 0);
  EXPECT_FALSE(emptied.read());
  EXPECT_EQ(emptied.last_sign().count(), 0);
  BlackBoxFile unmarked = BlackBoxFile::create(directory.path() / "unmarked");
  Mapped(unmarked.path())->magic = 0;
  EXPECT_FALSE(unmarked.read());
}

TEST(BlackBoxFile, ASuccessorOpensIt) {
  TemporaryDirectory directory;
  std::filesystem::path path = directory.path() / "box";
  EXPECT_FALSE(BlackBoxFile::open(path));
  BlackBoxFile::create(path);
  Mapped(path)->entry[1].run = 3;
  Mapped(path)->entry[1].state = BlackBox::State::Entered;
  auto file = BlackBoxFile::open(path);
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->read()->was_entered(3));
  EXPECT_TRUE(BlackBoxFile::create(path).read()->runs.empty()) << "a new child gets a new one";
  EXPECT_TRUE(file->read()->was_entered(3)) << "and the old one is still what it was";
  file->remove();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(BlackBoxFile, AHandlerThatPutsAPipeInItsPlaceHoldsNobodyUp) {
  TemporaryDirectory directory;
  std::filesystem::path path = directory.path() / "box";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  ::alarm(60);  // should opening it wait for a writer
  auto file = BlackBoxFile::open(path);
  EXPECT_FALSE(file && file->read());
  ::alarm(0);
}

TEST(BlackBoxFile, SaysWhereItCannotBeMade) {
  EXPECT_THROW(BlackBoxFile::create("/no/such/place/box"), std::system_error);
}

}  // namespace
}  // namespace bulkhead::process::testing
