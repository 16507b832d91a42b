// A pool with real children (raw_child) and a core that is no more than a queue.

#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "supervisor/pool/pool.hpp"

namespace bulkhead::pool {

/// A directory of one's own, removed at the end. Short: it holds a socket.
class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/bhpool-XXXXXX";
    if (!mkdtemp(name)) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Built beside the test.
inline std::string raw_child() { return std::filesystem::read_symlink("/proc/self/exe").replace_filename("raw_child"); }

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir)) ++count;
  closedir(dir);
  return count;
}

/// Children of this process, zombies included.
inline std::vector<std::string> children() {
  std::vector<std::string> found;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(task.path() / "children");
    for (std::string pid; list >> pid;) found.push_back(pid);
  }
  return found;
}

struct Ended {
  bool ok = false;
  std::string output;
  std::string error;
  std::string error_type;
  bool crashed = false;
  bool refresh = false;
  WorkerNumber worker = 0;
};

/// Hands queued jobs to whoever has room, acknowledges everything at once, and writes down what happens.
class Core : public WorkersListener {
 public:
  struct Room {
    std::string id;
    int concurrency = 0;
    int window = 0;
    std::set<RunNumber> runs;
    bool retiring = false;
  };

  std::map<WorkerNumber, Room> rooms;
  std::deque<RunNumber> queue;
  std::map<RunNumber, Job> jobs;
  std::map<RunNumber, WorkerNumber> where;
  std::map<RunNumber, Ended> ended;
  std::map<RunNumber, int> ended_times;
  std::set<RunNumber> entered;
  std::map<RunNumber, std::vector<std::string>> chunks;
  std::map<RunNumber, std::vector<std::string>> progresses;
  std::map<RunNumber, std::string> printed;
  std::vector<WorkerNumber> deaths;
  std::vector<std::string> trouble;
  std::string said;
  bool never_ready = false;
  int healthy_calls = 0;
  int bystanders = 0;
  int handed_back_runs = 0;
  int most_window = 0;
  bool acknowledge_chunks = true;
  bool refresh_when_asked = true;
  bool keep_outputs = true;
  RunNumber last_run = 0;
  Workers* pool = nullptr;
  std::function<void(WorkerNumber)> on_death;

  /// `command` as raw_child understands it.
  RunNumber submit(const std::string& command) { return submit(Payload::of('"' + command + '"')); }
  RunNumber submit(Payload input) {
    const RunNumber run = ++last_run;
    jobs[run] = Job{.id = "job-" + std::to_string(run), .input = std::move(input)};
    queue.push_back(run);
    pump();
    return run;
  }

  void pump() {
    for (bool found = true; found && !queue.empty();) {
      found = false;
      for (auto& [number, room] : rooms) {
        const auto most = static_cast<std::size_t>(room.concurrency + room.window);
        if (room.retiring || room.runs.size() >= most) continue;
        const RunNumber run = queue.front();
        queue.pop_front();
        room.runs.insert(run);
        where[run] = number;
        found = true;
        pool->send({.worker = number, .run = run, .job = &jobs[run]});
        break;
      }
    }
  }

  void end(RunNumber run, Ended result) {
    result.worker = where[run];
    ++ended_times[run];
    ended[run] = std::move(result);
    if (auto room = rooms.find(where[run]); room != rooms.end()) room->second.runs.erase(run);
    pump();
  }

