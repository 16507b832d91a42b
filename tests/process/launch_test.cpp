// What a launch promises the child, and what it says when there is none.

#include "supervisor/process/launch.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <map>

#include "supervisor/process/descriptor.hpp"
#include "tests/process/harness.hpp"

namespace bulkhead::process::testing {
namespace {

/// What the child reports of itself.
std::vector<std::string> report_of(SpawnPlan plan) {
  Loop loop;
  Subject subject(loop, std::move(plan));
  EXPECT_TRUE(subject.until_end().succeeded()) << subject.status->describe();
  subject.output.drain();
  return subject.lines;
}

std::string value_of(const std::vector<std::string>& report, const std::string& name) {
  for (const std::string& line : report)
    if (line.starts_with(name + " ") || line.starts_with(name + ":") || line.starts_with(name + "=")) {
      std::string value = line.substr(name.size() + 1);
      return value.substr(std::min(value.find_first_not_of(" \t"), value.size()));
    }
  return "(none)";
}

LaunchError error_of(const SpawnPlan& plan) {
  Loop loop;
  LaunchResult result = launch(loop.executor(), plan);
  auto* error = std::get_if<LaunchError>(&result);
  EXPECT_NE(error, nullptr) << "it was launched";
  return error != nullptr ? *error : LaunchError{};
}

SpawnPlan command(std::vector<std::string> argv) {
  SpawnPlan plan;
  plan.argv = std::move(argv);
  return plan;
}

std::string write_file(const std::filesystem::path& path, const std::string& text, unsigned mode) {
  std::ofstream(path) << text;
  EXPECT_EQ(::chmod(path.c_str(), mode), 0);
  return path;
}

TEST(Launch, ASessionAndAProcessGroupOfItsOwn) {
  auto report = report_of(naughty({"report"}));
  EXPECT_EQ(value_of(report, "session"), "own");
  EXPECT_EQ(value_of(report, "group"), "own");
}

TEST(Launch, SignalsAreResetWhateverTheSupervisorDoesWithThem) {
  in_subprocess([] {
    for (int signal : {SIGPIPE, SIGINT, SIGQUIT, SIGHUP, SIGTTOU, SIGRTMIN + 3}) std::signal(signal, SIG_IGN);
    sigset_t some;
    ::sigemptyset(&some);
    for (int signal : {SIGTERM, SIGILL, SIGUSR1, SIGCHLD}) ::sigaddset(&some, signal);
    ::sigprocmask(SIG_BLOCK, &some, nullptr);
    auto report = report_of(naughty({"report"}));
    EXPECT_EQ(value_of(report, "SigBlk"), "0000000000000000");
    EXPECT_EQ(value_of(report, "SigIgn"), "0000000000000000");
    sigset_t after;
    ::sigprocmask(SIG_BLOCK, nullptr, &after);
    EXPECT_TRUE(::sigismember(&after, SIGTERM)) << "the supervisor's own mask is as before";
    EXPECT_FALSE(::sigismember(&after, SIGUSR2));
  });
}

TEST(Launch, DiesOfABrokenPipe) {
  Loop loop;
  std::signal(SIGPIPE, SIG_IGN);
  Subject subject(loop, naughty({"flood", "100000000"}));
  subject.loop.until([&] { return !subject.lines.empty(); });
  subject.output.close();
  EXPECT_EQ(subject.until_end().describe(), "was killed by SIGPIPE");
  std::signal(SIGPIPE, SIG_DFL);
}

TEST(Launch, OnlyItsOwnDescriptors) {
  std::vector<Descriptor> extra;
  for (int i = 0; i < 20; ++i) extra.emplace_back(::open("/dev/null", O_RDONLY));  // without close-on-exec
  Descriptor high(::fcntl(extra.front().get(), F_DUPFD, 900));
  EXPECT_EQ(value_of(report_of(naughty({"report"})), "descriptors"), "0 1 2");
}

TEST(Launch, OnlyItsOwnDescriptorsWithoutCloseRange) {
  in_subprocess([] {
    refuse_system_calls({SYS_close_range});
    std::vector<Descriptor> extra;
    for (int i = 0; i < 300; ++i) extra.emplace_back(::open("/dev/null", O_RDONLY));
    EXPECT_EQ(value_of(report_of(naughty({"report"})), "descriptors"), "0 1 2");
    EXPECT_EQ(missing_mechanisms().size(), 1U);
  });
}

TEST(Launch, FromASupervisorWithoutStdio) {
  in_subprocess([] {
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    auto report = report_of(naughty({"report"}));
    bool good = value_of(report, "descriptors") == "0 1 2" && value_of(report, "stdin") == "empty";
    if (!good) throw std::runtime_error("descriptors " + value_of(report, "descriptors"));
  });
}

TEST(Launch, LendsTheSupervisorsOwnStdio) {
  in_subprocess([] {
    TemporaryDirectory directory;
    Descriptor file(::open((directory.path() / "out").c_str(), O_RDWR | O_CREAT, 0600));
    ::dup2(file.get(), STDOUT_FILENO);
    SpawnPlan plan = naughty({"to-both"});
    plan.stdout_fd = STDOUT_FILENO;
    plan.stderr_fd = STDOUT_FILENO;
    Loop loop;
    Child child = std::get<Child>(launch(loop.executor(), plan));
    loop.until([&] { return child.poll().has_value(); });
    child.reap();
    std::ifstream lines(directory.path() / "out");
    std::string first, second;
    std::getline(lines, first);
    std::getline(lines, second);
    EXPECT_EQ(first + "," + second, "to stdout,to stderr");
  });
}

TEST(Launch, TheEnvironmentIsWhatThePlanMakesOfTheSupervisors) {
  ::setenv("BULKHEAD_TEST_KEPT", "kept", 1);
  ::setenv("BULKHEAD_TEST_REMOVED", "there", 1);
  ::setenv("BULKHEAD_TEST_CHANGED", "old", 1);
  SpawnPlan plan = naughty({"report"});
  plan.cookie = "prefix.word";
  plan.scratch = "/tmp";
  plan.environment = {{"BULKHEAD_TEST_CHANGED", "new"}, {"BULKHEAD_TEST_EMPTY", ""}};
  plan.environment_removed.push_back("BULKHEAD_TEST_REMOVED");
  auto report = report_of(plan);
  EXPECT_EQ(value_of(report, "env BULKHEAD_TEST_KEPT"), "kept");
  EXPECT_EQ(value_of(report, "env BULKHEAD_TEST_REMOVED"), "(none)");
  EXPECT_EQ(value_of(report, "env BULKHEAD_TEST_CHANGED"), "new");
  EXPECT_EQ(value_of(report, "env BULKHEAD_TEST_EMPTY"), "");
  EXPECT_EQ(value_of(report, "env BULKHEAD_COOKIE"), "prefix.word");
  EXPECT_EQ(value_of(report, "env TMPDIR"), "/tmp");
  EXPECT_EQ(value_of(report, "env BULKHEAD_SCRATCH"), "/tmp");
  auto first =
      std::find_if(report.begin(), report.end(), [](const std::string& line) { return line.starts_with("env "); });
  EXPECT_EQ(*first, "env BULKHEAD_COOKIE=prefix.word") << "a search should find it soonest";
}

TEST(Launch, DirectoryLimitsNicenessAndOomScore) {
  TemporaryDirectory directory;
  SpawnPlan plan = naughty({"report"});
  plan.cwd = directory.path();
  plan.limits = {{RLIMIT_NOFILE, {123, 123}}};
  plan.nice = 3;
  plan.oom_score_adj = 777;
  auto report = report_of(plan);
  EXPECT_EQ(value_of(report, "cwd"), directory.path());
  EXPECT_EQ(value_of(report, "files"), "123");
  EXPECT_EQ(value_of(report, "nice"), std::to_string(std::min(19, ::getpriority(PRIO_PROCESS, 0) + 3)));
  EXPECT_EQ(value_of(report, "oom"), "777");
  EXPECT_EQ(value_of(report, "stdin"), "empty");
  EXPECT_EQ(value_of(report, "death signal"), "0") << "off unless asked for";
}

TEST(Launch, ACommandInPathAndARelativeOne) {
  TemporaryDirectory directory;
  write_file(directory.path() / "hello", "#!/bin/sh\nexit 5\n", 0755);
  Loop loop;
  SpawnPlan by_name = command({"hello"});
  by_name.environment = {{"PATH", "/nowhere:" + directory.path().string()}};
  SpawnPlan relative = command({"./hello"});
  relative.cwd = directory.path();
  for (const SpawnPlan& plan : {by_name, relative}) {
    Subject subject(loop, plan);
    EXPECT_EQ(subject.until_end().code, 5);
  }
}

TEST(Launch, TheDeathSignalFiresWhenTheSupervisorIsGone) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  in_subprocess([&] {
    SpawnPlan plan = naughty({"wait"});
    plan.death_signal = SIGKILL;
    plan.stdout_fd = ends[1];
    Loop loop;
    LaunchResult result = launch(loop.executor(), plan);
    char line[6];
    ASSERT_EQ(::read(ends[0], line, 6), 6);
    std::fflush(nullptr);
    ::_exit(0);  // without the end of `result`
  });
  ::close(ends[1]);
  char byte;
  EXPECT_EQ(::read(ends[0], &byte, 1), 0) << "the child still holds the pipe";
  ::close(ends[0]);
}

struct Failure {
  const char* name;
  Step step;
  int error;
  const char* text;
  std::function<SpawnPlan(const std::filesystem::path&)> plan;
};

const Failure kFailures[] = {
    {"Missing", Step::Exec, ENOENT, "'./handler' does not exist",
     [](const auto& dir) {
       SpawnPlan plan = command({"./handler"});
       plan.cwd = dir;
       return plan;
     }},
    {"NotInPath", Step::Exec, ENOENT, "'no-such-handler' was not found in PATH",
     [](const auto&) { return command({"no-such-handler"}); }},
    {"NotExecutable", Step::Exec, EACCES, "is not executable (chmod +x ",
     [](const auto& dir) { return command({write_file(dir / "handler", "#!/bin/sh\n", 0644)}); }},
    {"Directory", Step::Exec, EACCES, "is a directory, not a program", [](const auto& dir) { return command({dir}); }},
    {"BelowAFile", Step::Exec, ENOTDIR, "a part of its path is not a directory",
     [](const auto& dir) { return command({write_file(dir / "file", "", 0644) + "/handler"}); }},
    {"NoInterpreter", Step::Exec, ENOENT, "the interpreter named in its first line",
     [](const auto& dir) { return command({write_file(dir / "handler", "#!/no/such/shell\n", 0755)}); }},
    {"NoFormat", Step::Exec, ENOEXEC, "a first line like #!/bin/sh",
     [](const auto& dir) { return command({write_file(dir / "handler", "echo hello\n", 0755)}); }},
    {"NoCommand", Step::Exec, ENOENT, "there is no command", [](const auto&) { return SpawnPlan{}; }},
    {"TooLong", Step::Exec, E2BIG, "too large",
     [](const auto&) {
       return command({"/bin/true", std::string(1 << 20, 'x')});
     }},
    {"NoDirectory", Step::Chdir, ENOENT, "cannot enter the working directory '/no/such/place'",
     [](const auto&) {
       SpawnPlan plan = command({"/bin/true"});
       plan.cwd = "/no/such/place";
       return plan;
     }},
    {"BadLimit", Step::Limits, EINVAL, "(rlimit)",
     [](const auto&) {
       SpawnPlan plan = command({"/bin/true"});
       plan.limits = {{9999, {1, 1}}};
       return plan;
     }},
    {"BadOomScore", Step::OomScore, EINVAL, "(oom score)",
     [](const auto&) {
       SpawnPlan plan = command({"/bin/true"});
       plan.oom_score_adj = 5000;
       return plan;
     }},
    {"NoCgroup", Step::Cgroup, ENOENT, "(cgroup)",
     [](const auto& dir) {
       SpawnPlan plan = command({"/bin/true"});
       plan.cgroups.push_back(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
       return plan;
     }},
    {"BadDescriptor", Step::Stdio, EBADF, "(stdio)",
     [](const auto&) {
       SpawnPlan plan = command({"/bin/true"});
       plan.stdout_fd = 9999;
       return plan;
     }},
};

class LaunchFailure : public ::testing::TestWithParam<Failure> {};

TEST_P(LaunchFailure, NamesItsStepAndLeavesNothing) {
  TemporaryDirectory directory;
  SpawnPlan plan = GetParam().plan(directory.path());
  std::size_t before = open_descriptors();
  LaunchError error = error_of(plan);
  EXPECT_EQ(to_string(error.step), to_string(GetParam().step));
  EXPECT_EQ(error.error, GetParam().error) << std::strerror(error.error);
  EXPECT_NE(error.text.find(GetParam().text), std::string::npos) << error.text;
  EXPECT_FALSE(error.is_transient());
  EXPECT_TRUE(has_no_children());
  EXPECT_EQ(open_descriptors(), before);
  for (int fd : plan.cgroups) ::close(fd);
}

INSTANTIATE_TEST_SUITE_P(Each, LaunchFailure, ::testing::ValuesIn(kFailures),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Launch, TooManyProcessesIsSaidAndMayPass) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root, to become a user who has no other processes";
  in_subprocess([] {
    rlimit one{1, 1};
    ASSERT_EQ(::setrlimit(RLIMIT_NPROC, &one), 0);
    ASSERT_EQ(::setresuid(54321, 54321, 54321), 0);
    LaunchError error = error_of(command({"/bin/true"}));
    EXPECT_EQ(error.step, Step::Fork);
    EXPECT_EQ(error.error, EAGAIN);
    EXPECT_TRUE(error.is_transient());
    EXPECT_NE(error.text.find("limit of processes"), std::string::npos) << error.text;
  });
}

TEST(Launch, OutOfDescriptorsIsSaidAndMayPass) {
  in_subprocess([] {
    Loop loop;
    rlimit few{};
    ::getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = open_descriptors() - 1;  // what looking at them took is free again
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    LaunchResult result = launch(loop.executor(), command({"/bin/true"}));
    ASSERT_TRUE(std::holds_alternative<LaunchError>(result));
    auto& error = std::get<LaunchError>(result);
    EXPECT_EQ(error.step, Step::Prepare);
    EXPECT_TRUE(error.is_transient());
    EXPECT_NE(error.text.find("out of file descriptors"), std::string::npos) << error.text;
  });
}

TEST(Launch, NothingIsMissingHere) { EXPECT_TRUE(missing_mechanisms().empty()); }

}  // namespace
}  // namespace bulkhead::process::testing
