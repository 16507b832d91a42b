// What is learned of a child's end, and what can be done to it before.

#include <sys/syscall.h>

#include <csignal>
#include <list>
#include <set>

#include "supervisor/process/descriptor.hpp"
#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

TEST(Child, EveryExitCodeComesThrough) {
  Loop loop;
  for (int code = 0; code < 256; ++code) {
    Subject subject(loop, naughty({"exit", std::to_string(code)}));
    const ExitStatus& status = subject.until_end();
    EXPECT_EQ(status.how, ExitStatus::How::Exited);
    EXPECT_EQ(status.code, code);
    EXPECT_EQ(status.succeeded(), code == 0);
  }
}

TEST(Child, EveryFatalSignalComesThrough) {
  Loop loop;
  for (int signal : {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV,
                     SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGXCPU, SIGXFSZ, SIGSYS, SIGRTMIN + 2}) {
    Subject subject(loop, naughty({"signal", std::to_string(signal)}));
    const ExitStatus& status = subject.until_end();
    EXPECT_EQ(status.how, ExitStatus::How::Killed) << signal;
    EXPECT_EQ(status.signal, signal);
    EXPECT_FALSE(status.succeeded());
    EXPECT_EQ(status.describe(), "was killed by " + signal_name(signal));
  }
}

void launch_many_at_once(int number) {
  Loop loop;
  std::list<Child> children;
  int ended = 0, wrong = 0;
  for (int i = 0; i < number; ++i) {
    LaunchResult result = launch(loop.executor(), naughty({"exit", std::to_string(i % 256)}));
    ASSERT_TRUE(std::holds_alternative<Child>(result)) << std::get<LaunchError>(result).text;
    Child& child = children.emplace_back(std::move(std::get<Child>(result)));
    child.async_wait([&, i](const ExitStatus& status) {
      ++ended;
      if (status.how != ExitStatus::How::Exited || status.code != i % 256) ++wrong;
      child.reap();
    });
  }
  loop.until([&] { return ended == number; });
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(has_no_children()) << "a zombie is left";
}

TEST(Child, FourHundredAtOnceAllComeThrough) { launch_many_at_once(400); }

TEST(Child, WithoutPidfdsTheyComeThroughToo) {
  for (int error : {ENOSYS, EPERM})
    in_subprocess([error] {
      refuse_system_calls({SYS_pidfd_open, SYS_pidfd_send_signal}, error);
      EXPECT_EQ(missing_mechanisms().size(), 1U);
      launch_many_at_once(40);
      Loop loop;
      Subject subject(loop, naughty({"ignore-term"}));
      subject.until_line("ready");
      EXPECT_TRUE(subject.child->signal(SIGTERM));
      EXPECT_TRUE(subject.child->signal(SIGKILL));
      EXPECT_EQ(subject.until_end().signal, SIGKILL);
      Subject running(loop, naughty({"wait"}));  // ended by its destructor, with the thread still waiting
    });
}

TEST(Child, StatusIsKeptWhereTheSupervisorWasStartedWithSigchldIgnored) {
  in_subprocess([] {
    std::signal(SIGCHLD, SIG_IGN);
    Loop loop;
    Subject subject(loop, naughty({"exit", "5"}));
    EXPECT_EQ(subject.until_end().code, 5);
  });
}

TEST(Child, SomebodyElsesWaitMakesItUnknownAndNeverASuccess) {
  Loop loop;
  Subject subject(loop, naughty({"exit", "0"}));
  int status = 0;
  ASSERT_EQ(::waitpid(subject.child->pid(), &status, 0), subject.child->pid());
  EXPECT_EQ(subject.until_end().how, ExitStatus::How::Unknown);
  EXPECT_FALSE(subject.status->succeeded());
  EXPECT_FALSE(subject.child->signal_group(SIGKILL)) << "the number may be a stranger's";
}

TEST(Child, StoppingIsNotEnding) {
  Loop loop;
  Subject subject(loop, naughty({"stop"}));
  subject.until_line("ready");
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(subject.child->pid()), &info, WSTOPPED | WNOWAIT), 0);
  loop.turn();
  EXPECT_FALSE(subject.child->poll());
  EXPECT_TRUE(subject.child->signal(SIGTERM)) << "which a stopped process does not see";
  loop.turn();
  EXPECT_FALSE(subject.child->poll());
  EXPECT_TRUE(subject.child->signal(SIGCONT));
  EXPECT_EQ(subject.until_end().signal, SIGTERM);
}

