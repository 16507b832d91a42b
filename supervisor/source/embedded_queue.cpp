// An entry is born with its submission, follows the dispatcher's reports, and is dropped when its retention ends or the
// memory for finished jobs is used up, whichever comes first. A cancelled job's entry is final at once, whatever its
// handler does with the time the ladder gives it: later reports change nothing but the bookkeeping.
//
// Two kinds of reader take chunks: polls (`stream`), of whom each chunk is given to the first that asks, and followers
// (`follow`), who say how far they are. Chunks stay until the stream's memory is used up; then those go that somebody
// has read, and where nobody reads, the handler waits.

#include "supervisor/source/embedded_queue.hpp"

#include <algorithm>
#include <utility>

#include "supervisor/job/job_json.hpp"
#include "supervisor/source/queue_entry.hpp"
#include "supervisor/source/webhooks.hpp"

namespace bulkhead {

namespace {

/// Bytes of chunks told to a follower at once; it comes back for the rest.
constexpr std::size_t kAtOnce = 1 << 20;

}  // namespace

EmbeddedQueue::EmbeddedQueue(EmbeddedQueueOptions options, const Clock& clock, Intake& intake, Journal& journal,
                             std::function<HealthView()> health)
    : options_(options),
      clock_(clock),
      intake_(intake),
      journal_(journal),
      health_(std::move(health)),
      live_(std::make_unique<LiveEntries>()),
      stored_(journal, options.stream_bytes_max) {}

EmbeddedQueue::~EmbeddedQueue() { live_->clear(); }

EmbeddedQueue::Entry& EmbeddedQueue::add(const Job& job) {
  auto entry = std::make_unique<Entry>();
  entry->id = job.id;
  entry->key = job.idempotency_key;
  entry->sync = job.sync;
  entry->submitted_ms = job.submitted_ms;
  entry->born = ++born_;
  Entry& added = *entry;
  entries_.emplace(added.id, std::move(entry));
  if (!added.key.empty()) by_key_.emplace(added.key, &added);
  live_->push_back(added);
  return added;
}

std::optional<JobView> EmbeddedQueue::view(std::string_view id) {
  Entry* entry = find(id);
  if (!entry || !entry->accepted) return std::nullopt;
  return entry->view();
}

EmbeddedQueue::Entry* EmbeddedQueue::find(std::string_view id) {
  auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.get();
}

void EmbeddedQueue::erase(Entry& entry) {
  if (entry.is_linked()) live_->erase(live_->iterator_to(entry));
  shortened_.clear(entry);
  if (!entry.key.empty()) by_key_.erase(entry.key);
  auto found = entries_.find(entry.id);
  auto kept = std::move(found->second);  // the key views the entry: erase first, destroy after
  entries_.erase(found);
}

void EmbeddedQueue::recovered(const Recovered& known) {
  if (find(known.job.id)) return;
  Entry& entry = add(known.job);
  entry.accepted = true;
  entry.last_chunk = entry.read = known.last_chunk;
  entry.polled = known.polled;
  entry.history = known.history;
  if (known.cancelled && !known.outcome) show_cancelled(known.job.id);  // its client was told
}

// ---- clients submit ------------------------------------------------------------------------------------------------

void EmbeddedQueue::submit(Job job, std::function<void(Accepted)> answered) {
  if (auto same = by_key_.find(job.idempotency_key); same != by_key_.end() && !job.idempotency_key.empty()) {
    if (!same->second->accepted) return same->second->same_key.push_back(std::move(answered));
    return answered({Refusal::Duplicate, "a job was accepted under this idempotency key", same->second->id});
  }
  if (find(job.id)) return answered({Refusal::Duplicate, "a job with this id exists", {}});
  if (webhooks_ && !job.webhook.empty() && webhooks_->full())
    return answered({Refusal::Full, "too many webhooks wait for receivers that do not take them", {}});
  Entry& entry = add(job);
  intake_.submit(std::move(job), [this, &entry, answered = std::move(answered)](Accepted accepted) {
    entry.accepted = accepted.refusal == Refusal::None;
    if (entry.key.empty()) {
      if (!entry.accepted) erase(entry);
      return answered(std::move(accepted));
    }
    submitted_with_key(entry, std::move(accepted), std::move(answered));
  });
}

/// The first submission under a key answers the others that came while it was under way. Where this memory has forgotten
/// the key's job, the journal may not have.
void EmbeddedQueue::submitted_with_key(Entry& entry, Accepted accepted, std::function<void(Accepted)> answered) {
  auto same_key = std::exchange(entry.same_key, {});
  if (entry.accepted) {
    Accepted same{Refusal::Duplicate, "a job was accepted under this idempotency key", entry.id};
    answered(std::move(accepted));
    for (auto& other : same_key) other(same);
    return;
  }
  std::string key = entry.key;
  erase(entry);
  same_key.push_back(std::move(answered));
  if (accepted.refusal != Refusal::Duplicate) {
    for (auto& other : same_key) other(accepted);
    return;
  }
  journal_.lookup_key(key, [accepted, same_key = std::move(same_key)](std::optional<std::string> id) mutable {
    accepted.id = id.value_or("");
    for (auto& other : same_key) other(accepted);
  });
}

void EmbeddedQueue::retry(std::string_view id, std::function<void(std::optional<Accepted>)> answered) {
  Entry* entry = find(id);
  if (entry && !is_final(entry->status)) return answered(Accepted{Refusal::NotFailed, "the job has not ended", {}});
  journal_.lookup(id, [this, answered = std::move(answered)](std::optional<Remembered> known) {
    if (!known) return answered(std::nullopt);
    if (known->outcome.status != Status::Failed && known->outcome.status != Status::TimedOut)
      return answered(Accepted{Refusal::NotFailed, "the job did not fail", {}});
    if (!make_way(known->job.id)) return answered(Accepted{Refusal::NotFailed, "the job runs again already", {}});
    retry(std::move(known->job), answered);
  });
}

/// For another life of a job that has ended; false where it has not.
bool EmbeddedQueue::make_way(std::string_view id) {
  Entry* old = find(id);
  if (!old) return true;
  if (!is_final(old->status)) return false;
  drop_now(*old);
  return true;
}

/// The webhook of the life that ends here is not sent any more: the next one's will tell how the job ended.
void EmbeddedQueue::retry(Job job, const std::function<void(std::optional<Accepted>)>& answered) {
  std::function<void(Accepted)> submitted = answered;
  if (webhooks_ && webhooks_->abandon(job.id)) {
    Job ended = job;
    ended.input = {};
    submitted = [this, answered, ended = std::move(ended)](Accepted accepted) {
      if (accepted.refusal != Refusal::None) webhooks_->deliver(ended, [] {});  // there is no next life
      answered(std::move(accepted));
    };
  }
  job.submitted_ms = clock_.now().wall_ms;
  submit(std::move(job), std::move(submitted));
}

EmbeddedQueue::CancelResult EmbeddedQueue::cancel(std::string_view id) {
  Entry* entry = find(id);
  if (!entry) return CancelResult::Unknown;
  if (is_final(entry->status)) return CancelResult::AlreadyFinal;
  std::string kept_id(id);
  if (!intake_.cancel(kept_id)) return CancelResult::AlreadyFinal;
  journal_.after_writes([this, kept_id] { show_cancelled(kept_id); });
  return CancelResult::Cancelled;
}

std::size_t EmbeddedQueue::purge() {
  auto purged = intake_.purge();
  const std::size_t count = purged.size();
  journal_.after_writes([this, purged = std::move(purged)] {
    for (const std::string& id : purged) show_cancelled(id);
  });
  return count;
}

void EmbeddedQueue::show_cancelled(std::string_view id) {
  Entry* entry = find(id);
  if (!entry || is_final(entry->status)) return;
  entry->status = Status::Cancelled;
  entry->output = {};
  entry->finished_ms = clock_.now().wall_ms;
  changed(*entry);
}

HealthView EmbeddedQueue::health() const { return health_(); }

// ---- clients ask ---------------------------------------------------------------------------------------------------

void EmbeddedQueue::look_up(std::string_view id, Seen seen) {
  journal_.lookup(id, [seen = std::move(seen)](std::optional<Remembered> known) {
    if (!known) return seen(nullptr);
    JobView view = view_of(*known);
    seen(&view);
  });
}

void EmbeddedQueue::status(std::string_view id, Seen seen) {
  Entry* entry = find(id);
  if (!entry) return look_up(id, std::move(seen));
  JobView view = entry->view();
  seen(&view);
}

EmbeddedQueue::Waiter& EmbeddedQueue::add_waiter(Entry& entry, std::optional<milliseconds> wait) {
  auto added = std::make_unique<Waiter>();
  Waiter& waiter = *added;
  waiter.number = ++last_waiter_;
  waiter.entry = &entry;
  entry.waiters.push_back(waiter.number);
  waiters_.emplace(waiter.number, std::move(added));
  if (wait) {
    waiting_.set(waiter, clock_.now().mono + *wait);
    if (waiter.heap_place == 0 && alarm_) alarm_();
  }
  return waiter;
}

std::uint64_t EmbeddedQueue::wait(std::string_view id, milliseconds wait, Seen seen) {
  Entry* entry = find(id);
  if (!entry || is_final(entry->status) || coming_again_) {
    status(id, std::move(seen));
    return 0;
  }
  Waiter& waiter = add_waiter(*entry, wait);
  waiter.seen = std::move(seen);
  return waiter.number;
}

std::uint64_t EmbeddedQueue::follow(std::string_view id, Position known, std::optional<milliseconds> wait,
                                    std::function<void(const JobView*, News)> seen) {
  Entry* entry = find(id);
  if (!entry) {
    stored_.follow(id, known, std::move(seen));
    return 0;
  }
  entry->read = std::max(entry->read, std::min(known.chunk, entry->last_chunk));
  make_room(*entry);
  if (known.chunk + 1 < entry->first_chunk()) {
    follow_stored(*entry, known, std::move(seen));
    return 0;
  }
  const bool at_once = coming_again_ && wait;
  if (is_final(entry->status) || known.chunk < entry->last_chunk || known.change < entry->changes || at_once) {
    JobView view = entry->view();
    seen(&view, news(*entry, known));
    return 0;
  }
  Waiter& waiter = add_waiter(*entry, wait);
  waiter.followed = std::move(seen);
  waiter.known = known;
  return waiter.number;
}

/// What is before the chunks in memory, from the journal. Of a lost attempt there may be nothing left: then the memory's.
void EmbeddedQueue::follow_stored(Entry& entry, Position known, std::function<void(const JobView*, News)> seen) {
  std::string id = entry.id;
  std::uint32_t end = entry.first_chunk();
  journal_.chunks(id, known.chunk + 1, kAtOnce,
                  [this, id, end, known, seen = std::move(seen)](std::vector<StoredChunk> stored) {
                    if (!journal_.unreadable().empty()) return seen(nullptr, {});
                    Entry* now = find(id);
                    if (!now) return stored_.follow(id, known, seen);
                    News told{{}, known};
                    for (StoredChunk& chunk : stored) {
                      if (chunk.number >= end) break;
                      told.position.chunk = chunk.number;
                      told.chunks.push_back(std::move(chunk.chunk));
                    }
                    if (told.chunks.empty()) told = news(*now, {end - 1, known.change});
                    JobView view = now->view();
                    seen(&view, std::move(told));
                  });
}

EmbeddedQueue::News EmbeddedQueue::news(const Entry& entry, Position known) const {
  News news;
  std::uint32_t number = std::max(known.chunk + 1, entry.first_chunk());
  news.position = {known.chunk, entry.changes};
  for (std::size_t bytes = 0; number <= entry.last_chunk && bytes < kAtOnce; ++number) {
    const Payload& chunk = entry.chunks[number - entry.first_chunk()];
    bytes += chunk.size();
    news.chunks.push_back(chunk);
    news.position.chunk = number;
  }
  return news;
}

void EmbeddedQueue::stop_waiting(std::uint64_t number) { take(number); }

/// Waits no more. Null: it did not.
std::unique_ptr<EmbeddedQueue::Waiter> EmbeddedQueue::take(std::uint64_t number) {
  auto found = waiters_.find(number);
  if (found == waiters_.end()) return nullptr;
  auto waiter = std::move(found->second);
  waiters_.erase(found);
  std::erase(waiter->entry->waiters, number);
  waiting_.clear(*waiter);
  return waiter;
}

void EmbeddedQueue::answer(Entry& entry, const Waiter& waiter) {
  if (waiter.polled) return give_unread(entry, {}, waiter.polled);
  JobView view = entry.view();
  if (waiter.followed) return waiter.followed(&view, news(entry, waiter.known));
  waiter.seen(&view);
}

void EmbeddedQueue::come_again() {
  coming_again_ = true;
  std::vector<std::uint64_t> all;
  for (const auto& [number, waiter] : waiters_) all.push_back(number);
  for (std::uint64_t number : all)
    if (auto waiter = take(number)) answer(*waiter->entry, *waiter);
}

std::uint64_t EmbeddedQueue::stream(std::string_view id, milliseconds wait, Unread seen) {
  Entry* entry = find(id);
  if (!entry) {
    stored_.poll(id, std::move(seen));
    return 0;
  }
  if (entry->polled + 1 < entry->first_chunk()) {
    poll_stored(*entry, std::move(seen));
    return 0;
  }
  if (is_final(entry->status) || entry->polled < entry->last_chunk || wait <= milliseconds(0) || coming_again_) {
    give_unread(*entry, {}, seen);
    return 0;
  }
  Waiter& waiter = add_waiter(*entry, wait);
  waiter.polled = std::move(seen);
  return waiter.number;
}

/// What is before the chunks in memory, from the journal. It counts as given from here on, so that nobody gets it twice;
/// what the journal did not give at once is left for the next poll.
void EmbeddedQueue::poll_stored(Entry& entry, Unread seen) {
  std::string id = entry.id;
  std::uint32_t from = std::exchange(entry.polled, entry.first_chunk() - 1) + 1;
  std::uint32_t end = entry.first_chunk();
  journal_.chunks(id, from, options_.stream_bytes_max,
                  [this, id, from, end, seen = std::move(seen)](std::vector<StoredChunk> stored) {
                    std::uint32_t last = end - 1;
                    std::vector<Payload> unread;
                    for (StoredChunk& chunk : stored) {
                      if (chunk.number >= end) continue;
                      last = chunk.number;
                      unread.push_back(std::move(chunk.chunk));
                    }
                    Entry* now = find(id);
                    if (!journal_.unreadable().empty()) {
                      if (now && now->polled + 1 == end) now->polled = from - 1;  // the next poll gets them
                      return seen(nullptr, {});
                    }
                    if (!now)
                      return look_up(id,
                                     [seen, unread = std::move(unread)](const JobView* view) { seen(view, unread); });
                    if (last + 1 == end || now->polled + 1 != end) return give_unread(*now, std::move(unread), seen);
                    now->polled = last;
                    journal_.polled(id, last);
                    JobView view = now->view();
                    view.status = Status::InProgress;  // whoever is told of the end asks no more
                    seen(&view, std::move(unread));
                  });
}

/// Gives what no poll has had yet, behind `unread`.
void EmbeddedQueue::give_unread(Entry& entry, std::vector<Payload> unread, const Unread& seen) {
  std::uint32_t from = std::max(entry.polled + 1, entry.first_chunk());
  unread.insert(unread.end(), entry.chunks.begin() + (from - entry.first_chunk()), entry.chunks.end());
  entry.polled = entry.read = entry.last_chunk;
  if (!unread.empty()) journal_.polled(entry.id, entry.polled);
  JobView view = entry.view();
  auto slowed = std::exchange(entry.slowed, {});
  make_room(entry);
  seen(&view, std::move(unread));
  for (auto& taken : slowed) taken();
}

void EmbeddedQueue::list(std::size_t most, std::function<void(std::span<const JobView>)> seen) const {
  std::vector<JobView> views;
  for (auto entry = live_->begin(); entry != live_->end() && views.size() < most; ++entry)
    views.push_back(entry->view());
  seen(views);
}

// ---- the dispatcher reports ----------------------------------------------------------------------------------------

void EmbeddedQueue::started(const Job& job, std::string_view worker_id, std::int64_t started_ms, int attempt) {
  Entry* entry = find(job.id);
  if (!entry || is_final(entry->status)) return;
  entry->status = Status::InProgress;
  entry->worker_id = worker_id;
  entry->started_ms = started_ms;
  entry->attempts = attempt;
  changed(*entry);
}

void EmbeddedQueue::requeued(const Job& job, const Payload& history) {
  Entry* entry = find(job.id);
  if (!entry || is_final(entry->status)) return;
  entry->history = history;
  entry->status = Status::InQueue;
  changed(*entry);
}

void EmbeddedQueue::progress(const Job& job, Payload value) {
  Entry* entry = find(job.id);
  if (!entry || is_final(entry->status)) return;
  entry->output = std::move(value);
  changed(*entry);
}

void EmbeddedQueue::chunk(const Job& job, std::uint32_t number, Payload value, std::function<void()> taken) {
  Entry* entry = find(job.id);
  if (!entry || is_final(entry->status) || number <= entry->last_chunk) return taken();
  entry->chunk_bytes += value.size();
  entry->chunks.push_back(std::move(value));
  entry->last_chunk = number;
  make_room(*entry);
  if (entry->chunk_bytes >= options_.stream_bytes_max)
    entry->slowed.push_back(std::move(taken));
  else
    taken();
  if (!entry->waiters.empty()) wake(*entry);
}

/// Lets chunks go that somebody has read, while there is too much of them.
void EmbeddedQueue::make_room(Entry& entry) {
  while (entry.chunk_bytes >= options_.stream_bytes_max && !entry.chunks.empty() && entry.first_chunk() <= entry.read) {
    std::size_t bytes = entry.chunks.front().size();
    entry.chunk_bytes -= bytes;
    if (!entry.is_linked()) kept_bytes_ -= std::min(kept_bytes_, bytes);  // it is among the finished ones
    entry.chunks.pop_front();
  }
  if (entry.chunk_bytes >= options_.stream_bytes_max) return;
  for (auto& taken : std::exchange(entry.slowed, {})) taken();
}

void EmbeddedQueue::report(const Job& job, const Outcome& outcome, std::function<void()> settled) {
  if (Entry* entry = find(job.id)) {
    entry->attempts = outcome.attempts;
    entry->worker_id = outcome.worker_id;
    entry->started_ms = outcome.started_ms;
    entry->execution_ms = outcome.execution_ms;
    entry->finished_ms = outcome.finished_ms;
    entry->history = outcome.history;
    if (entry->status != Status::Cancelled) {
      entry->status = outcome.status;
      entry->output = outcome.output;
      entry->error = outcome.error;
    }
    finish(*entry);
  }
  if (webhooks_ && !job.webhook.empty()) return webhooks_->deliver(job, std::move(settled));
  settled();
}

void EmbeddedQueue::finish(Entry& entry) {
  auto slowed = std::exchange(entry.slowed, {});
  if (entry.is_linked()) live_->erase(live_->iterator_to(entry));
  keep(entry);
  changed(entry);
  for (auto& taken : slowed) taken();
  drop_surplus();
}

void EmbeddedQueue::changed(Entry& entry) {
  ++entry.changes;
  if (!entry.waiters.empty()) wake(entry);
}

/// Calls who waits for what has happened: followers at any news, the first of the polls at a chunk, all others at the
/// end. One that is called may make another stop waiting, who must then not be called any more.
void EmbeddedQueue::wake(Entry& entry) {
  bool final = is_final(entry.status);
  bool unread = entry.polled < entry.last_chunk;
  std::vector<std::uint64_t> due;
  std::erase_if(entry.waiters, [&](std::uint64_t number) {
    const Waiter& waiter = *waiters_.at(number);
    bool news = waiter.followed && (waiter.known.change != kChunksOnly || waiter.known.chunk < entry.last_chunk);
    bool wanted = final || news || (waiter.polled && std::exchange(unread, false));
    if (wanted) due.push_back(number);
    return wanted;
  });
  for (std::uint64_t number : due)
    if (auto waiter = take(number)) answer(entry, *waiter);
}

// ---- retention -----------------------------------------------------------------------------------------------------

void EmbeddedQueue::keep(Entry& entry) {
  auto now = clock_.now();
  milliseconds retention = entry.sync ? options_.sync_retention : options_.async_retention;
  auto& list = entry.sync ? kept_sync_ : kept_async_;
  list.push_back({now.mono + retention, entry.id, entry.born});
  if (list.size() == 1 && alarm_) alarm_();
  kept_bytes_ += entry.bytes();
  if (entry.ttl && *entry.ttl < retention) {
    shortened_.set(entry, now.mono + *entry.ttl);
    journal_.expire(entry.id, now.wall_ms + entry.ttl->count());
    if (entry.heap_place == 0 && alarm_) alarm_();
  }
}

/// Who waited has been told; who asks later finds what is dropped here in the journal.
void EmbeddedQueue::drop_surplus() {
  while (kept_async_.size() + kept_sync_.size() > options_.kept_max || kept_bytes_ > options_.kept_bytes_max) {
    auto& from = kept_sync_.size() > 1 || kept_async_.empty() ? kept_sync_ : kept_async_;
    if (from.empty()) return;
    drop(from.front());
    from.pop_front();
  }
}

void EmbeddedQueue::shorten(std::string_view id, milliseconds ttl) {
  Entry* entry = find(id);
  if (!entry) return journal_.expire(id, clock_.now().wall_ms + ttl.count());
  if (!is_final(entry->status)) {
    entry->ttl = entry->ttl ? std::min(*entry->ttl, ttl) : ttl;
    return;
  }
  auto now = clock_.now();
  journal_.expire(id, now.wall_ms + ttl.count());
  auto at = now.mono + ttl;
  if (entry->heap_place != Deadlined::kNone && entry->deadline <= at) return;
  shortened_.set(*entry, at);
  if (entry->heap_place == 0 && alarm_) alarm_();
}

void EmbeddedQueue::drop(const Kept& kept) {
  auto found = entries_.find(kept.id);
  if (found != entries_.end() && found->second->born == kept.born) drop_now(*found->second);
}

void EmbeddedQueue::drop_now(Entry& entry) {
  if (entry.last_chunk != 0) stored_.note(entry.id, entry.polled);
  kept_bytes_ -= std::min(kept_bytes_, entry.bytes());
  erase(entry);
}

std::optional<std::chrono::steady_clock::time_point> EmbeddedQueue::wake_at() const {
  auto earliest = waiting_.earliest();
  if (auto shortened = shortened_.earliest(); shortened && (!earliest || *shortened < *earliest)) earliest = shortened;
  for (const auto* kept : {&kept_async_, &kept_sync_})
    if (!kept->empty() && (!earliest || kept->front().until < *earliest)) earliest = kept->front().until;
  return earliest;
}

void EmbeddedQueue::tick() {
  auto now = clock_.now().mono;
  while (Waiter* due = waiting_.pop_due(now)) {
    auto waiter = take(due->number);
    answer(*waiter->entry, *waiter);
  }
  while (Entry* due = shortened_.pop_due(now)) drop_now(*due);
  for (auto* kept : {&kept_async_, &kept_sync_})
    while (!kept->empty() && kept->front().until <= now) {
      drop(kept->front());
      kept->pop_front();
    }
}

}  // namespace bulkhead
