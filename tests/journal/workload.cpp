#include "tests/journal/workload.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <utility>

#include "supervisor/journal/sqlite.hpp"
#include "tests/journal/fault_vfs.hpp"
#include "tests/journal/harness.hpp"

namespace bulkhead::journal::testing {
namespace {

constexpr int kAtOnce = 4;

std::size_t number_of(std::string_view id) { return std::hash<std::string_view>()(id); }

/// Sizes from nothing to several pages.
std::string filler(std::size_t seed) {
  constexpr std::size_t kSizes[] = {0, 10, 100, 1'000, 5'000, 20'000};
  return std::string(kSizes[seed % std::size(kSizes)], static_cast<char>('a' + seed % 26));
}

}  // namespace

void Witness::read(const std::string& line) {
  std::istringstream in(line);
  std::string fact, id;
  std::uint64_t number = 0;
  in >> fact >> id >> number;
  if (fact == "complete") {
    complete = true;
    return;
  }
  Seen& seen = jobs[id];
  if (fact == "accept?") seen.accept_asked = true;
  if (fact == "accepted") seen.accepted = true;
  if (fact == "start?") {
    seen.run_asked = number;
    seen.runs.push_back(number);
    ++seen.attempts_asked;
    seen.requeue_asked = false;
    seen.chunks = seen.chunks_asked = 0;
  }
  if (fact == "started") seen.started = number;
  if (fact == "requeue?") seen.requeue_asked = true;
  if (fact == "chunk?") seen.chunks_asked = static_cast<std::uint32_t>(number);
  if (fact == "chunk") seen.chunks = static_cast<std::uint32_t>(number);
  if (fact == "checkpoint?") seen.checkpoint_asked = static_cast<std::uint32_t>(number);
  if (fact == "checkpoint") seen.checkpoint = static_cast<std::uint32_t>(number);
  if (fact == "finish?") seen.finish_asked = true;
  if (fact == "finished") seen.finished = true;
  if (fact == "settle?") seen.settle_asked = true;
}

Job workload_job(const std::string& id) {
  std::size_t n = number_of(id);
  Job job = make_job(id, "{\"id\":\"" + id + "\",\"x\":\"" + filler(n) + "\"}");
  if (n % 3 == 0) job.extra = payload("{\"s3Config\":{\"accessSecret\":\"SECRET-" + id + "\"}}");
  if (n % 5 == 0) job.webhook = "https://example.org/" + id;
  job.policy.max_attempts = 1 + static_cast<int>(n % 4);
  job.sync = n % 2 == 0;
  return job;
}

Outcome workload_outcome(const std::string& id) {
  std::size_t n = number_of(id);
  Outcome outcome = n % 7 == 0 ? failed("\"error of " + id + "\"") : completed("\"" + filler(n / 7) + id + "\"");
  outcome.worker_id = "worker-" + id;
  outcome.finished_ms = 4'000'000'000'000;  // far away: nothing expires in these tests
  return outcome;
}

std::string workload_chunk(const std::string& id, RunNumber run, std::uint32_t number) {
  return id + "/" + std::to_string(run) + "/" + std::to_string(number) + filler(run + number);
}

std::string workload_checkpoint(const std::string& id, std::uint32_t number) {
  return id + "/" + std::to_string(number) + filler(number + id.size());
}

struct Workload::Task {
  Job job;
  int attempt = 0;
  RunNumber run = 0;
  std::uint32_t chunks = 0, checkpoints = 0;
  int steps_left = 0;
};

Workload::Workload(Store& store, Witness& witness, std::uint64_t seed, int jobs)
    : store_(store), witness_(witness), random_(seed), left_(jobs), next_run_(store.next_run()) {}

bool Workload::running() {
  while (!failed_ && left_ > 0 && under_way_ < kAtOnce) begin();
  if (left_ == 0 && under_way_ == 0 && !witness_.complete) witness_.note("complete");
  return !failed_ && !witness_.complete;
}

bool Workload::good(std::error_code error) {
  if (error) failed_ = true;
  return !error;
}

void Workload::begin() {
  --left_;
  ++under_way_;
  auto task = std::make_shared<Task>();
  task->job = workload_job("job-" + std::to_string(serial_++));
  task->steps_left = roll(6);
  const std::string& id = task->job.id;
  witness_.note("accept? " + id);
  bool at_once = roll(3) == 0;  // a free worker waits: the start goes with the acceptance
  store_.accept(task->job, [this, task, at_once](std::error_code error) {
    if (!good(error)) return;
    witness_.note("accepted " + task->job.id);
    if (!at_once) start(task);
  });
  if (at_once) start(task);
}

void Workload::start(const std::shared_ptr<Task>& task) {
  if (failed_) return;
  task->run = next_run_++;
  task->chunks = 0;
  witness_.note("start? " + task->job.id + " " + std::to_string(task->run));
  store_.start(task->job, task->run, ++task->attempt, "worker-1", 5'000, [this, task](std::error_code error) {
    if (!good(error)) return;
    witness_.note("started " + task->job.id + " " + std::to_string(task->run));
    step(task);
  });
}

void Workload::step(const std::shared_ptr<Task>& task) {
  if (failed_) return;
  if (task->steps_left-- <= 0) return finish(task);
  const std::string& id = task->job.id;
  int kind = roll(8);
  if (kind < 4) {
    std::uint32_t number = ++task->chunks;
    witness_.note("chunk? " + id + " " + std::to_string(number));
    store_.chunk(task->job, task->run, number, payload(workload_chunk(id, task->run, number)),
                 [this, task, number](std::error_code error) {
                   if (!good(error)) return;
                   witness_.note("chunk " + task->job.id + " " + std::to_string(number));
                   step(task);
                 });
  } else if (kind < 6) {
    std::uint32_t number = ++task->checkpoints;
    witness_.note("checkpoint? " + id + " " + std::to_string(number));
    store_.checkpoint(task->job, task->run, payload(workload_checkpoint(id, number)),
                      [this, task, number](std::error_code error) {
                        if (!good(error)) return;
                        witness_.note("checkpoint " + task->job.id + " " + std::to_string(number));
                        step(task);
                      });
  } else if (kind == 6) {
    store_.progress(task->job, payload(R"({"percent":50})"));
    step(task);
  } else {
    witness_.note("requeue? " + id);
    store_.requeue(task->job, task->run, true);
    start(task);
  }
}

void Workload::finish(const std::shared_ptr<Task>& task) {
  const std::string& id = task->job.id;
  witness_.note("finish? " + id);
  store_.finish(task->job, workload_outcome(id), [this, task](std::error_code error) {
    if (!good(error)) return;
    const std::string& finished = task->job.id;
    witness_.note("finished " + finished);
    if (roll(4) != 0) {  // else its webhook does not answer
      witness_.note("settle? " + finished);
      store_.settle(task->job);
    }
    --under_way_;
  });
}

// ---- the check -----------------------------------------------------------------------------------------------------

namespace {

void expect_same_job(const Job& job, const std::string& id, bool finished) {
  Job wanted = workload_job(id);
  EXPECT_EQ(job.input.bytes(), wanted.input.bytes()) << id;
  EXPECT_EQ(job.webhook, wanted.webhook) << id;
  EXPECT_EQ(job.sync, wanted.sync) << id;
  EXPECT_EQ(job.policy.max_attempts, wanted.policy.max_attempts) << id;
  if (!finished) {
    EXPECT_EQ(job.extra.bytes(), wanted.extra.bytes()) << id;
  }
  if (finished) {
    EXPECT_TRUE(job.extra.empty()) << id << ": its secrets are erased with its end";
  }
}

void expect_same_outcome(const Outcome& outcome, const std::string& id) {
  Outcome wanted = workload_outcome(id);
  EXPECT_EQ(outcome.status, wanted.status) << id;
  EXPECT_EQ(outcome.output.bytes(), wanted.output.bytes()) << id;
  EXPECT_EQ(outcome.error.bytes(), wanted.error.bytes()) << id;
  EXPECT_EQ(outcome.worker_id, wanted.worker_id) << id;
}

void expect_open(Session& journal, const Recovered& job, const Seen& seen, bool full) {
  const std::string& id = job.job.id;
  EXPECT_TRUE(seen.accept_asked) << id << " was never heard of";
  bool finished = job.outcome.has_value();
  expect_same_job(job.job, id, finished);
  if (finished) {
    EXPECT_TRUE(seen.finish_asked) << id;
    expect_same_outcome(*job.outcome, id);
  }
  if (full) {
    EXPECT_TRUE(finished || !seen.finished) << id << ": a finished result is lost";
  }
  EXPECT_LE(job.attempts, seen.attempts_asked) << id;
  for (const StoredChunk& chunk : journal.chunks(id)) {
    bool known = false;
    for (RunNumber run : seen.runs) known |= chunk.chunk.bytes() == workload_chunk(id, run, chunk.number);
    EXPECT_TRUE(known) << id << " has a chunk " << chunk.number << " that nobody wrote";
  }
  if (!full || finished) return;
  // The newest confirmed start is on record, unless something newer is.
  if (seen.started != 0 && seen.started == seen.run_asked && !seen.requeue_asked) {
    EXPECT_EQ(job.run, seen.started) << id;
    EXPECT_EQ(job.attempts, seen.attempts_asked) << id;
    auto chunks = journal.chunks(id);
    EXPECT_GE(chunks.size(), seen.chunks) << id;
    EXPECT_LE(chunks.size(), seen.chunks_asked) << id;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      EXPECT_EQ(chunks[i].number, i + 1) << id << ": a gap";
      EXPECT_EQ(chunks[i].chunk.bytes(), workload_chunk(id, job.run, chunks[i].number)) << id;
    }
  }
  bool checkpoint_known = job.checkpoint.empty() && seen.checkpoint == 0;
  for (std::uint32_t n = std::max(seen.checkpoint, 1u); n <= seen.checkpoint_asked; ++n) {
    checkpoint_known |= job.checkpoint.bytes() == workload_checkpoint(id, n);
  }
  EXPECT_TRUE(checkpoint_known) << id << ": not the last checkpoint";
}

}  // namespace

