// A slot is clean at once, and in the end nothing is left, whatever was in the directory; and nothing outside it is
// gone.

#include "supervisor/process/scratch.hpp"

#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include "supervisor/process/descriptor.hpp"
#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& path, const std::string& text = "text") { std::ofstream(path) << text; }

bool holds_nothing(const fs::path& directory) { return fs::directory_iterator(directory) == fs::directory_iterator(); }

void expect_nothing_left(ScratchRoot& root, const fs::path& runtime) {
  ASSERT_TRUE(root.wait_until_clean(kLimit));
  EXPECT_EQ(root.figures().failed, 0U) << root.figures().last_failure;
  EXPECT_TRUE(holds_nothing(runtime / "scratch"));
  EXPECT_TRUE(holds_nothing(runtime / "trash"));
}

TEST(Scratch, IsPrivateEmptyAndGoneWithItsOwner) {
  TemporaryDirectory runtime;
  ScratchRoot root(runtime.path());
  {
    Scratch scratch = root.make("w0.1");
    EXPECT_EQ(scratch.path(), runtime.path() / "scratch" / "w0.1");
    struct stat status {};
    ASSERT_EQ(::stat(scratch.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0700U);
    EXPECT_TRUE(holds_nothing(scratch.path()));
    write_file(scratch.path() + "/file");
  }
  EXPECT_FALSE(fs::exists(runtime.path() / "scratch" / "w0.1")) << "at once";
  expect_nothing_left(root, runtime.path());
  EXPECT_EQ(root.figures().deleted, 1U);
}

TEST(Scratch, TheSameNameTwiceIsTwoDirectories) {
  TemporaryDirectory runtime;
  ScratchRoot root(runtime.path());
  Scratch one = root.make("w0"), two = root.make("w0");
  EXPECT_NE(one.path(), two.path());
  one = std::move(two);
  EXPECT_TRUE(fs::exists(one.path()));
  one.discard();
  one.discard();
  expect_nothing_left(root, runtime.path());
  EXPECT_EQ(root.figures().deleted, 2U);
}

TEST(Scratch, AChildsIsItsTemporaryDirectory) {
  TemporaryDirectory runtime;
  ScratchRoot root(runtime.path());
  Scratch scratch = root.make("w0.1");
  Loop loop;
  SpawnPlan plan = naughty({"report"});
  plan.scratch = scratch.path();
  Subject subject(loop, plan);
  subject.until_end();
  subject.output.drain();
  EXPECT_NE(std::find(subject.lines.begin(), subject.lines.end(), "env TMPDIR=" + scratch.path()), subject.lines.end());
}

TEST(Scratch, LinksAreNotFollowed) {
  TemporaryDirectory runtime, precious;
  write_file(precious.path() / "kept");
  fs::create_directory(precious.path() / "directory");
  ScratchRoot root(runtime.path());
  Scratch scratch = root.make("w0.1");
  fs::path path = scratch.path();
  fs::create_directory_symlink(precious.path(), path / "to-directory");
  fs::create_symlink(precious.path() / "kept", path / "to-file");
  fs::create_symlink("/no/such/thing", path / "to-nothing");
  fs::create_directory(path / "below");
  fs::create_directory_symlink(precious.path(), path / "below" / "again");
  ASSERT_EQ(::mkfifo((path / "pipe").c_str(), 0600), 0);
  scratch.discard();
  expect_nothing_left(root, runtime.path());
  EXPECT_TRUE(fs::exists(precious.path() / "kept"));
  EXPECT_TRUE(fs::exists(precious.path() / "directory"));
}

TEST(Scratch, ALinkInItsPlaceIsOnlyALink) {
  TemporaryDirectory runtime, precious;
  write_file(precious.path() / "kept");
  ScratchRoot root(runtime.path());
  Scratch scratch = root.make("w0.1");
  fs::remove(scratch.path());
  fs::create_directory_symlink(precious.path(), scratch.path());
  scratch.discard();
  expect_nothing_left(root, runtime.path());
  EXPECT_TRUE(fs::exists(precious.path() / "kept"));
}

TEST(Scratch, ADirectoryThatIsGoneAlreadyIsFine) {
  TemporaryDirectory runtime;
  ScratchRoot root(runtime.path());
  Scratch scratch = root.make("w0.1");
  fs::remove(scratch.path());
  scratch.discard();
  expect_nothing_left(root, runtime.path());
}

TEST(Scratch, DirectoriesWithoutPermissionsAreDeletedToo) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root, to become a user whom permissions stop";
  TemporaryDirectory runtime;
  ASSERT_EQ(::chown(runtime.path().c_str(), 54321, 54321), 0);
  in_subprocess([&] {
    ASSERT_EQ(::setresgid(54321, 54321, 54321), 0);
    ASSERT_EQ(::setresuid(54321, 54321, 54321), 0);
    ScratchRoot root(runtime.path());
    Scratch scratch = root.make("w0.1");
    fs::path path = scratch.path();
    for (const char* name : {"unreadable", "unwritable", "nothing", "deep/er"}) fs::create_directories(path / name);
    for (const char* name : {"unreadable", "unwritable", "nothing", "deep/er"}) write_file(path / name / "file");
    fs::permissions(path / "unreadable", fs::perms::owner_exec | fs::perms::owner_write);
    fs::permissions(path / "unwritable", fs::perms::owner_read | fs::perms::owner_exec);
    fs::permissions(path / "nothing", fs::perms::none);
    fs::permissions(path / "deep/er", fs::perms::none);
    fs::permissions(path / "deep", fs::perms::none);
    fs::permissions(path, fs::perms::none);
    scratch.discard();
    expect_nothing_left(root, runtime.path());
  });
}