  void ready(WorkerNumber worker, std::string_view id, int concurrency, int window) override {
    Room& room = rooms[worker];
    room.id = id;
    room.concurrency = concurrency;
    room.window = window;
    most_window = std::max(most_window, window);
    pump();
  }
  void retiring(WorkerNumber worker) override { rooms[worker].retiring = true; }
  void started(RunNumber run) override { entered.insert(run); }
  void progress(RunNumber run, Payload value) override { progresses[run].emplace_back(value.bytes()); }
  void chunk(RunNumber run, std::uint32_t seq, Payload value) override {
    chunks[run].emplace_back(value.bytes());
    if (acknowledge_chunks) pool->acknowledge(run, seq);
  }
  void checkpoint(RunNumber run, std::uint32_t seq, Payload) override { pool->acknowledge(run, seq); }
  void succeeded(RunNumber run, std::uint32_t seq, Payload output, std::chrono::microseconds, bool refresh) override {
    const WorkerNumber worker = where[run];
    if (refresh) rooms[worker].retiring = true;
    end(run, {.ok = true, .output = keep_outputs ? std::string(output.bytes()) : std::string(), .refresh = refresh});
    pool->acknowledge(run, seq);
    if (refresh && refresh_when_asked) pool->refresh(worker);
  }
  void failed(RunNumber run, std::uint32_t seq, Payload error, Payload output, std::chrono::microseconds,
              bool refresh) override {
    end(run, {.output = std::string(output.bytes()), .error = std::string(error.bytes()), .refresh = refresh});
    if (seq != 0) pool->acknowledge(run, seq);
  }
  void handed_back(RunNumber run, std::uint32_t seq) override {
    ++handed_back_runs;
    pool->acknowledge(run, seq);
    requeue(run);
  }
  void requeue(RunNumber run) {
    if (auto room = rooms.find(where[run]); room != rooms.end()) room->second.runs.erase(run);
    const RunNumber again = ++last_run;  // a run is one attempt
    jobs[again] = jobs[run];
    queue.push_front(again);
    moved[run] = again;
    pump();
  }
  void log(const LogLine& line) override {
    if (line.stream == "pool")
      said += std::string(line.text) + "\n";
    else
      printed[line.run] += std::string(line.stream) + ":" + std::string(line.text) + "\n";
  }
  void died(WorkerNumber worker, std::span<const Casualty> casualties) override {
    deaths.push_back(worker);
    for (const Casualty& casualty : casualties) {
      if (casualty.entered) {
        end(casualty.run,
            {.error = std::string(casualty.error.bytes()), .error_type = casualty.error_type, .crashed = true});
      } else {
        ++bystanders;
        rooms[worker].retiring = true;
        requeue(casualty.run);
      }
    }
    rooms.erase(worker);
    if (on_death) on_death(worker);
    pump();
  }
  void unhealthy(std::string reason, bool never) override {
    trouble.push_back(std::move(reason));
    never_ready = never;
  }
  void healthy() override { ++healthy_calls; }

  /// How the job behind this run ended in the end, wherever it went.
  const Ended& end_of(RunNumber run) {
    while (moved.contains(run)) run = moved[run];
    return ended.at(run);
  }
  bool has_ended(RunNumber run) {
    while (moved.contains(run)) run = moved[run];
    return ended.contains(run);
  }
  std::map<RunNumber, RunNumber> moved;
};

class PoolTest : public testing::Test {
 protected:
  static constexpr std::chrono::seconds kPatience{60};

  Options basics(std::vector<std::string> start = {"normal"}) {
    Options options;
    options.command = {raw_child()};
    options.command.insert(options.command.end(), start.begin(), start.end());
    options.runtime_dir = dir_.path() / "run";
    options.cookie_prefix = "bhpooltest-" + dir_.path().filename().string() + "-";
    options.hostname = "here";
    options.backoff.first = std::chrono::milliseconds(1);
    options.backoff.slow = std::chrono::milliseconds(20);
    return options;
  }

  void start(Options options) {
    pool_ = std::make_unique<Pool>(loop_.get_executor(), std::move(options));
    core_.pool = pool_.get();
    pool_->start(core_);
  }

  /// Runs the loop until `condition` holds; fails the test if it never does.
  void until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (loop_.stopped()) loop_.restart();
      loop_.run_one_for(std::chrono::milliseconds(200));
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "waited in vain; the pool said:\n" << core_.said;
    }
  }

  void stop(milliseconds grace = milliseconds(2000)) {
    if (!pool_) return;
    bool stopped = false;
    pool_->stop(grace, [&] { stopped = true; });
    until([&] { return stopped; });
    EXPECT_TRUE(std::filesystem::is_empty(dir_.path() / "run" / "scratch"));
    EXPECT_FALSE(std::filesystem::exists(dir_.path() / "run" / "children"));
    core_.pool = nullptr;
    pool_.reset();
    EXPECT_FALSE(std::filesystem::exists(dir_.path() / "run" / "link"));
    EXPECT_EQ(children(), std::vector<std::string>());
  }

  /// Submits a job and waits for its end.
  const Ended& ends(const std::string& command) {
    const RunNumber run = core_.submit(command);
    until([&] { return core_.has_ended(run); });
    static const Ended never;
    return core_.has_ended(run) ? core_.end_of(run) : never;
  }

  std::size_t in_state(WorkerState state) const {
    std::size_t count = 0;
    for (const WorkerView& view : pool_->snapshot()) count += view.state == state;
    return count;
  }

  void TearDown() override { stop(); }

  TempDir dir_;
  boost::asio::io_context loop_;
  Core core_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace bulkhead::pool
