// What starting, watching and ending a child costs, each beside the bare system calls for the same:
//
//   launch    until the command is executed, from a small and from a large supervisor, beside fork+exec
//   verdict   from SIGKILL to the exit handler, beside kill+waitid
//   strays    a search that finds nothing with 500 unrelated processes about, and the end of one daemon

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/process/launch.hpp"
#include "supervisor/process/strays.hpp"

namespace {

using namespace bulkhead::process;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 200;

struct Figures {
  double median, high;
};

Figures measure(const std::function<Clock::duration()>& once) {
  std::vector<double> times;
  for (int i = 0; i < kRounds; ++i) times.push_back(std::chrono::duration<double, std::micro>(once()).count());
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

void print(const char* name, Figures ours, std::optional<Figures> bare = std::nullopt) {
  std::printf("%-52s p50 %7.0f us  p99 %7.0f us", name, ours.median, ours.high);
  if (bare) std::printf("   bare p50 %7.0f us   ratio %.2f", bare->median, ours.median / bare->median);
  std::printf("\n");
  std::fflush(stdout);
}

SpawnPlan plan_of(std::vector<std::string> argv) {
  SpawnPlan plan;
  plan.argv = std::move(argv);
  plan.cookie = "bench.0123456789abcdef";
  return plan;
}

Child start(boost::asio::io_context& io, const SpawnPlan& plan) {
  LaunchResult result = launch(io.get_executor(), plan);
  if (auto* error = std::get_if<LaunchError>(&result)) {
    std::fprintf(stderr, "%s\n", error->text.c_str());
    std::exit(1);
  }
  return std::move(std::get<Child>(result));
}

void finish(boost::asio::io_context& io, Child& child) {
  bool ended = false;
  child.async_wait([&](const ExitStatus&) { ended = true; });
  while (!ended) {
    io.restart();
    io.run_one();
  }
  child.reap();
}

Clock::duration launch_once(boost::asio::io_context& io) {
  SpawnPlan plan = plan_of({"/bin/true"});
  auto before = Clock::now();
  Child child = start(io, plan);
  auto took = Clock::now() - before;
  finish(io, child);
  return took;
}

Clock::duration fork_once() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) std::exit(1);
  auto before = Clock::now();
  pid_t pid = ::fork();
  if (pid == 0) {
    ::execl("/bin/true", "true", nullptr);
    ::_exit(1);
  }
  ::close(ends[1]);
  char byte;
  if (::read(ends[0], &byte, 1) != 0) std::exit(1);
  auto took = Clock::now() - before;
  ::close(ends[0]);
  ::waitpid(pid, nullptr, 0);
  return took;
}

Clock::duration verdict_once(boost::asio::io_context& io) {
  Child child = start(io, plan_of({"/bin/sleep", "1000"}));
  std::optional<Clock::time_point> told;
  child.async_wait([&](const ExitStatus&) { told = Clock::now(); });
  io.restart();
  io.poll();
  auto before = Clock::now();
  child.signal(SIGKILL);
  while (!told) io.run_one();
  child.reap();
  return *told - before;
}

Clock::duration bare_verdict_once() {
  pid_t pid = ::vfork();
  if (pid == 0) {
    ::execl("/bin/sleep", "sleep", "1000", nullptr);
    ::_exit(1);
  }
  auto before = Clock::now();
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  return Clock::now() - before;
}

Clock::duration no_strays_once(boost::asio::io_context& io) {
  Child child = start(io, plan_of({"/bin/true"}));
  while (!child.poll()) ::usleep(100);
  auto before = Clock::now();
  std::optional<Clock::time_point> done;
  end_strays(io.get_executor(), child, "bench.0123456789abcdef", std::chrono::seconds(5),
             [&](StrayReport) { done = Clock::now(); });
  io.restart();
  while (!done) io.run_one();
  child.reap();
  return *done - before;
}

Clock::duration search_everywhere_once(boost::asio::io_context& io) {
  Child child = start(io, plan_of({"/bin/true"}));
  while (!child.poll()) ::usleep(100);
  auto before = Clock::now();
  find_strays(child, "bench.0123456789abcdef", Search::Everywhere);
  auto took = Clock::now() - before;
  child.reap();
  return took;
}

Clock::duration one_stray_once(boost::asio::io_context& io) {
  Child child = start(io, plan_of({"/bin/sh", "-c", "setsid sleep 1000 & exit 0"}));
  while (!child.poll()) ::usleep(100);
  auto before = Clock::now();
  std::optional<Clock::time_point> done;
  end_strays(io.get_executor(), child, "bench.0123456789abcdef", std::chrono::seconds(5),
             [&](StrayReport) { done = Clock::now(); });
  io.restart();
  while (!done) io.run_one();
  child.reap();
  return *done - before;
}

/// Processes that have nothing to do with us; `orphans` hang under whoever takes in orphans, as strays would.
class Bystanders {
 public:
  Bystanders(int number, bool orphans) {
    int ends[2];
    if (::pipe(ends) < 0) std::exit(1);
    for (int i = 0; i < number; ++i) {
      pid_t pid = ::fork();
      if (pid == 0) {
        ::setsid();
        if (orphans && ::fork() != 0) ::_exit(0);
        ::close(ends[1]);
        char byte;
        ::_exit(::read(ends[0], &byte, 1) == 0 ? 0 : 1);  // until this program lets go of its end
      }
      if (orphans)
        ::waitpid(pid, nullptr, 0);
      else
        children_.push_back(pid);
    }
    ::close(ends[0]);
    hold_ = ends[1];
  }
  ~Bystanders() {
    ::close(hold_);
    for (pid_t pid : children_) ::waitpid(pid, nullptr, 0);
  }

 private:
  int hold_;
  std::vector<pid_t> children_;
};

}  // namespace

int main() {
  boost::asio::io_context io;
  print("launch", measure([&] { return launch_once(io); }), measure(fork_once));
  {
    constexpr std::size_t kSize = 200U << 20;
    void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    print("launch from a supervisor of 200 MB", measure([&] { return launch_once(io); }), measure(fork_once));
    ::munmap(memory, kSize);
  }
  print("SIGKILL to exit handler", measure([&] { return verdict_once(io); }), measure(bare_verdict_once));
  print("no strays", measure([&] { return no_strays_once(io); }));
  print("one daemon, until it is gone", measure([&] { return one_stray_once(io); }));
  {
    Bystanders processes(500, false);
    print("no strays, 500 processes about", measure([&] { return no_strays_once(io); }));
    print("  the same by reading all of /proc", measure([&] { return search_everywhere_once(io); }));
  }
  {
    Bystanders processes(500, true);
    print("no strays, 500 orphans of others about", measure([&] { return no_strays_once(io); }));
  }
}
