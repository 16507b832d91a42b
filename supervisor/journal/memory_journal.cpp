// The journal without a disk: every write is done when it returns, and its callback runs inside the call. It refuses
// what the other one refuses, so that a job that is accepted here would be accepted there.
//
// Live jobs are the core's own; what is kept of them is their id and key, and their chunks. A finished job is remembered
// until its retention ends, or until the memory for results is used up: then those go first that would expire first.

#include "supervisor/journal/memory_journal.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

#include "supervisor/journal/error.hpp"

namespace bulkhead::journal {
namespace {

/// Good to a few milliseconds, which is plenty for retention, and a tenth of the cost: it is read for every job.
std::int64_t system_ms() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

MemoryJournal::MemoryJournal(Options options) : options_(std::move(options)) {
  if (!options_.wall_ms) options_.wall_ms = system_ms;
  // A million numbers a millisecond: nobody catches up with the clock.
  next_run_ = static_cast<RunNumber>(std::max<std::int64_t>(options_.wall_ms(), 1)) * 1'000'000;
}

MemoryJournal::Record* MemoryJournal::find(std::string_view id) {
  if (auto place = live_.find(id); place != live_.end()) return &place->second;
  auto place = settled_.find(id);
  return place != settled_.end() ? &place->second : nullptr;
}

MemoryJournal::Record* MemoryJournal::live(const Job& job) {
  auto place = live_.find(job.id);
  return place != live_.end() ? &place->second : nullptr;
}

void MemoryJournal::accept(const Job& job, Written written) {
  trim(job.input.size());
  // What is left then is of jobs that are not settled: nothing that may be forgotten.
  if (options_.max_bytes_in_memory != 0 && bytes_ > options_.max_bytes_in_memory) return written(Fault::SizeLimit);
  if (!job.idempotency_key.empty()) {
    auto taken = ids_.find(job.idempotency_key);
    if (taken != ids_.end() && taken->second != job.id) return written(Fault::DuplicateKey);
  }
  if (auto old = settled_.find(job.id); old != settled_.end()) {
    if (old->second.remembered->outcome.status == Status::Completed) return written(Fault::Duplicate);
    erase_settled(old);
  }
  auto [place, fresh] = live_.try_emplace(job.id);
  if (!fresh) return written(Fault::Duplicate);
  place->second.born = ++born_;
  place->second.submitted_ms = job.submitted_ms;
  place->second.input = job.input;
  by_age_.emplace_hint(by_age_.end(), born_, &*place);
  if (!job.idempotency_key.empty()) {
    place->second.idempotency_key = job.idempotency_key;
    ids_[job.idempotency_key] = job.id;
  }
  written({});
}

void MemoryJournal::start(const Job& job, RunNumber run, int attempt, std::string_view worker_id,
                          std::int64_t started_ms, Written written) {
  Record* record = live(job);
  if (record == nullptr) return written(Fault::UnknownJob);
  if (record->remembered) return written(Fault::Stale);
  record->run = run;
  record->attempts = attempt;
  record->worker_id = worker_id;
  record->started_ms = started_ms;
  for (const auto& [number, chunk] : record->chunks) {
    record->bytes -= chunk.size();
    bytes_ -= chunk.size();
  }
  record->chunks.clear();
  written({});
}

void MemoryJournal::requeue(const Job& job, RunNumber run, bool counted) {
  Record* record = live(job);
  if (record == nullptr || record->run != run) return;
  record->run = 0;
  record->worker_id.clear();
  record->started_ms = 0;
  if (!counted) --record->attempts;
}

void MemoryJournal::history(const Job& job, const Payload& attempts, int, Payload crash, Written written) {
  Record* record = live(job);
  if (record == nullptr) return written(Fault::UnknownJob);
  record->history = attempts;
  constexpr std::size_t kCrashesKept = 8;
  if (!crash.empty()) record->crashes.push_back(std::move(crash));
  if (record->crashes.size() > kCrashesKept) record->crashes.erase(record->crashes.begin() + 1);
  written({});
}

/// Letters have a budget of their own: an eighth of the memory for results.
void MemoryJournal::trim_dead() {
  const std::int64_t oldest = options_.wall_ms() - options_.dead_ttl.count();
  const std::size_t most = options_.max_bytes_in_memory / 8;
  while (!dead_.empty() && (dead_.size() > options_.dead_max || dead_.front().outcome.finished_ms <= oldest ||
                            (most != 0 && dead_bytes_ > most))) {
    dead_bytes_ -= dead_.front().job.input.size();
    dead_.pop_front();
  }
}

void MemoryJournal::dead_letters(std::size_t most, std::function<void(std::vector<DeadLetter>)> found) {
  trim_dead();
  std::vector<DeadLetter> some;
  for (auto letter = dead_.rbegin(); letter != dead_.rend() && some.size() < most; ++letter) {
    some.push_back(*letter);
    some.back().job.input = {};
    some.back().records.clear();
  }
  found(std::move(some));
}

void MemoryJournal::dead_letter(std::string_view id, std::function<void(std::optional<DeadLetter>)> found) {
  trim_dead();
  for (const DeadLetter& letter : dead_)
    if (letter.job.id == id) return found(letter);
  found(std::nullopt);
}

void MemoryJournal::drop_dead(std::string_view id) {
  for (auto letter = dead_.begin(); letter != dead_.end(); ++letter) {
    if (letter->job.id != id) continue;
    dead_bytes_ -= letter->job.input.size();
    dead_.erase(letter);
    return;
  }
}

void MemoryJournal::finish(const Job& job, const Outcome& outcome, Written written) {
  Record* record = live(job);
  if (record == nullptr) return written(Fault::UnknownJob);
  if (record->remembered) return written({});
  record->run = 0;
  record->input = record->history = {};
  if (outcome.dead) {
    drop_dead(job.id);
    dead_.push_back({job, outcome, std::exchange(record->crashes, {})});
    dead_.back().job.extra = {};
    dead_bytes_ += job.input.size();
    trim_dead();
  }
  record->remembered.emplace(Remembered{job, outcome});
  Job& kept = record->remembered->job;
  kept.extra = {};
  if (outcome.status == Status::Completed) kept.input = {};
  std::int64_t finished_ms = outcome.finished_ms != 0 ? outcome.finished_ms : options_.wall_ms();
  record->expires_ms = finished_ms + (job.sync ? options_.sync_retention : options_.retention).count();
  std::size_t bytes = kept.input.size() + outcome.output.size() + outcome.error.size() + kRecordBytes;
  record->bytes += bytes;
  bytes_ += bytes;
  written({});
}

void MemoryJournal::settle(const Job& job) {
  auto place = live_.find(job.id);
  if (place == live_.end() || !place->second.remembered) return;
  auto settled = settled_.insert(live_.extract(place)).position;
  list(settled->first, settled->second);
  trim();
}

void MemoryJournal::chunk(const Job& job, RunNumber run, std::uint32_t number, Payload chunk, Written written) {
  Record* record = live(job);
  if (record == nullptr) return written(Fault::UnknownJob);
  if (record->remembered || record->run != run) return written(Fault::Stale);
  if (number > kMaxChunks) return written(Fault::OutOfRange);
  std::size_t bytes = chunk.size();
  trim(bytes);
  if (options_.max_bytes_in_memory != 0 && bytes_ + bytes > options_.max_bytes_in_memory)
    return written(Fault::SizeLimit);
  if (record->chunks.try_emplace(number, std::move(chunk)).second) {
    record->bytes += bytes;
    bytes_ += bytes;
  }
  written({});
}

void MemoryJournal::checkpoint(const Job& job, RunNumber run, Payload, Written written) {
  Record* record = live(job);
  if (record == nullptr) return written(Fault::UnknownJob);
  if (record->remembered || record->run != run) return written(Fault::Stale);
  written({});
}

void MemoryJournal::lookup(std::string_view id, std::function<void(std::optional<Remembered>)> found) {
  Record* record = find(id);
  bool known = record != nullptr && record->remembered && record->expires_ms > options_.wall_ms();
  found(known ? record->remembered : std::nullopt);
}

void MemoryJournal::lookup_unsettled(std::string_view id, std::function<void(std::optional<Remembered>)> found) {
  auto place = live_.find(id);
  found(place != live_.end() ? place->second.remembered : std::nullopt);
}

void MemoryJournal::forget(std::string_view id) {
  if (auto place = live_.find(id); place != live_.end()) {
    release(place->second);
    live_.erase(place);
  }
  if (auto place = settled_.find(id); place != settled_.end()) erase_settled(place);
}

void MemoryJournal::chunks(std::string_view id, std::uint32_t from, std::size_t max_bytes,
                           std::function<void(std::vector<StoredChunk>)> found) {
  std::vector<StoredChunk> some;
  Record* record = find(id);
  if (record != nullptr && (!record->remembered || record->expires_ms > options_.wall_ms())) {
    std::size_t bytes = 0;
    for (auto next = record->chunks.lower_bound(from); next != record->chunks.end(); ++next) {
      bytes += next->second.size();
      if (!some.empty() && bytes > max_bytes) break;
      some.push_back({next->first, next->second});
    }
  }
  found(std::move(some));
}

void MemoryJournal::unread(std::string_view id, std::uint32_t after, std::size_t max_bytes,
                           std::function<void(std::vector<StoredChunk>)> found) {
  if (Record* record = find(id)) after = std::max(after, record->polled);
  chunks(id, after + 1, max_bytes, std::move(found));
}

void MemoryJournal::polled(std::string_view id, std::uint32_t number) {
  if (Record* record = find(id)) record->polled = number;
}

void MemoryJournal::lookup_key(std::string_view key, std::function<void(std::optional<std::string>)> found) {
  auto place = ids_.find(key);
  Record* record = place != ids_.end() ? find(place->second) : nullptr;
  bool known = record != nullptr && (!record->remembered || record->expires_ms > options_.wall_ms());
  found(known ? std::optional(place->second) : std::nullopt);
}

void MemoryJournal::expire(std::string_view id, std::int64_t at_ms) {
  Record* record = find(id);
  if (record == nullptr || !record->remembered || record->expires_ms <= at_ms) return;
  auto settled = settled_.find(id);
  if (settled != settled_.end()) unlist(settled->first, *record);
  record->expires_ms = at_ms;
  if (settled != settled_.end()) list(settled->first, *record);
  trim();
}

bool MemoryJournal::is_known(const Record& record) const {
  return !record.remembered || record.expires_ms > options_.wall_ms();
}

ListedJob MemoryJournal::listed(const std::string& id, const Record& record) const {
  ListedJob job;
  job.id = id;
  job.submitted_ms = record.submitted_ms;
  job.started_ms = record.started_ms;
  job.worker_id = record.worker_id;
  job.attempts = record.attempts;
  job.status = record.run == 0 ? Status::InQueue : Status::InProgress;
  if (!record.remembered) return job;
  const Outcome& outcome = record.remembered->outcome;
  job.status = outcome.status;
  job.started_ms = outcome.started_ms;
  job.finished_ms = outcome.finished_ms;
  job.execution_ms = outcome.execution_ms;
  job.worker_id = outcome.worker_id;
  job.attempts = outcome.attempts;
  job.error_type = outcome.error_type;
  return job;
}

void MemoryJournal::jobs(JobsQuery query, std::function<void(JobsPage)> found) {
  constexpr int kAtOnce = 2'000;  // about half a millisecond of the loop's time
  JobsPage page;
  auto place = query.before != 0 ? by_age_.lower_bound(query.before) : by_age_.end();
  for (int looked_at = 0; place != by_age_.begin(); ++looked_at) {
    if (looked_at == kAtOnce || page.jobs.size() == query.limit) {
      page.before = place->first;
      break;
    }
    const auto& [id, record] = *(--place)->second;
    if (!is_known(record)) continue;
    if (ListedJob job = listed(id, record); query.takes(job)) page.jobs.push_back(std::move(job));
  }
  found(std::move(page));
}

void MemoryJournal::record(std::string_view id, std::size_t most, std::function<void(std::optional<JobRecord>)> found) {
  const Record* known = find(id);
  if (known == nullptr || !is_known(*known)) return found(std::nullopt);
  JobRecord record;
  record.listed = listed(std::string(id), *known);
  record.input = known->remembered ? known->remembered->job.input : known->input;
  record.input_size = static_cast<std::int64_t>(record.input.size());
  if (record.input.size() > most) record.input = {};
  record.history = known->history;
  if (known->remembered) {
    record.output = known->remembered->outcome.output;
    record.error = known->remembered->outcome.error;
    record.history = known->remembered->outcome.history;
  }
  if (!known->crashes.empty()) record.crash = known->crashes.back();
  if (!known->chunks.empty()) record.chunks = known->chunks.rbegin()->first;
  found(std::move(record));
}

void MemoryJournal::release(const Record& record) {
  if (!record.idempotency_key.empty()) ids_.erase(record.idempotency_key);
  bytes_ -= record.bytes;
  by_age_.erase(record.born);
}

void MemoryJournal::erase_settled(Records::iterator place) {
  unlist(place->first, place->second);
  release(place->second);
  settled_.erase(place);
}

void MemoryJournal::list(const std::string& id, const Record& record) {
  expiry_.emplace_hint(expiry_.end(), record.expires_ms, &id);  // most often the last to expire
}

void MemoryJournal::unlist(const std::string& id, const Record& record) {
  auto [first, last] = expiry_.equal_range(record.expires_ms);
  auto entry = std::find_if(first, last, [&](const auto& candidate) { return candidate.second == &id; });
  if (entry != last) expiry_.erase(entry);
}

void MemoryJournal::trim(std::size_t room) {
  std::int64_t now = options_.wall_ms();
  while (!expiry_.empty() && (expiry_.begin()->first <= now ||
                              (options_.max_bytes_in_memory != 0 && bytes_ + room > options_.max_bytes_in_memory))) {
    erase_settled(settled_.find(*expiry_.begin()->second));
  }
}

}  // namespace bulkhead::journal
