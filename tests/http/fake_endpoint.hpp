// An endpoint in memory, for tests and benchmarks of the HTTP server: it does what it is told, and remembers it.

#pragma once

#include <algorithm>
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
    std::vector<Payload> chunks;      ///< for stream()
    std::vector<Payload> all_chunks;  ///< for follow()
    std::uint64_t change = 1;
    milliseconds ttl{0};  ///< as shortened
  };

  // ---- what a test sets and looks at ----
  bool complete_at_once = true;
  bool remember = true;  ///< off: a job is forgotten with its answer, so a benchmark runs in constant memory
  Accepted next_answer;
  std::map<std::string, Entry, std::less<>> entries;
  std::map<std::uint64_t, std::pair<std::string, Seen>> waiters;
  struct FollowerEntry {
    std::string id;
    Position known;
    std::function<void(const JobView*, News)> seen;
  };
  std::map<std::uint64_t, FollowerEntry> followers;
  std::size_t batch = 100;                  ///< chunks told at a time
  std::map<std::string, std::string> keys;  ///< idempotency
  std::vector<milliseconds> waits;          ///< what each wait() asked for
  int stopped = 0;                          ///< calls of stop_waiting
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
    ++entry.change;
    tell(id);
  }

  /// The job yields a chunk, or changes in some way.
  void chunk(std::string_view id, std::string json) {
    Entry& entry = entries.find(id)->second;
    entry.all_chunks.push_back(Payload::of(std::move(json)));
    tell(id);
  }
  template <class Change>
  void change(std::string_view id, Change change) {
    Entry& entry = entries.find(id)->second;
    change(entry);
    ++entry.change;
    tell(id);
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
      if (!job.idempotency_key.empty()) {
        auto [known, added] = keys.emplace(job.idempotency_key, id);
        if (!added) return answered({Refusal::Duplicate, "sent before", known->second});
      }
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
    followers.erase(waiter);
  }

  std::uint64_t follow(std::string_view id, Position known, std::function<void(const JobView*, News)> seen) override {
    auto entry = entries.find(id);
    if (entry == entries.end()) {
      seen(nullptr, {});
      return 0;
    }
    followers.emplace(++last_waiter_, FollowerEntry{std::string(id), known, std::move(seen)});
    std::uint64_t number = last_waiter_;
    tell(id);
    return number;
  }

  void retry(std::string_view id, std::function<void(std::optional<Accepted>)> answered) override {
    auto entry = entries.find(id);
    if (entry == entries.end()) return answered({});
    Status status = entry->second.status;
    if (status != Status::Failed && status != Status::TimedOut)
      return answered(Accepted{Refusal::NotFailed, "it runs"});
    entry->second.status = Status::InQueue;
    answered(Accepted{});
  }

  void shorten(std::string_view id, milliseconds ttl) override {
    if (auto entry = entries.find(id); entry != entries.end()) entry->second.ttl = ttl;
  }

  void list(std::size_t most, std::function<void(std::span<const JobView>)> seen) const override {
    std::vector<JobView> views;
    for (auto& [id, entry] : entries) {
      if (!is_final(entry.status) && views.size() < most) views.push_back(view_of(entry));
    }
    seen(views);
  }

  std::uint64_t stream(std::string_view id, milliseconds wait, Unread seen) override {
    waits.push_back(wait);
    auto entry = entries.find(id);
    if (entry == entries.end()) {
      seen(nullptr, {});
      return 0;
    }
    JobView view = view_of(entry->second);
    seen(&view, std::exchange(entry->second.chunks, {}));
    return 0;
  }

  CancelResult cancel(std::string_view id) override {
    auto entry = entries.find(id);
    if (entry == entries.end()) return CancelResult::Unknown;
    if (is_final(entry->second.status)) return CancelResult::AlreadyFinal;
    finish(id, Status::Cancelled, {});
    return CancelResult::Cancelled;
  }

  std::size_t purge() override { return purged; }
  HealthView health() const override { return health_view; }

 private:
  static JobView view_of(const Entry& entry) {
    return {.id = entry.job.id,
            .status = entry.status,
            .submitted_ms = entry.job.submitted_ms,
            .started_ms = entry.started_ms,
            .finished_ms = entry.finished_ms,
            .execution_ms = entry.execution_ms,
            .worker_id = entry.worker_id,
            .attempts = entry.attempts,
            .output = entry.output,
            .error = entry.error};
  }

  /// Calls back those who follow the job and do not know all of it.
  void tell(std::string_view id) {
    Entry& entry = entries.find(id)->second;
    for (auto follower = followers.begin(); follower != followers.end();) {
      Position known = follower->second.known;
      bool news = known.chunk < entry.all_chunks.size() || known.change < entry.change || is_final(entry.status);
      if (follower->second.id != id || !news) {
        ++follower;
        continue;
      }
      auto seen = std::move(follower->second.seen);
      followers.erase(follower);
      News told;
      std::size_t end = std::min<std::size_t>(entry.all_chunks.size(), known.chunk + batch);
      told.chunks.assign(entry.all_chunks.begin() + std::min<std::size_t>(known.chunk, end),
                         entry.all_chunks.begin() + end);
      told.position = {static_cast<std::uint32_t>(end), entry.change};
      JobView view = view_of(entry);
      seen(&view, std::move(told));
      follower = followers.begin();
    }
  }

  std::uint64_t last_waiter_ = 0;
};

}  // namespace bulkhead::http
