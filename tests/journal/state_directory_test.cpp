#include "supervisor/journal/state_directory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "supervisor/journal/error.hpp"
#include "tests/journal/harness.hpp"

namespace bulkhead::journal::testing {
namespace {

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

std::string refusal(const std::filesystem::path& path, std::errc wanted) {
  try {
    StateDirectory directory(path);
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), wanted) << error.what();
    return error.what();
  }
  ADD_FAILURE() << path << " was taken";
  return {};
}

TEST(StateDirectory, IsCreatedForTheOwnerAlone) {
  TemporaryDirectory parent;
  mode_t mask = umask(0);
  StateDirectory directory(parent / "a/b/c");
  EXPECT_TRUE(directory.ensure_file("file"));
  EXPECT_FALSE(directory.ensure_file("file"));
  umask(mask);
  EXPECT_EQ(mode_of(parent / "a"), 0700u);
  EXPECT_EQ(mode_of(parent / "a/b/c"), 0700u);
  EXPECT_EQ(mode_of(parent / "a/b/c/lock"), 0600u);
  EXPECT_EQ(mode_of(parent / "a/b/c/file"), 0600u);
}

TEST(StateDirectory, AFileThatOthersMayReadIsClosedToThem) {
  TemporaryDirectory parent;
  StateDirectory directory(parent / "state");
  std::ofstream(parent / "state/file") << "x";
  chmod((parent / "state/file").c_str(), 0644);
  EXPECT_FALSE(directory.ensure_file("file"));
  EXPECT_EQ(mode_of(parent / "state/file"), 0600u);
}

TEST(StateDirectory, IsHeldByOneProcessAtATime) {
  TemporaryDirectory parent;
  {
    StateDirectory first(parent / "state");
    std::string text = refusal(parent / "state", std::errc::device_or_resource_busy);
    EXPECT_NE(text.find(std::to_string(getpid())), std::string::npos) << text;
    EXPECT_NE(text.find((parent / "state").string()), std::string::npos) << text;
  }
  StateDirectory second(parent / "state");
}

TEST(StateDirectory, IsFreeWhenItsHolderWasKilled) {
  TemporaryDirectory parent;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    StateDirectory held(parent / "state");
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  std::string text = refusal(parent / "state", std::errc::device_or_resource_busy);
  EXPECT_NE(text.find("process " + std::to_string(pid)), std::string::npos) << text;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  StateDirectory directory(parent / "state");
  close(ready[0]);
  close(ready[1]);
}

TEST(StateDirectory, IsWaitedForWhereItsHolderIsDeadAndAForkOfItIsNot) {
  TemporaryDirectory parent;
  int ready[2], end[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(end), 0);
  pid_t pid = fork();
  if (pid == 0) {
    StateDirectory held(parent / "state");
    if (fork() == 0) {  // has the lock, as a child between fork and exec
      char byte;
      close(end[1]);
      if (write(ready[1], "x", 1) != 1 || read(end[0], &byte, 1) != 1) _exit(1);
      usleep(100'000);
      _exit(0);
    }
    for (;;) pause();
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  ASSERT_EQ(write(end[1], "x", 1), 1);
  StateDirectory directory(parent / "state");
  for (int descriptor : {ready[0], ready[1], end[0], end[1]}) close(descriptor);
}

TEST(StateDirectory, OneThatOthersMayWriteIsRefused) {
  TemporaryDirectory parent;
  std::filesystem::create_directory(parent / "state");
  chmod((parent / "state").c_str(), 0770);
  refusal(parent / "state", std::errc::permission_denied);
  chmod((parent / "state").c_str(), 0755);  // as systemd makes it
  StateDirectory directory(parent / "state");
  EXPECT_EQ(mode_of(parent / "state"), 0755u);
}

TEST(StateDirectory, OneThatCannotBeMadeSaysWhy) {
  TemporaryDirectory parent;
  std::ofstream(parent / "file") << "x";
  EXPECT_THROW(StateDirectory(parent / "file"), std::system_error);
  EXPECT_THROW(StateDirectory(parent / "file/state"), std::system_error);
}

TEST(StateDirectory, DefaultsFollowSystemdThenXdgThenHome) {
  std::string home = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "";
  setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two", 1);
  setenv("XDG_STATE_HOME", "/xdg", 1);
  setenv("HOME", "/home/me", 1);
  EXPECT_EQ(default_state_directory(), "/var/lib/one");
  unsetenv("STATE_DIRECTORY");
  EXPECT_EQ(default_state_directory(), "/xdg/bulkhead");
  setenv("XDG_STATE_HOME", "relative", 1);
  EXPECT_EQ(default_state_directory(), "/home/me/.local/state/bulkhead");
  unsetenv("XDG_STATE_HOME");
  EXPECT_EQ(default_state_directory(), "/home/me/.local/state/bulkhead");
  unsetenv("HOME");
  EXPECT_EQ(default_state_directory(), "/var/lib/bulkhead");
  if (!home.empty()) setenv("HOME", home.c_str(), 1);
}

}  // namespace
}  // namespace bulkhead::journal::testing
