// What the tests of process/ share: the naughty child, a loop to run until something has happened, and a process of the
// test's own to change what a test program must keep.

#pragma once

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/process/launch.hpp"
#include "supervisor/process/output.hpp"
#include "supervisor/process/strays.hpp"

namespace bulkhead::process::testing {

/// Long enough for anything on a machine with too much to do; nothing is expected to take it.
inline constexpr std::chrono::seconds kLimit{30};

inline std::string naughty_child() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "naughty_child";
}

inline SpawnPlan naughty(std::vector<std::string> arguments) {
  SpawnPlan plan;
  plan.argv = std::move(arguments);
  plan.argv.insert(plan.argv.begin(), naughty_child());
  plan.environment_removed = {"LD_PRELOAD"};
  return plan;
}

class Loop {
 public:
  asio::any_io_executor executor() { return io_.get_executor(); }

  /// Runs handlers until `done`, which is asked after each of them and every few milliseconds. Fails the test if that
  /// takes more than kLimit.
  void until(const std::function<bool()>& done, const char* what = "what was waited for") {
    auto limit = std::chrono::steady_clock::now() + kLimit;
    while (!done()) {
      io_.restart();
      // Without work run_one would return at once.
      auto work = asio::make_work_guard(io_);
      io_.run_one_for(std::chrono::milliseconds(5));
      if (std::chrono::steady_clock::now() >= limit) {
        FAIL() << what << " did not happen";
        return;
      }
    }
  }
  /// Runs what is ready to run, without waiting.
  void turn() {
    io_.restart();
    io_.poll();
  }

 private:
  asio::io_context io_;
};

/// A running child with its output, for tests that look at both.
struct Subject {
  Subject(Loop& on, SpawnPlan plan, Output::Limits limits = {})
      : loop(on),
        output(
            loop.executor(),
            [this](Stream stream, std::string_view line) {
              lines.emplace_back(line);
              streams.push_back(stream);
            },
            limits) {
    plan.stdout_fd = output.stdout_fd();
    plan.stderr_fd = output.stderr_fd();
    LaunchResult result = launch(loop.executor(), plan);
    output.start();
    if (auto* error = std::get_if<LaunchError>(&result)) throw std::runtime_error(error->text);
    child.emplace(std::move(std::get<Child>(result)));
    child->async_wait([this](const ExitStatus& how) { status = how; });
  }

  void until_line(const std::string& wanted) {
    loop.until([&] { return !lines.empty() && lines.back() == wanted; }, wanted.c_str());
  }
  const ExitStatus& until_end() {
    loop.until([&] { return status.has_value(); }, "the child's end");
    return *status;
  }
  StrayReport end_strays(const std::string& cookie, std::chrono::milliseconds limit = kLimit) {
    std::optional<StrayReport> report;
    process::end_strays(loop.executor(), *child, cookie, limit, [&](StrayReport r) { report = std::move(r); });
    loop.until([&] { return report.has_value(); }, "the end of the strays");
    return *report;
  }

  Loop& loop;
  std::vector<std::string> lines;
  std::vector<Stream> streams;
  Output output;
  std::optional<Child> child;
  std::optional<ExitStatus> status;
};

/// Runs `work` in a fork of the test, and fails the test where that fails or does not come back. For what a test must
/// not do to itself: change user, limits, filters, or lose its stdio.
inline void in_subprocess(const std::function<void()>& work) {
  pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    bool failed = true;
    try {
      work();
      failed = ::testing::Test::HasFailure();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the subprocess: %s\n", error.what());
    }
    std::fflush(nullptr);
    ::_exit(failed ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
}

/// From here on these system calls do not exist for this process and its children.
inline void refuse_system_calls(const std::vector<long>& numbers, int error = ENOSYS) {
  std::vector<sock_filter> filter{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (long number : numbers) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

/// True if this process has no child left, dead or alive.
inline bool has_no_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

inline bool is_running(pid_t pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/stat";
  FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return false;
  char state = '?';
  int got = std::fscanf(file, "%*d (%*[^)]) %c", &state);
  std::fclose(file);
  return got == 1 && state != 'Z' && state != 'X';
}

/// A directory of the test's own, gone with it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "bulkhead-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), "mkdtemp");
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace bulkhead::process::testing