TEST(Child, AStoppedOneCanBeKilled) {
  Loop loop;
  Subject subject(loop, naughty({"stop"}));
  subject.until_line("ready");
  EXPECT_TRUE(subject.child->signal(SIGKILL));
  EXPECT_EQ(subject.until_end().signal, SIGKILL);
}

TEST(Child, OneWhoseMainThreadIsGoneHasNotEnded) {
  Loop loop;
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Descriptor read_end(ends[0]), write_end(ends[1]);
  SpawnPlan plan = naughty({"lose-leader"});
  plan.stdin_fd = read_end.get();
  Subject subject(loop, plan);
  subject.until_line("ready");
  std::string stat = "/proc/" + std::to_string(subject.child->pid()) + "/stat";
  loop.until([&] { return !is_running(subject.child->pid()); });  // so says /proc of the leader
  EXPECT_FALSE(subject.child->poll());
  ASSERT_EQ(::write(write_end.get(), "x", 1), 1);
  EXPECT_EQ(subject.until_end().code, 7);
}

TEST(Child, TheGroupIsSignalledTogether) {
  Loop loop;
  Subject subject(loop, naughty({"leave-in-group", "2"}));
  subject.until_end();
  auto strays = find_strays(*subject.child, "");
  ASSERT_EQ(strays.size(), 2U);
  EXPECT_TRUE(subject.child->signal_group(SIGKILL)) << "the zombie still holds the number";
  for (const Stray& stray : strays) loop.until([&] { return !is_running(stray.pid); });
}

TEST(Child, WhatHasEndedIsNotSignalled) {
  Loop loop;
  Subject subject(loop, naughty({"exit", "0"}));
  subject.until_end();
  EXPECT_FALSE(subject.child->signal(SIGKILL));
  EXPECT_TRUE(is_running(::getpid()));
  EXPECT_FALSE(subject.child->reaped());
  subject.child->reap();
  EXPECT_TRUE(subject.child->reaped());
  EXPECT_FALSE(subject.child->signal_group(SIGKILL));
  EXPECT_TRUE(subject.child->poll()->succeeded());
}

TEST(Child, ItsEndTakesTheProcessAndItsGroupAlong) {
  Loop loop;
  pid_t pid = 0;
  bool told = false;
  {
    LaunchResult result = launch(loop.executor(), naughty({"ignore-term"}));
    Child& child = std::get<Child>(result);
    pid = child.pid();
    child.async_wait([&](const ExitStatus&) { told = true; });
  }
  EXPECT_FALSE(is_running(pid));
  EXPECT_TRUE(has_no_children());
  loop.turn();
  EXPECT_FALSE(told) << "a handler outlived its child";
}

TEST(Child, MayMoveWhileItIsWaitedFor) {
  Loop loop;
  std::vector<Child> children;
  std::set<int> codes;
  for (int code = 0; code < 20; ++code) {
    children.push_back(std::get<Child>(launch(loop.executor(), naughty({"exit", std::to_string(code)}))));
    children.back().async_wait([&](const ExitStatus& status) { codes.insert(status.code); });
  }
  loop.until([&] { return codes.size() == 20; });
}

TEST(Child, PeakMemoryIsTheChildsOwn) {
  Loop loop;
  Subject large(loop, naughty({"take-memory", "100"}));
  EXPECT_GE(large.until_end().peak_rss_bytes, 100U << 20);
  EXPECT_FALSE(large.status->peak_rss_is_bound);
  EXPECT_GT((large.status->user_time + large.status->system_time).count(), 0);
  // One that took less than this program itself has is only known to have taken no more.
  std::vector<char> own(200U << 20, 1);
  Subject small(loop, naughty({"exit", "0"}));
  EXPECT_TRUE(small.until_end().peak_rss_is_bound);
  EXPECT_EQ(own[own.size() / 2], 1);
}

TEST(Child, TwoHundredLeaveNoDescriptorBehind) {
  Loop loop;
  { Subject first(loop, naughty({"exit", "0"})), second(loop, naughty({"exit", "0"})); }
  std::size_t before = open_descriptors();
  for (int i = 0; i < 200; ++i) {
    Subject subject(loop, naughty({i % 2 == 0 ? "to-both" : "exit", "3"}));
    subject.until_end();
    subject.child->reap();
  }
  loop.turn();
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_TRUE(has_no_children());
}

}  // namespace
}  // namespace bulkhead::process::testing
