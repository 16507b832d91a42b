// What Bulkhead adds to its transport: the round trip of a job through core, pool and a real child, beside a bare
// ROUTER–DEALER ping-pong of frames of the same size; and how long a crash takes to become a FAILED job and a clean child,
// beside bare process starts and deaths.
//
//     dispatch_bench BUILD_DIR [CRASHES [CASE]]            (prints a table; judges nothing)

#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <string>

#include "bench/dispatch/yardstick.hpp"
#include "supervisor/job/dispatcher.hpp"
#include "supervisor/journal/store.hpp"
#include "supervisor/pool/pool.hpp"
#include "supervisor/process/strays.hpp"

namespace bulkhead::bench {
namespace {

class SystemClock final : public bulkhead::Clock {
 public:
  Instant now() const override {
    return {Clock::now(),
            std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
  }
  using Clock = std::chrono::steady_clock;
};

/// Core, pool and children, fed from this program.
class House final : private Source {
 public:
  House(std::vector<std::string> command, int spares, const std::string& directory)
      : journal_(journal::open({.durability = journal::Durability::Memory}, [] {})),
        dispatcher_({}, clock_, *journal_, 1, [] { return 0.5; }) {
    pool::Options options;
    options.command = std::move(command);
    options.spares = spares;
    options.runtime_dir = directory;
    options.cookie_prefix = "bench-" + std::to_string(getpid()) + "-";
    options.hostname = "bench";
    options.limits.max_body = 64 << 20;
    pool_ = std::make_unique<pool::Pool>(io_.get_executor(), options);
    dispatcher_.set_workers(*pool_);
    dispatcher_.set_source(*this);
    pool_->start(dispatcher_);
    run_until([&] { return ready() == 1 + spares; });
  }
  ~House() {
    bool stopped = false;
    pool_->stop(milliseconds(1000), [&] { stopped = true; });
    run_until([&] { return stopped; });
  }

  using Ended = std::function<void(const Outcome&)>;
  void submit(const Payload& input, Ended ended) {
    Job job;
    job.id = std::to_string(++last_id_);
    job.input = input;
    waiting_.emplace(job.id, std::move(ended));
    dispatcher_.submit(std::move(job), [](Accepted) {});
  }
  void run_until(const std::function<bool()>& done) {
    while (!done()) io_.run_one();
  }
  int ready() {
    int count = 0;
    for (const auto& worker : pool_->snapshot())
      count += worker.state == pool::WorkerState::Ready || worker.state == pool::WorkerState::Spare;
    if (count == 0) io_.run_one_for(milliseconds(5));
    return count;
  }

  Figures round_trips(int count, int in_flight, std::size_t body) {
    Payload input = Payload::of(body < 8 ? "1" : '"' + std::string(body - 2, 'b') + '"');
    std::vector<double> latencies;
    latencies.reserve(static_cast<std::size_t>(count));
    int sent = 0, back = 0;
    std::function<void()> send = [&] {
      auto began = Clock::now();
      ++sent;
      submit(input, [&, began](const Outcome& outcome) {
        if (outcome.status != Status::Completed) std::abort();
        latencies.push_back(micros(Clock::now() - began));
        ++back;
        if (sent < count) send();
      });
    };
    auto began = Clock::now();
    while (sent < count && sent < in_flight) send();
    run_until([&] { return back == count; });
    return Figures::of(std::move(latencies), Clock::now() - began);
  }

  struct Crash {
    double failed_us = 0, next_done_us = 0;
  };
  /// Kills the child in the middle of a job, with another waiting.
  Crash crash() {
    pid_t pid = pool_->snapshot().front().pid;
    for (const auto& worker : pool_->snapshot())
      if (worker.state == pool::WorkerState::Ready) pid = worker.pid;
    Crash crash;
    bool failed = false, done = false;
    Clock::time_point killed;
    submit(Payload::of(R"({"do":"hang"})"), [&](const Outcome&) {
      crash.failed_us = micros(Clock::now() - killed);
      failed = true;
    });
    submit(Payload::of(R"({"do":"ok"})"), [&](const Outcome&) {
      crash.next_done_us = micros(Clock::now() - killed);
      done = true;
    });
    auto settled = Clock::now() + milliseconds(5);
    while (Clock::now() < settled) io_.run_one_for(milliseconds(1));
    killed = Clock::now();
    kill(pid, SIGKILL);  // a child of ours that the pool has not reaped
    run_until([&] { return failed && done; });
    return crash;
  }
  /// From one job's result, which asks for a refresh, to the next one's start on another child.
  double refresh_us() {
    double gap = 0;
    bool done = false;
    Clock::time_point first;
    submit(Payload::of(R"({"do":"refresh"})"), [&](const Outcome&) { first = Clock::now(); });
    submit(Payload::of(R"({"do":"ok"})"), [&](const Outcome&) {
      gap = micros(Clock::now() - first);
      done = true;
    });
    run_until([&] { return done; });
    return gap;
  }

