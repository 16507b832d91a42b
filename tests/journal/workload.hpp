// A mixed load of jobs for the crash tests, what it saw, and what a journal must still know after any crash.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/journal/store.hpp"

namespace bulkhead::journal::testing {

/// What happened to one job as its client and the core saw it: what was asked for, and what was confirmed.
struct Seen {
  bool accept_asked = false, accepted = false;
  RunNumber run_asked = 0, started = 0;  ///< the newest
  int attempts_asked = 0;
  bool requeue_asked = false;
  std::uint32_t chunks = 0;  ///< confirmed, of the newest run: 1 … chunks
  std::uint32_t chunks_asked = 0;
  std::uint32_t checkpoint = 0;  ///< confirmed
  std::uint32_t checkpoint_asked = 0;
  bool finish_asked = false, finished = false;
  bool settle_asked = false;
  std::vector<RunNumber> runs;  ///< every run that was asked for
};

/// A witness outside the journal. One line a fact, so that it can travel through a pipe and outlive the process.
class Witness {
 public:
  /// Called with each line, before what it tells of is done (asked) or after it was confirmed.
  std::function<void(const std::string&)> on_line;

  void note(const std::string& line) {
    read(line);
    if (on_line) on_line(line);
  }
  void read(const std::string& line);

  std::map<std::string, Seen> jobs;
  bool complete = false;  ///< the load came to its end
};

/// Runs `jobs` jobs, up to 4 at a time, through a store: attempts that are lost and handed back, chunks, checkpoints,
/// progress, retries of what failed, all decided by the seed. What each job's payloads are follows from its id alone.
class Workload {
 public:
  Workload(Store& store, Witness& witness, std::uint64_t seed, int jobs);
  /// Starts what may start; the rest follows from the store's callbacks. False when all is done or the store failed.
  bool running();
  bool failed() const { return failed_; }

 private:
  struct Task;
  void begin();
  void start(const std::shared_ptr<Task>& task);
  void step(const std::shared_ptr<Task>& task);
  void finish(const std::shared_ptr<Task>& task);
  bool good(std::error_code error);
  int roll(int sides) { return static_cast<int>(random_() % static_cast<unsigned>(sides)); }

  Store& store_;
  Witness& witness_;
  std::mt19937_64 random_;
  int left_, under_way_ = 0, serial_ = 0;
  RunNumber next_run_;
  bool failed_ = false;
};

Job workload_job(const std::string& id);
Outcome workload_outcome(const std::string& id);
std::string workload_chunk(const std::string& id, RunNumber run, std::uint32_t number);
std::string workload_checkpoint(const std::string& id, std::uint32_t number);

/// Opens the journal in `directory` and compares it with what the witness saw; then ends every open job and looks that
/// each has one end. Reports through GoogleTest. Full: what was confirmed must be there; else only that what is there is
/// right and whole.
void check_after_crash(const std::string& directory, const Witness& witness, bool full);

}  // namespace bulkhead::journal::testing
