// The child's library in processes that crash, are killed, fork, or are left alone: what the supervisor finds afterwards.

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/crash_file.hpp"
#include "tests/child/fake_supervisor.hpp"

namespace bulkhead::test {
namespace {

using protocol::BlackBox;

/// A sanitizer's options without handlers for the signals whose handling is under test, and without the check for leaks,
/// which a forked process cannot pass.
std::string yielding(const std::string& sanitizer) {
  const char* given = std::getenv(sanitizer.c_str());
  return sanitizer + "=" + (given != nullptr ? given + std::string(":") : "") +
         "handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigill=0:handle_sigfpe=0" +
         (sanitizer == "ASAN_OPTIONS" ? ":detect_leaks=0" : "");
}

class AbiProcess : public testing::Test {
 protected:
  void start(const std::string& mode = {}, const protocol::Welcome& welcome = {}) {
    auto environment = supervisor_.environment();
    for (const char* sanitizer : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
      environment.push_back(yielding(sanitizer));
    }
    process_.emplace(std::vector{mode}, environment, supervisor_.folder() + "/stdout");
    supervisor_.welcome(welcome);
  }
  void start_ready(const std::string& mode = {}, const protocol::Welcome& welcome = {}) {
    start(mode, welcome);
    supervisor_.expect<protocol::Ready>();
  }
  std::string printed() const {
    std::ifstream file(supervisor_.folder() + "/stdout");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void await_started(protocol::Run run) {
    for (;;) {
      const auto said = supervisor_.receive();
      ASSERT_TRUE(said);
      const auto* started = std::get_if<protocol::Started>(&*said);
      if (started != nullptr && started->run == run) return;
    }
  }
  const BlackBox& box() const { return supervisor_.black_box(); }

  FakeSupervisor supervisor_;
  std::optional<Process> process_;
};

TEST_F(AbiProcess, BlackBoxSaysWhereAKilledChildWas) {
  EXPECT_EQ(box().phase.load(), BlackBox::Phase::Launched);
  start("never ready");
  supervisor_.expect<protocol::Log>();
  process_->kill(SIGKILL);
  EXPECT_TRUE(WIFSIGNALED(process_->wait()));
  EXPECT_EQ(box().pid.load(), static_cast<std::uint64_t>(process_->pid()));
  EXPECT_EQ(box().phase.load(), BlackBox::Phase::SettingUp);
  EXPECT_NE(box().last_sign_ns.load(), 0);
}

TEST_F(AbiProcess, BlackBoxSaysIdle) {
  start_ready();
  process_->kill(SIGKILL);
  process_->wait();
  EXPECT_EQ(box().phase.load(), BlackBox::Phase::Idle);
}

TEST_F(AbiProcess, BlackBoxTellsTheEnteredFromTheBystander) {
  start_ready();
  supervisor_.run(1, "1");
  supervisor_.expect<protocol::Done>();
  supervisor_.run(2, "hang");
  supervisor_.run(3, "1");
  await_started(2);
  process_->kill(SIGKILL);
  process_->wait();
  EXPECT_EQ(box().phase.load(), BlackBox::Phase::Running);
  EXPECT_EQ(supervisor_.entry_of(1), BlackBox::State::Left);
  EXPECT_EQ(supervisor_.entry_of(2), BlackBox::State::Entered);
  EXPECT_EQ(supervisor_.entry_of(3), BlackBox::State::Free);
}

TEST_F(AbiProcess, BlackBoxSaysThatAResultWasGiven) {
  start_ready();
  supervisor_.run(1, "finish and hang");
  supervisor_.expect<protocol::Done>();
  while (supervisor_.entry_of(1) == BlackBox::State::Entered) sched_yield();
  process_->kill(SIGKILL);
  process_->wait();
  EXPECT_EQ(supervisor_.entry_of(1), BlackBox::State::Left);
}

TEST_F(AbiProcess, AResultGivenBeforeCloseIsNeverLost) {
  start_ready();
  supervisor_.run(1, "finish large and die");
  EXPECT_EQ(supervisor_.expect<protocol::Done>().output.size(), 20u << 20);
  EXPECT_EQ(process_->wait(), SIGKILL);
}

struct Crash {
  int signal;
  int code;
  std::uint64_t address;
  int thread;
  std::uint64_t ip;
  std::vector<std::uint64_t> frames;
  std::string text;
  bool whole;
};

Crash parse(const std::string& text) {
  Crash crash{};
  crash.text = text;
  std::istringstream lines(text);
  std::string line;
  bool in_maps = false;
  while (std::getline(lines, line)) {
    if (line == protocol::crash_file::kEnd) crash.whole = true;
    if (in_maps) continue;
    if (line.starts_with("signal ")) {
      EXPECT_EQ(sscanf(line.c_str(), "signal %d code %d addr %lx tid %d ip %lx", &crash.signal, &crash.code,
                       &crash.address, &crash.thread, &crash.ip),
                5)
          << line;
    } else if (line.starts_with("frame ")) {
      crash.frames.push_back(std::stoull(line.substr(6), nullptr, 16));
    } else if (line == protocol::crash_file::kMaps) {
      in_maps = true;
    }
  }
  return crash;
}

/// Whether this address lies in executable code of a file whose name ends so.
bool lies_in(std::uint64_t address, const Crash& crash, std::string_view file) {
  std::istringstream lines(crash.text.substr(crash.text.find("\nmaps\n") + 6));
  std::string line;
  while (std::getline(lines, line)) {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    char rights[5] = "";
    if (sscanf(line.c_str(), "%lx-%lx %4s", &from, &to, rights) != 3) continue;
    if (address >= from && address < to) return rights[2] == 'x' && std::string_view(line).ends_with(file);
  }
  return false;
}

class AbiCrash : public AbiProcess {
 protected:
  Crash crash(const std::string& order, int signal, const std::string& mode = {}) {
    start_ready(mode);
    supervisor_.run(1, order);
    const int status = process_->wait();
    EXPECT_TRUE(WIFSIGNALED(status)) << "exit status " << WEXITSTATUS(status);
    EXPECT_EQ(WTERMSIG(status), signal);
    EXPECT_EQ(box().phase.load(), BlackBox::Phase::Crashing);
    EXPECT_EQ(box().crash_signal.load(), static_cast<std::uint32_t>(signal));
    EXPECT_EQ(supervisor_.entry_of(1), BlackBox::State::Entered);
    const Crash found = parse(supervisor_.crash_file());
    EXPECT_TRUE(found.whole) << found.text;
    EXPECT_EQ(found.signal, signal) << found.text;
    EXPECT_GE(found.frames.size(), 2u) << found.text;
    if (!found.frames.empty()) {
      EXPECT_EQ(found.frames[0], found.ip);
    }
    return found;
  }
};

TEST_F(AbiCrash, SegfaultInTheMainThread) {
  const Crash found = crash("segv", SIGSEGV);
  EXPECT_EQ(found.address, 0u);
  EXPECT_EQ(found.thread, process_->pid());
  EXPECT_TRUE(lies_in(found.frames[0], found, "/abi_child"));
  EXPECT_TRUE(lies_in(found.frames[1] - 1, found, "/abi_child"));
  EXPECT_NE(found.text.find("\nthread abi_child\n"), std::string::npos);
}

TEST_F(AbiCrash, SegfaultInAnotherThread) {
  const Crash found = crash("segv in a thread", SIGSEGV);
  EXPECT_NE(found.thread, process_->pid());
  EXPECT_TRUE(lies_in(found.frames[0], found, "/abi_child"));
}

TEST_F(AbiCrash, StackOverflowInTheMainThread) {
  const Crash found = crash("overflow", SIGSEGV);
  EXPECT_EQ(found.frames.size(), 1 + protocol::crash_file::kMaxFrames);
  EXPECT_NE(found.text.find("\ncut too many frames\n"), std::string::npos);
  EXPECT_TRUE(lies_in(found.frames[50] - 1, found, "/abi_child"));
}

TEST_F(AbiCrash, StackOverflowInAnotherThread) {
  const Crash found = crash("overflow in a thread", SIGSEGV);
  EXPECT_EQ(found.frames.size(), 1 + protocol::crash_file::kMaxFrames);
}

TEST_F(AbiCrash, Abort) {
  const Crash found = crash("abort", SIGABRT);
  EXPECT_NE(found.text.find("\nsender " + std::to_string(process_->pid()) + "\n"), std::string::npos);
  EXPECT_EQ(found.text.find("terminate"), std::string::npos);
}

TEST_F(AbiCrash, Trap) { crash("trap", SIGTRAP); }

TEST_F(AbiCrash, UncaughtException) {
  const Crash found = crash("throw", SIGABRT);
  EXPECT_TRUE(found.text.starts_with("terminate St13runtime_error: no model\nsignal ")) << found.text;
}

TEST_F(AbiCrash, AnEarlierHandlerIsCalledAfterwards) {
  crash("segv", SIGSEGV, "chained");
  EXPECT_EQ(printed(), "chained");
}

TEST_F(AbiProcess, AForkedProcessDisturbsNothing) {
  start_ready();
  supervisor_.run(1, "fork");
  EXPECT_EQ(supervisor_.expect<protocol::Done>().output, "0");
  supervisor_.run(2, "fork a crash");
  EXPECT_EQ(supervisor_.expect<protocol::Done>().output, std::to_string(SIGSEGV));
  EXPECT_EQ(supervisor_.crash_file(), "");
  EXPECT_EQ(box().crash_signal.load(), 0u);
  supervisor_.run(3, "3");
  EXPECT_EQ(supervisor_.expect<protocol::Done>().output, "3");
}

TEST_F(AbiProcess, ProgramsAHandlerStartsInheritNothing) {
  start_ready();
  supervisor_.run(1, "descriptors");
  EXPECT_EQ(supervisor_.expect<protocol::Done>().output, "0");
}

TEST_F(AbiProcess, WhatAJobPrintedLeavesBeforeItsResult) {
  start_ready();
  supervisor_.run(1, "print");
  supervisor_.expect<protocol::Done>();
  EXPECT_EQ(printed(), "printed");
}

TEST_F(AbiProcess, StopEndsItWell) {
  start_ready();
  supervisor_.run(1, "1");
  EXPECT_EQ(supervisor_.expect<protocol::Done>().output, "1");
  supervisor_.send(protocol::Stop{});
  EXPECT_EQ(process_->wait(), 0);
}

TEST_F(AbiProcess, AnIdleChildEndsWithItsSupervisor) {
  start_ready();
  supervisor_.vanish();
  EXPECT_EQ(WEXITSTATUS(process_->wait()), 3);  // its own doing
}

TEST_F(AbiProcess, AHangingHandlerDoesNotOutliveItsSupervisor) {
  start_ready();
  supervisor_.run(1, "hang");
  await_started(1);
  supervisor_.vanish();
  EXPECT_EQ(WEXITSTATUS(process_->wait()), 70);
}

TEST_F(AbiProcess, ASetUpDoesNotOutliveItsSupervisor) {
  start("never ready");
  supervisor_.expect<protocol::Log>();
  supervisor_.vanish();
  EXPECT_EQ(WEXITSTATUS(process_->wait()), 70);
}

}  // namespace
}  // namespace bulkhead::test