 private:
  void room(int) override {}
  void started(const Job&, std::string_view, std::int64_t, int) override {}
  void requeued(const Job&, const Payload&) override {}
  void progress(const Job&, Payload) override {}
  void chunk(const Job&, std::uint32_t, Payload, std::function<void()> taken) override { taken(); }
  void log(const Job&, const LogLine&) override {}
  void report(const Job& job, const Outcome& outcome, std::function<void()> settled) override {
    auto found = waiting_.find(job.id);
    auto ended = std::move(found->second);
    waiting_.erase(found);
    ended(outcome);
    settled();
  }

  using Clock = std::chrono::steady_clock;
  SystemClock clock_;
  boost::asio::io_context io_{1};
  std::unique_ptr<journal::Store> journal_;
  Dispatcher dispatcher_;
  std::unique_ptr<pool::Pool> pool_;
  std::unordered_map<std::string, Ended> waiting_;
  std::uint64_t last_id_ = 0;
};

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

void show(const char* what, const std::vector<double>& values) {
  std::printf("  %-44s p50 %8.0f us   p99 %8.0f us\n", what, quantile(values, 0.5), quantile(values, 0.99));
}

void round_trips(const std::string& build, const std::string& directory, const std::string& only) {
  std::printf("round trip of a no-op job, beside the same frames through a bare ROUTER and DEALER\n");
  std::printf("  %-10s %-9s %26s %26s %14s\n", "payload", "in flight", "bare p50/p99 us, per s",
              "bulkhead p50/p99 us, per s", "p50, rate");
  // An envelope of a job is about 60 bytes.
  struct Case {
    const char* name;
    std::size_t body;
    int in_flight, count;
  };
  for (const Case& c : {Case{"16 B", 16, 1, 20000}, Case{"16 B", 16, 8, 60000}, Case{"16 B", 16, 64, 100000},
                        Case{"1 MB", 1 << 20, 1, 1000}, Case{"20 MB", 20'000'000, 1, 40}}) {
    if (!only.empty() && only != std::string(c.name) + " x " + std::to_string(c.in_flight)) continue;
    Yardstick yardstick(build + "/bench/dispatch/raw_echo", directory);
    yardstick.ping_pong(c.count / 10 + 1, c.in_flight, 60, c.body);
    Figures bare = yardstick.ping_pong(c.count, c.in_flight, 60, c.body);
    House house({build + "/examples/echo/echo"}, 0, directory + "/house");
    house.round_trips(c.count / 10 + 1, c.in_flight, c.body);
    Figures ours = house.round_trips(c.count, c.in_flight, c.body);
    std::printf("  %-10s %-9d %9.0f %7.0f %8.0f %9.0f %7.0f %8.0f %6.2fx %5.2fx\n", c.name, c.in_flight, bare.p50_us,
                bare.p99_us, bare.per_second, ours.p50_us, ours.p99_us, ours.per_second, ours.p50_us / bare.p50_us,
                bare.per_second / ours.per_second);
  }
}

void crashes(const std::string& build, const std::string& directory, int count) {
  std::printf("a crash in the middle of a job\n");
  Yardstick yardstick(build + "/bench/dispatch/raw_echo", directory);
  show("bare: SIGKILL to readable pidfd", yardstick.deaths(count));
  show("bare: fork, exec, connect, first message", yardstick.starts(count));
  for (int spares : {0, 1}) {
    House house({build + "/examples/crash_zoo/crash_zoo"}, spares, directory + "/house");
    std::vector<double> failed, next, refreshed;
    for (int i = 0; i < count; ++i) {
      auto crash = house.crash();
      failed.push_back(crash.failed_us);
      next.push_back(crash.next_done_us);
      house.run_until([&] { return house.ready() == 1 + spares; });
      refreshed.push_back(house.refresh_us());
      house.run_until([&] { return house.ready() == 1 + spares; });
    }
    std::printf("  with %d spare(s)\n", spares);
    show("  SIGKILL to FAILED", failed);
    show("  SIGKILL to the next job's result", next);
    show("  refresh: one result to the next job's", refreshed);
  }
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s BUILD_DIR [CRASHES] [CASE, as in '20 MB x 1']\n", argv[0]);
    return 2;
  }
  std::string directory = (std::filesystem::temp_directory_path() / "bulkhead-bench-XXXXXX").string();
  if (!mkdtemp(directory.data())) return 1;
  std::string build = std::filesystem::absolute(argv[1]);
  round_trips(build, directory, argc > 3 ? argv[3] : "");
  if (const int count = argc > 2 ? std::atoi(argv[2]) : 100; count > 0) crashes(build, directory, count);
  std::filesystem::remove_all(directory);
  return 0;
}

}  // namespace
}  // namespace bulkhead::bench

int main(int argc, char** argv) { return bulkhead::bench::main(argc, argv); }
