// Fakes of the ports, for tests of the core: a clock that is told the time, a journal that answers when it is told to,
// children that note what they were sent, and a source that notes what it was told.

#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/job/ports.hpp"

namespace bulkhead::testing {

class ManualClock final : public Clock {
 public:
  Instant now() const override { return now_; }
  void advance(milliseconds by) {
    now_.mono += by;
    now_.wall_ms += by.count();
  }
  /// Moves the wall clock alone, as an operator or NTP does.
  void jump_wall(milliseconds by) { now_.wall_ms += by.count(); }

 private:
  Instant now_{std::chrono::steady_clock::time_point(std::chrono::hours(1)), 1'700'000'000'000};
};

class FakeJournal final : public Journal {
 public:
  bool immediate = true;       ///< answer at once, as the journal without a disk does
  bool refuse_starts = false;  ///< inside the call, as a full queue does
  std::error_code error;       ///< what to answer
  std::vector<std::string> lines;
  std::vector<Written> waiting;
  std::map<std::string, Remembered, std::less<>> remembered;
  std::map<std::string, std::string, std::less<>> keys;  ///< idempotency key -> id
  std::map<std::string, std::vector<StoredChunk>, std::less<>> stored;
  std::size_t most = 1'000;                                     ///< of them that one reading gives
  std::map<std::string, std::uint32_t, std::less<>> positions;  ///< of polls
  std::vector<std::string> crashes;                             ///< the records that are to be kept
  int unreadable_reads = 0;                                     ///< so many of the next ones fail

  /// Answers all that waits.
  void flush() {
    for (auto& written : std::exchange(waiting, {})) written(error);
  }

  void accept(const Job& job, Written written) override { note("accept " + job.id, std::move(written)); }
  void start(const Job& job, RunNumber run, int attempt, std::string_view worker_id, std::int64_t,
             Written written) override {
    if (refuse_starts) return written(std::make_error_code(std::errc::resource_unavailable_try_again));
    note("start " + job.id + " run " + std::to_string(run) + " attempt " + std::to_string(attempt) + " on " +
             std::string(worker_id),
         std::move(written));
  }
  void requeue(const Job& job, RunNumber, bool counted) override {
    lines.push_back("requeue " + job.id + (counted ? " counted" : " uncounted"));
  }
  void cancelling(const Job& job, RunNumber run) override {
    lines.push_back("cancelling " + job.id + " run " + std::to_string(run));
  }
  void history(const Job&, const Payload&, int, Payload record, Written written) override {
    if (!record.empty()) crashes.emplace_back(record.bytes());
    written({});
  }
  void suspect(const Suspect& suspect) override {
    lines.push_back("suspect " + suspect.fingerprint + " " + std::to_string(suspect.crashes));
  }
  void finish(const Job& job, const Outcome& outcome, Written written) override {
    note("finish " + job.id + " " + std::string(to_string(outcome.status)), std::move(written));
  }
  void settle(const Job& job) override { lines.push_back("settle " + job.id); }
  void chunk(const Job& job, RunNumber, std::uint32_t number, Payload, Written written) override {
    note("chunk " + job.id + " " + std::to_string(number), std::move(written));
  }
  void progress(const Job& job, Payload value) override {
    lines.push_back("progress " + job.id + " " + std::string(value.bytes()));
  }
  void checkpoint(const Job& job, RunNumber, Payload data, Written written) override {
    note("checkpoint " + job.id + " " + std::string(data.bytes()), std::move(written));
  }
  void lookup(std::string_view id, std::function<void(std::optional<Remembered>)> found) override {
    if (fails(found)) return;
    auto known = remembered.find(id);
    found(known == remembered.end() ? std::nullopt : std::optional(known->second));
  }
  void lookup_key(std::string_view key, std::function<void(std::optional<std::string>)> found) override {
    auto known = keys.find(key);
    found(known == keys.end() ? std::nullopt : std::optional(known->second));
  }
  void chunks(std::string_view id, std::uint32_t from, std::size_t,
              std::function<void(std::vector<StoredChunk>)> found) override {
    if (fails(found)) return;
    std::vector<StoredChunk> some;
    if (auto known = stored.find(id); known != stored.end())
      for (const StoredChunk& chunk : known->second)
        if (chunk.number >= from && some.size() < most) some.push_back(chunk);
    found(std::move(some));
  }
  void unread(std::string_view id, std::uint32_t after, std::size_t max_bytes,
              std::function<void(std::vector<StoredChunk>)> found) override {
    auto known = positions.find(id);
    chunks(id, std::max(after, known == positions.end() ? 0 : known->second) + 1, max_bytes, std::move(found));
  }
  std::string_view unreadable() const override { return failing_ ? "the disk is broken" : ""; }
  void polled(std::string_view id, std::uint32_t number) override { positions[std::string(id)] = number; }
  void forget(std::string_view id) override { lines.push_back("forget " + std::string(id)); }
  std::size_t backlog() const override { return waiting.size(); }

