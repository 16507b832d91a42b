// What the journal costs: acceptances and whole lives of jobs per second, by durability and jobs in flight, beside the
// sync time of the disk under it and bare SQLite with a commit for each write.
//
//   journal_bench [DIRECTORY]     a scratch directory is made in it (default: the working directory)

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "supervisor/journal/sqlite_journal.hpp"
#include "supervisor/journal/store.hpp"

namespace {

using namespace bulkhead;
using Seconds = std::chrono::duration<double>;

double since(std::chrono::steady_clock::time_point begin) {
  return Seconds(std::chrono::steady_clock::now() - begin).count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](timeval time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// A loop that sleeps until the journal has something, as the supervisor's does.
class Loop {
 public:
  Loop() : fd_(eventfd(0, EFD_CLOEXEC)) {}
  ~Loop() { close(fd_); }
  void wake() {
    std::uint64_t one = 1;
    if (write(fd_, &one, sizeof one) < 0) std::abort();
  }
  void wait() {
    std::uint64_t count = 0;
    if (read(fd_, &count, sizeof count) < 0) std::abort();
  }

 private:
  int fd_;
};

struct Percentiles {
  double p50, p99, max;
};

Percentiles percentiles(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  auto at = [&](double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  return {at(0.5), at(0.99), values.back()};
}

void measure_sync(const std::filesystem::path& directory) {
  int fd = open((directory / "sync").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  std::string page(16384, 'x');
  std::vector<double> times;
  for (int pass = 0; pass < 2; ++pass) {
    times.clear();
    for (int i = 0; i < 500; ++i) {
      auto begin = std::chrono::steady_clock::now();
      if (pwrite(fd, page.data(), page.size(), i * 16384L) < 0 || fdatasync(fd) != 0) std::abort();
      times.push_back(since(begin) * 1e6);
    }
    auto [p50, p99, max] = percentiles(times);
    std::printf("disk: write 16 KiB and sync, %-9s p50 %6.0f us  p99 %6.0f us  max %6.0f us\n",
                pass == 0 ? "appending" : "in place", p50, p99, max);
  }
  close(fd);
}

void measure_bare_sqlite(const std::filesystem::path& directory) {
  sqlite3* db = nullptr;
  sqlite3_open((directory / "bare.db").c_str(), &db);
  sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)",
               nullptr, nullptr, nullptr);
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v2(db, "INSERT INTO t (v) VALUES (zeroblob(100))", -1, &insert, nullptr);
  auto begin = std::chrono::steady_clock::now();
  constexpr int kCount = 2000;
  for (int i = 0; i < kCount; ++i) {
    sqlite3_step(insert);
    sqlite3_reset(insert);
  }
  std::printf("bare SQLite, one insert a commit: %.0f/s\n", kCount / since(begin));
  sqlite3_finalize(insert);
  sqlite3_close(db);
}

/// Ids as the endpoint makes them: `random` has no order at all, else they begin with the time.
std::string make_id(bool random, std::uint64_t n) {
  static std::mt19937_64 engine(42);
  char text[48];
  std::uint64_t high = random ? engine() : 0x0190'0000'0000'0000u + n;
  std::snprintf(text, sizeof text, "%016llx-%016llx-e1", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(engine()));
  return text;
}

struct Run {
  journal::Store& store;
  Loop& loop;
  bool random_ids = false;
  bool whole_life = false;
  int in_flight = 1;
  int total = 0;

  int begun = 0, ended = 0;
  int free = 0;
  RunNumber next_run = 0;
  std::vector<double> times;
  Payload input = Payload::of("{\"prompt\":\"a photograph of an astronaut riding a horse\",\"steps\":20}");
  Payload output = Payload::of("{\"image\":\"s3://bucket/path/to/object.png\",\"seed\":42}");

  void one() {
    if (begun == total) return;
    auto job = std::make_shared<Job>();
    job->id = make_id(random_ids, static_cast<std::uint64_t>(begun++));
    job->input = input;
    job->submitted_ms = 1'700'000'000'000;
    auto begin = std::chrono::steady_clock::now();
    store.accept(*job, [this, job, begin](std::error_code error) {
      if (error) std::abort();
      if (!whole_life) return end(begin);
      store.start(*job, next_run++, 1, "worker-0", 1'700'000'000'001, [this, job, begin](std::error_code failed) {
        if (failed) std::abort();
        Outcome outcome;
        outcome.status = Status::Completed;
        outcome.output = output;
        outcome.worker_id = "worker-0";
        outcome.attempts = 1;
        store.finish(*job, outcome, [this, job, begin](std::error_code lost) {
          if (lost) std::abort();
          store.settle(*job);
          end(begin);
        });
      });
    });
  }

  void end(std::chrono::steady_clock::time_point begin) {
    times.push_back(since(begin) * 1e6);
    ++ended;
    ++free;
  }

  void go() {
    next_run = store.next_run();
    for (free = in_flight; ended < total;) {
      for (; free > 0; --free) one();
      if (ended == total) break;
      if (store.poll() == 0) loop.wait();
    }
  }
};

void measure(const std::filesystem::path& parent, journal::Durability durability, bool whole_life, int in_flight,
             int total, int queued, bool random_ids) {
  std::filesystem::path directory = parent / "state";
  std::filesystem::remove_all(directory);
  Loop loop;
  journal::Options options;
  options.directory = directory;
  options.durability = durability;
  options.max_backlog = 1'000'000;
  auto store = journal::open(options, [&loop] { loop.wake(); });
  if (queued > 0) {
    Run fill{*store, loop, random_ids, false, 1024, queued};
    fill.go();
  }
  auto* disk = dynamic_cast<journal::SqliteJournal*>(store.get());
  std::uint64_t commits = disk != nullptr ? disk->commits() : 0;
  Run run{*store, loop, random_ids, whole_life, in_flight, total};
  run.times.reserve(static_cast<std::size_t>(total));
  double cpu = cpu_seconds();
  auto begin = std::chrono::steady_clock::now();
  run.go();
  double seconds = since(begin);
  cpu = cpu_seconds() - cpu;
  commits = (disk != nullptr ? disk->commits() : 0) - commits;
  auto [p50, p99, max] = percentiles(run.times);
  constexpr const char* kNames[] = {"full", "relaxed", "memory"};
  std::printf(
      "%-8s %-11s %4d in flight, %7d queued, %s ids: %8.0f/s  p50 %6.0f us  p99 %7.0f us  max %7.0f us  %5.1f us "
      "cpu each  %6llu commits\n",
      kNames[static_cast<int>(durability)], whole_life ? "whole life" : "accept", in_flight, queued,
      random_ids ? "random" : "timed ", total / seconds, p50, p99, max, cpu / total * 1e6,
      static_cast<unsigned long long>(commits));
  std::fflush(stdout);
  store.reset();
  std::filesystem::remove_all(directory);
}

}  // namespace

int main(int argc, char** argv) {
  std::string name = std::string(argc > 1 ? argv[1] : ".") + "/journal-bench-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    std::perror(name.c_str());
    return 1;
  }
  std::filesystem::path directory = name;
  measure_sync(directory);
  measure_bare_sqlite(directory);
  using journal::Durability;
  for (Durability durability : {Durability::Full, Durability::Relaxed, Durability::Memory}) {
    for (bool whole_life : {false, true}) {
      for (int in_flight : {1, 32, 256}) {
        // So many that a slow disk, which decides the first two, does not take minutes.
        int total = durability != Durability::Full ? 60'000
                    : in_flight == 1               ? 1'000
                    : in_flight == 32              ? 15'000
                                                   : 60'000;
        measure(directory, durability, whole_life, in_flight, total, 0, false);
      }
    }
  }
  for (bool random_ids : {false, true}) {
    for (int queued : {0, 1'000'000}) measure(directory, Durability::Full, true, 32, 15'000, queued, random_ids);
  }
  std::filesystem::remove_all(directory);
}