TEST(Scratch, ADeepTreeNeedsFewDescriptors) {
  TemporaryDirectory runtime;
  ScratchRoot root(runtime.path());
  Scratch scratch = root.make("w0.1");
  Descriptor at(::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  constexpr int kDeep = 700;
  for (int i = 0; i < kDeep; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0700), 0);
    Descriptor file(::openat(at.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    at = Descriptor(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  at.close();
  std::size_t most = 0;
  scratch.discard();
  while (!root.wait_until_clean(std::chrono::milliseconds(1))) most = std::max(most, open_descriptors());
  EXPECT_LT(most, 120U);
  expect_nothing_left(root, runtime.path());
}

TEST(Scratch, ManyFilesAreGoneFromTheirPlaceBeforeTheyAreDeleted) {
  TemporaryDirectory runtime;
  ScratchRoot root(runtime.path());
  Scratch scratch = root.make("w0.1");
  Descriptor at(::open(scratch.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 3000; ++i)
    Descriptor(::openat(at.get(), std::to_string(i).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  scratch.discard();
  EXPECT_FALSE(fs::exists(scratch.path()));
  Scratch next = root.make("w0.1");
  EXPECT_TRUE(holds_nothing(next.path()));
  EXPECT_TRUE(root.wait_until_clean(kLimit));
  EXPECT_TRUE(fs::exists(next.path()));
}

TEST(Scratch, WhatADeadSupervisorLeftIsSwept) {
  TemporaryDirectory runtime;
  fs::create_directories(runtime.path() / "scratch" / "w0.1" / "deep");
  write_file(runtime.path() / "scratch" / "w0.1" / "deep" / "file");
  write_file(runtime.path() / "scratch" / "stray-file");
  fs::create_directories(runtime.path() / "trash" / "w0.1.0");
  fs::create_directories(runtime.path() / "trash" / ".deep-4711-0" / "below");
  ScratchRoot root(runtime.path());
  Scratch scratch = root.make("w0.1");
  EXPECT_TRUE(holds_nothing(scratch.path()));
  ASSERT_TRUE(root.wait_until_clean(kLimit));
  EXPECT_TRUE(holds_nothing(runtime.path() / "trash"));
  EXPECT_EQ(root.figures().deleted, 4U);
  EXPECT_EQ(std::distance(fs::directory_iterator(runtime.path() / "scratch"), fs::directory_iterator()), 1);
}

TEST(Scratch, AMountIsNotEntered) {
  TemporaryDirectory runtime, precious;
  write_file(precious.path() / "kept");
  ScratchRoot root(runtime.path());
  Scratch scratch = root.make("w0.1");
  fs::path mounted = fs::path(scratch.path()) / "mounted";
  fs::create_directory(mounted);
  write_file(fs::path(scratch.path()) / "file");
  if (::mount(precious.path().c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr) != 0)
    GTEST_SKIP() << "may not mount here: " << std::strerror(errno);
  scratch.discard();
  ASSERT_TRUE(root.wait_until_clean(kLimit));
  EXPECT_EQ(root.figures().failed, 1U);
  EXPECT_NE(root.figures().last_failure.find("something is mounted there"), std::string::npos)
      << root.figures().last_failure;
  EXPECT_TRUE(fs::exists(precious.path() / "kept"));
  fs::path left = fs::directory_iterator(runtime.path() / "trash")->path();
  EXPECT_FALSE(fs::exists(left / "file")) << "all the rest is deleted";
  ASSERT_EQ(::umount2((left / "mounted").c_str(), MNT_DETACH), 0);
}

TEST(ScratchRoot, SaysWhatIsWrongWithItsPlace) {
  TemporaryDirectory runtime;
  EXPECT_THROW(ScratchRoot(runtime.path() / "no" / "where"), std::system_error);
  fs::create_directory_symlink("/tmp", runtime.path() / "scratch");
  EXPECT_THROW({ ScratchRoot root(runtime.path()); }, std::system_error);
}

}  // namespace
}  // namespace bulkhead::process::testing
