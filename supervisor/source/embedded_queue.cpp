// An entry is born with its submission, follows the dispatcher's reports, and is dropped when its retention ends or the
// memory for finished jobs is used up, whichever comes first. A cancelled job's entry is final at once, whatever its
// handler does with the time the ladder gives it: later reports change nothing but the bookkeeping.

#include "supervisor/source/embedded_queue.hpp"

#include <algorithm>
#include <utility>

namespace bulkhead {

struct EmbeddedQueue::Entry {
  std::string id;
  std::string worker_id;
  Status status = Status::InQueue;
  bool sync = false;
  std::int64_t submitted_ms = 0, started_ms = 0, finished_ms = 0, execution_ms = 0;
  int attempts = 0;
  Payload output, error;
  std::deque<Payload> unread;  ///< chunks no poll has taken yet
  std::size_t unread_bytes = 0;
  std::vector<std::function<void()>> slowed;  ///< chunks whose handler waits for a reader
  std::vector<std::uint64_t> waiters;
  std::uint64_t born = 0;

  JobView view() const {
    return {id, status, submitted_ms, started_ms, finished_ms, execution_ms, worker_id, attempts, output, error};
  }
  std::size_t bytes() const { return output.size() + error.size() + unread_bytes; }
};

struct EmbeddedQueue::Waiter : Deadlined {
  std::uint64_t number = 0;
  Entry* entry = nullptr;
  Seen seen;
};

EmbeddedQueue::EmbeddedQueue(EmbeddedQueueOptions options, const Clock& clock, Intake& intake, Journal& journal,
                             std::function<HealthView()> health)
    : options_(options), clock_(clock), intake_(intake), journal_(journal), health_(std::move(health)) {}

EmbeddedQueue::~EmbeddedQueue() = default;

EmbeddedQueue::Entry& EmbeddedQueue::add(const Job& job) {
  auto entry = std::make_unique<Entry>();
  entry->id = job.id;
  entry->sync = job.sync;
  entry->submitted_ms = job.submitted_ms;
  entry->born = ++born_;
  Entry& added = *entry;
  entries_.emplace(added.id, std::move(entry));
  return added;
}

EmbeddedQueue::Entry* EmbeddedQueue::find(std::string_view id) {
  auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.get();
}

void EmbeddedQueue::recovered(const Job& job) {
  if (!find(job.id)) add(job);
}

// ---- clients ask ---------------------------------------------------------------------------------------------------

void EmbeddedQueue::submit(Job job, std::function<void(Accepted)> answered) {
  if (find(job.id)) return answered({Refusal::Duplicate, "a job with this id exists"});
  Entry& entry = add(job);
  intake_.submit(std::move(job), [this, &entry, answered = std::move(answered)](Accepted accepted) {
    if (accepted.refusal != Refusal::None) {
      auto found = entries_.find(entry.id);
      auto refused = std::move(found->second);  // the key views the entry: erase first, destroy after
      entries_.erase(found);
    }
    answered(std::move(accepted));
  });
}

void EmbeddedQueue::look_up(std::string_view id, Seen seen) {
  journal_.lookup(id, [seen = std::move(seen)](std::optional<Remembered> known) {
    if (!known) return seen(nullptr);
    const Outcome& outcome = known->outcome;
    JobView view{known->job.id,        outcome.status,       known->job.submitted_ms, outcome.started_ms,
                 outcome.finished_ms,  outcome.execution_ms, outcome.worker_id,       outcome.attempts,
                 outcome.output,       outcome.error};
    seen(&view);
  });
}

void EmbeddedQueue::status(std::string_view id, Seen seen) {
  Entry* entry = find(id);
  if (!entry) return look_up(id, std::move(seen));
  JobView view = entry->view();
  seen(&view);
}

std::uint64_t EmbeddedQueue::wait(std::string_view id, milliseconds wait, Seen seen) {
  Entry* entry = find(id);
  if (!entry || is_final(entry->status)) {
    status(id, std::move(seen));
    return 0;
  }
  auto waiter = std::make_unique<Waiter>();
  waiter->number = ++last_waiter_;
  waiter->entry = entry;
  waiter->seen = std::move(seen);
  entry->waiters.push_back(waiter->number);
  waiting_.set(*waiter, clock_.now().mono + wait);
  bool first = waiter->heap_place == 0;
  waiters_.emplace(last_waiter_, std::move(waiter));
  if (first && alarm_) alarm_();
  return last_waiter_;
}

void EmbeddedQueue::stop_waiting(std::uint64_t number) {
  auto found = waiters_.find(number);
  if (found == waiters_.end()) return;
  std::erase(found->second->entry->waiters, number);
  waiting_.clear(*found->second);
  waiters_.erase(found);
}

void EmbeddedQueue::stream(std::string_view id, std::function<void(const JobView*, std::vector<Payload>)> seen) {
  Entry* entry = find(id);
  if (!entry) return look_up(id, [seen = std::move(seen)](const JobView* view) { seen(view, {}); });
  std::vector<Payload> chunks(std::make_move_iterator(entry->unread.begin()),
                              std::make_move_iterator(entry->unread.end()));
  entry->unread.clear();
  if (is_final(entry->status)) kept_bytes_ -= entry->unread_bytes;
  entry->unread_bytes = 0;
  JobView view = entry->view();
  auto slowed = std::exchange(entry->slowed, {});
  seen(&view, std::move(chunks));
  for (auto& taken : slowed) taken();
}

Endpoint::CancelResult EmbeddedQueue::cancel(std::string_view id) {
  Entry* entry = find(id);
  if (!entry) return CancelResult::Unknown;
  if (is_final(entry->status)) return CancelResult::AlreadyFinal;
  std::string kept_id(id);
  if (!intake_.cancel(kept_id)) return CancelResult::AlreadyFinal;
  entry = find(kept_id);
  if (entry && !is_final(entry->status)) {
    entry->status = Status::Cancelled;
    entry->output = {};
    entry->finished_ms = clock_.now().wall_ms;
    wake(*entry);
  }
  return CancelResult::Cancelled;
}

std::size_t EmbeddedQueue::purge() { return intake_.purge(); }
HealthView EmbeddedQueue::health() const { return health_(); }

// ---- the dispatcher reports ----------------------------------------------------------------------------------------

void EmbeddedQueue::started(const Job& job, std::string_view worker_id, std::int64_t started_ms, int attempt) {
  Entry* entry = find(job.id);
  if (!entry || is_final(entry->status)) return;
  entry->status = Status::InProgress;
  entry->worker_id = worker_id;
  entry->started_ms = started_ms;
  entry->attempts = attempt;
}

void EmbeddedQueue::requeued(const Job& job) {
  Entry* entry = find(job.id);
  if (entry && !is_final(entry->status)) entry->status = Status::InQueue;
}

void EmbeddedQueue::progress(const Job& job, Payload value) {
  Entry* entry = find(job.id);
  if (entry && !is_final(entry->status)) entry->output = std::move(value);
}

void EmbeddedQueue::chunk(const Job& job, std::uint32_t, Payload value, std::function<void()> taken) {
  Entry* entry = find(job.id);
  if (!entry || is_final(entry->status)) return taken();
  entry->unread_bytes += value.size();
  entry->unread.push_back(std::move(value));
  if (entry->unread_bytes < options_.unread_bytes_max) return taken();
  entry->slowed.push_back(std::move(taken));
}

void EmbeddedQueue::report(const Job& job, const Outcome& outcome, std::function<void()> settled) {
  if (Entry* entry = find(job.id)) {
    bool cancelled = entry->status == Status::Cancelled;
    entry->attempts = outcome.attempts;
    entry->worker_id = outcome.worker_id;
    entry->started_ms = outcome.started_ms;
    entry->execution_ms = outcome.execution_ms;
    if (!cancelled) {
      entry->status = outcome.status;
      entry->finished_ms = outcome.finished_ms;
      entry->output = outcome.output;
      entry->error = outcome.error;
    }
    finish(*entry);
  }
  settled();
}

void EmbeddedQueue::finish(Entry& entry) {
  auto slowed = std::exchange(entry.slowed, {});
  keep(entry);
  wake(entry);
  for (auto& taken : slowed) taken();
}

void EmbeddedQueue::wake(Entry& entry) {
  JobView view = entry.view();
  for (std::uint64_t number : std::exchange(entry.waiters, {})) {
    auto found = waiters_.find(number);
    auto waiter = std::move(found->second);
    waiting_.clear(*waiter);
    waiters_.erase(found);
    waiter->seen(&view);
  }
}

// ---- retention -----------------------------------------------------------------------------------------------------

void EmbeddedQueue::keep(Entry& entry) {
  milliseconds retention = entry.sync ? options_.sync_retention : options_.async_retention;
  auto& list = entry.sync ? kept_sync_ : kept_async_;
  list.push_back({clock_.now().mono + retention, entry.id, entry.born});
  if (list.size() == 1 && alarm_) alarm_();
  kept_bytes_ += entry.bytes();
  // Who is dropped early is found in the journal from then on. The newest stays, whatever its size.
  while (kept_async_.size() + kept_sync_.size() > 1 &&
         (kept_async_.size() + kept_sync_.size() > options_.kept_max || kept_bytes_ > options_.kept_bytes_max)) {
    auto& from = kept_sync_.size() > (entry.sync ? 1u : 0u) ? kept_sync_ : kept_async_;
    drop(from.front());
    from.pop_front();
  }
}

void EmbeddedQueue::drop(const Kept& kept) {
  auto found = entries_.find(kept.id);
  if (found == entries_.end() || found->second->born != kept.born) return;
  kept_bytes_ -= std::min(kept_bytes_, found->second->bytes());
  auto dropped = std::move(found->second);  // the key views the entry: erase first, destroy after
  entries_.erase(found);
}

std::optional<std::chrono::steady_clock::time_point> EmbeddedQueue::wake_at() const {
  auto earliest = waiting_.earliest();
  for (const auto* kept : {&kept_async_, &kept_sync_})
    if (!kept->empty() && (!earliest || kept->front().until < *earliest)) earliest = kept->front().until;
  return earliest;
}

void EmbeddedQueue::tick() {
  auto now = clock_.now().mono;
  while (Waiter* due = waiting_.pop_due(now)) {
    auto found = waiters_.find(due->number);
    auto waiter = std::move(found->second);
    waiters_.erase(found);
    std::erase(waiter->entry->waiters, waiter->number);
    JobView view = waiter->entry->view();
    waiter->seen(&view);
  }
  for (auto* kept : {&kept_async_, &kept_sync_})
    while (!kept->empty() && kept->front().until <= now) {
      drop(kept->front());
      kept->pop_front();
    }
}

}  // namespace bulkhead
