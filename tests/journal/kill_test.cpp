// The supervisor's process is killed with SIGKILL at every change it makes to a file, and between any two steps of a job.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tests/journal/fault_vfs.hpp"
#include "tests/journal/harness.hpp"
#include "tests/journal/workload.hpp"

namespace bulkhead::journal::testing {
namespace {

/// Where the process dies: at a change to a file, or after a line of the witness ("accepted job-3", "start? job-1 7"), that
/// is, at a named point between two writes of the journal. 0: not of this cause.
struct Death {
  std::uint64_t change = 0;
  std::uint64_t line = 0;
};

[[noreturn]] void die() {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/// The process that is killed. What it saw it tells through the pipe, line by line, before it goes on.
[[noreturn]] void live_and_die(const std::string& directory, Durability durability, Death death, int pipe) {
  FaultVfs vfs;
  vfs.before_change = [&](std::uint64_t number) {
    if (number == death.change) die();
  };
  Options options;
  options.directory = directory;
  options.durability = durability;
  options.vfs = vfs.name();
  options.log_pages = 40;
  Witness witness;
  std::uint64_t lines = 0;
  witness.on_line = [&](const std::string& line) {
    std::string text = line + "\n";
    if (write(pipe, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(2);
    if (++lines == death.line) die();
  };
  {
    Loop loop;
    auto store = open(options, loop.waker());
    Workload load(*store, witness, 7, 6);
    if (!loop.run(*store, [&] { return !load.running(); }) || load.failed()) _exit(3);
  }
  witness.on_line("closed job");
  _exit(0);
}

struct End {
  bool killed = false;
  bool closed = false;  ///< it came to the end of all it had to do
  std::uint64_t lines = 0;
};

End live(const std::string& directory, Durability durability, Death death, Witness& witness) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  pid_t pid = fork();
  if (pid == 0) {
    close(ends[0]);
    live_and_die(directory, durability, death, ends[1]);
  }
  close(ends[1]);
  std::string told;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) told.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  End end;
  for (std::size_t at = 0, next; (next = told.find('\n', at)) != std::string::npos; at = next + 1) {
    std::string line = told.substr(at, next - at);
    ++end.lines;
    if (line == "closed job") {
      end.closed = true;
    } else {
      witness.read(line);
    }
  }
  end.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  EXPECT_TRUE(end.killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << "status " << status;
  return end;
}

/// Kills at 1, 1 + stride, … until a process outlives its number.
void kill_everywhere(Durability durability, std::uint64_t Death::*cause, std::uint64_t stride) {
  int kills = 0;
  for (std::uint64_t at = 1;; at += stride) {
    SCOPED_TRACE("killed at " + std::to_string(at));
    TemporaryDirectory directory;
    std::string state = (directory / "state").string();
    Death death;
    death.*cause = at;
    Witness witness;
    End end = live(state, durability, death, witness);
    // What the process confirmed it had handed to the kernel: every durability keeps that.
    check_after_crash(state, witness, true);
    if (::testing::Test::HasFailure()) return;
    if (!end.killed) break;
    ++kills;
  }
  EXPECT_GT(kills, 20);
}

TEST(Kill, BetweenAnyTwoStepsOfAJob) { kill_everywhere(Durability::Full, &Death::line, 1); }

TEST(Kill, AtAnyChangeToAFile) { kill_everywhere(Durability::Full, &Death::change, 1); }

TEST(Kill, AtAnyChangeToAFileInRelaxedDurability) { kill_everywhere(Durability::Relaxed, &Death::change, 3); }

}  // namespace
}  // namespace bulkhead::journal::testing
