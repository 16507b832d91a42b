// An endpoint in memory, for tests and benchmarks of the HTTP server: it does what it is told, and remembers it.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "supervisor/job/ports.hpp"

namespace bulkhead::http {

/// By default every job completes at once and echoes its input.
class FakeEndpoint final : public Endpoint {
 public:
  struct Entry {
    Job job;
    Status status = Status::InQueue;
    std::int64_t started_ms = 0;
    std::int64_t finished_ms = 0;
    std::int64_t execution_ms = 0;
    std::string worker_id;
    int attempts = 0;
    Payload output;
    Payload error;
    std::vector<Payload> chunks;
  };

  // ---- what a test sets and looks at ----
  bool complete_at_once = true;
  bool remember = true;  ///< off: a job is forgotten with its answer, so a benchmark runs in constant memory
  Accepted next_answer;
  std::map<std::string, Entry, std::less<>> entries;
  std::map<std::uint64_t, std::pair<std::string, Seen>> waiters;
  std::vector<milliseconds> waits;  ///< what each wait() asked for
  int stopped = 0;                  ///< calls of stop_waiting
  HealthView health_view;
  std::size_t purged = 0;

  /// Ends a job, and its waits.
  void finish(std::string_view id, Status status, Payload output, Payload error = {}) {
    Entry& entry = entries.find(id)->second;
    entry.status = status;
    entry.output = std::move(output);
    entry.error = std::move(error);
    entry.worker_id = "w-1";
    entry.attempts = std::max(entry.attempts, 1);
    entry.started_ms = entry.job.submitted_ms + 7;
    entry.finished_ms = entry.started_ms + 5;
    entry.execution_ms = 5;
    for (auto waiter = waiters.begin(); waiter != waiters.end();) {
      if (waiter->second.first != id) {
        ++waiter;
        continue;
      }
      Seen seen = std::move(waiter->second.second);
      waiter = waiters.erase(waiter);
      JobView view = view_of(entry);
      seen(&view);
    }
  }

  /// Ends all waits as their time being over does.
  void time_over() {
    auto all = std::move(waiters);
    waiters.clear();
    for (auto& [number, waiter] : all) {
      JobView view = view_of(entries.find(waiter.first)->second);
      waiter.second(&view);
    }
  }

  // ---- Endpoint ----
  void submit(Job job, std::function<void(Accepted)> answered) override {
    if (next_answer.refusal == Refusal::None) {
      if (!remember) entries.clear();
      std::string id = job.id;
      Entry& entry = entries[id];
      entry.job = std::move(job);
      if (complete_at_once) finish(id, Status::Completed, entry.job.input);
    }
    answered(next_answer);
  }

  void status(std::string_view id, Seen seen) override {
    auto entry = entries.find(id);
    if (entry == entries.end()) return seen(nullptr);
    JobView view = view_of(entry->second);
    seen(&view);
  }

  std::uint64_t wait(std::string_view id, milliseconds wait, Seen seen) override {
    if (remember) waits.push_back(wait);
    auto entry = entries.find(id);
    if (entry == entries.end() || is_final(entry->second.status)) {
      status(id, std::move(seen));
      return ++last_waiter_;
    }
    waiters.emplace(++last_waiter_, std::pair(std::string(id), std::move(seen)));
    return last_waiter_;
  }

  void stop_waiting(std::uint64_t waiter) override {
    ++stopped;
    waiters.erase(waiter);
  }

  void stream(std::string_view id, std::function<void(const JobView*, std::vector<Payload>)> seen) override {
    auto entry = entries.find(id);
    if (entry == entries.end()) return seen(nullptr, {});
    JobView view = view_of(entry->second);
    seen(&view, std::exchange(entry->second.chunks, {}));
  }

  CancelResult cancel(std::string_view id) override {
    auto entry = entries.find(id);
    if (entry == entries.end()) return CancelResult::Unknown;
    if (is_final(entry->second.status)) return CancelResult::AlreadyFinal;
    entry->second.status = Status::Cancelled;
    return CancelResult::Cancelled;
  }

  std::size_t purge() override { return purged; }
  HealthView health() const override { return health_view; }

 private:
  static JobView view_of(const Entry& entry) {
    return {.id = entry.job.id, .status = entry.status, .submitted_ms = entry.job.submitted_ms,
            .started_ms = entry.started_ms, .finished_ms = entry.finished_ms, .execution_ms = entry.execution_ms,
            .worker_id = entry.worker_id, .attempts = entry.attempts, .output = entry.output, .error = entry.error};
  }

  std::uint64_t last_waiter_ = 0;
};

}  // namespace bulkhead::http