void check_after_crash(const std::string& directory, const Witness& witness, bool full) {
  FaultVfs vfs;  // a good one; it spares the real disk its syncs
  Options options;
  options.directory = directory;
  options.vfs = vfs.name();
  std::map<std::string, Job> open;
  {
    Session journal(options);
    for (const Recovered& job : journal->recover()) {
      auto seen = witness.jobs.find(job.job.id);
      if (seen == witness.jobs.end()) {
        ADD_FAILURE() << job.job.id << " was never heard of";
        continue;
      }
      expect_open(journal, job, seen->second, full);
      EXPECT_TRUE(open.emplace(job.job.id, job.job).second) << job.job.id << " twice";
    }
    for (const auto& [id, seen] : witness.jobs) {
      for (RunNumber run : seen.runs) {
        // Without durability a start may be forgotten, its number not.
        EXPECT_GT(journal->next_run(), run) << id;
      }
      auto found = journal.lookup(id);
      if (found) {
        EXPECT_TRUE(seen.finish_asked) << id;
        expect_same_outcome(found->outcome, id);
        EXPECT_TRUE(open.contains(id) || seen.settle_asked) << id << " is finished, and nobody will deliver it";
      }
      if (full && seen.accepted) {
        EXPECT_TRUE(open.contains(id) || found) << id << ": an accepted job is lost";
      }
      if (full && seen.finished) {
        EXPECT_TRUE(found) << id << ": a finished result is lost";
      }
    }
    // Every job reaches one end; a second one changes nothing.
    for (const auto& [id, job] : open) {
      EXPECT_FALSE(journal.finish(job, workload_outcome(id)));
      EXPECT_FALSE(journal.finish(job, failed("\"twice\"", 4'000'000'000'000)));
      journal->settle(job);
    }
    journal.drain();
  }
  {
    Session journal(options);
    EXPECT_TRUE(journal->recover().empty());
    for (const auto& [id, job] : open) {
      auto found = journal.lookup(id);
      ASSERT_TRUE(found) << id;
      expect_same_outcome(found->outcome, id);
    }
  }
  Connection connection(directory + "/journal.db", vfs.name());
  EXPECT_EQ(connection.text("PRAGMA integrity_check"), "ok");
  EXPECT_EQ(connection.number("SELECT count(*) FROM outcomes WHERE key NOT IN (SELECT key FROM jobs)"), 0);
  EXPECT_EQ(connection.number("SELECT count(*) FROM jobs WHERE key NOT IN (SELECT key FROM outcomes)"), 0);
  EXPECT_EQ(connection.number("SELECT (SELECT count(*) FROM extras) + (SELECT count(*) FROM checkpoints) + "
                              "(SELECT count(*) FROM progress) + (SELECT count(*) FROM open)"),
            0);
}

}  // namespace bulkhead::journal::testing