 private:
  bool failing_ = false;

  bool fails(const auto& found) {
    if (unreadable_reads == 0) return false;
    --unreadable_reads;
    failing_ = true;
    found({});
    failing_ = false;
    return true;
  }
  void note(std::string line, Written written) {
    lines.push_back(std::move(line));
    if (immediate)
      written(error);
    else
      waiting.push_back(std::move(written));
  }
};

class FakeWorkers final : public Workers {
 public:
  struct Sent {
    WorkerNumber worker;
    RunNumber run;
    std::string job;
    int attempt;
    std::string checkpoint;
  };
  std::vector<Sent> sent;
  std::vector<std::string> orders;

  void send(const Assignment& assignment) override {
    sent.push_back({assignment.worker, assignment.run, assignment.job->id, assignment.attempt,
                    std::string(assignment.checkpoint.bytes())});
  }
  void cancel(RunNumber run, StopReason reason) override {
    orders.push_back("cancel " + std::to_string(run) + " " + std::to_string(static_cast<int>(reason)));
  }
  void recall(RunNumber run) override { orders.push_back("recall " + std::to_string(run)); }
  void acknowledge(RunNumber run, std::uint32_t seq) override {
    orders.push_back("ack " + std::to_string(run) + " " + std::to_string(seq));
  }
  void terminate(WorkerNumber worker) override { orders.push_back("terminate " + std::to_string(worker)); }
  void kill(WorkerNumber worker, std::string) override { orders.push_back("kill " + std::to_string(worker)); }
  void refresh(WorkerNumber worker) override { orders.push_back("refresh " + std::to_string(worker)); }
};

class FakeSource final : public Source {
 public:
  std::vector<std::string> lines;
  std::map<std::string, std::vector<Outcome>> reports;
  std::vector<std::function<void()>> chunks_to_take;
  int last_room = -1;
  bool settle_later = false;  ///< a webhook's receiver takes its time
  std::vector<std::function<void()>> to_settle;

  void room(int jobs) override { last_room = jobs; }
  void started(const Job& job, std::string_view worker_id, std::int64_t, int attempt) override {
    lines.push_back("started " + job.id + " on " + std::string(worker_id) + " attempt " + std::to_string(attempt));
  }
  void requeued(const Job& job, const Payload&) override { lines.push_back("requeued " + job.id); }
  void progress(const Job& job, Payload value) override {
    lines.push_back("progress " + job.id + " " + std::string(value.bytes()));
  }
  void chunk(const Job& job, std::uint32_t number, Payload value, std::function<void()> taken) override {
    lines.push_back("chunk " + job.id + " " + std::to_string(number) + " " + std::string(value.bytes()));
    chunks_to_take.push_back(std::move(taken));
  }
  void report(const Job& job, const Outcome& outcome, std::function<void()> settled) override {
    reports[job.id].push_back(outcome);
    if (settle_later)
      to_settle.push_back(std::move(settled));
    else
      settled();
  }
  void log(const Job&, const LogLine&) override {}
};

inline Job make_job(std::string id, int max_attempts = 1) {
  Job job;
  job.id = std::move(id);
  job.input = Payload::of("{}");
  job.policy.max_attempts = max_attempts;
  job.submitted_ms = 1'700'000'000'000;
  return job;
}

}  // namespace bulkhead::testing
