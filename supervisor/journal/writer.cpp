// The writer takes what the loop has queued, a batch at a time, and writes each batch in one transaction: under load many
// jobs share one sync of the disk, and alone a job waits for none but its own.
//
// What it keeps true:
//  - Batches are written and handed back in the order of the calls, and nothing is handed back as written before its
//    transaction is.
//  - A transaction that fails is rolled back whole. What must not be lost (is_kept) is tried again at once without the rest;
//    if that fails too it moves to `kept_` and is tried again, before anything newer, until the disk takes it. The rest is
//    refused to its callers, at once while the next try is not due.
//  - Run numbers are reserved in blocks, durably at every level of durability, well before they are reached.
//
// Beside that it keeps house when nothing waits: sweeps of expired jobs ride on a batch's transaction or make one of their
// own; the log is copied back by the checkpointer's thread and finished off here; a file that is mostly free is shortened.
//
// Shutdown: the destructor sets `stopping_`; the thread writes what is queued, tries `kept_` a last time and ends; then the
// checkpointer ends, then the connections close, the last of them emptying the log.

#include "supervisor/journal/writer.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <utility>

#include "supervisor/journal/error.hpp"
#include "supervisor/journal/thread.hpp"

namespace bulkhead::journal {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::size_t kBatchOperations = 1024;
constexpr std::size_t kBatchBytes = std::size_t{16} << 20;
constexpr auto kLazyDelay = 20ms;

constexpr std::chrono::milliseconds kFirstBackoff = 50ms, kLastBackoff = 2s;

constexpr int kSweepLimit = 256;
constexpr std::chrono::milliseconds kSweepGap = 250ms, kSweepAtLeast = 60s;

constexpr std::chrono::milliseconds kIdle = 1s;
constexpr std::chrono::milliseconds kCheckpointGap = 10ms;
constexpr auto kSecretInLog = 10s;

}  // namespace

Writer::Writer(Connection connection, Connection checkpoints, Settings settings, std::function<void()> notify)
    : connection_(std::move(connection)),
      settings_(std::move(settings)),
      notify_(std::move(notify)),
      tables_(connection_, settings.letters),
      begin_(connection_, "BEGIN IMMEDIATE"),
      commit_(connection_, "COMMIT"),
      rollback_(connection_, "ROLLBACK"),
      page_count_(connection_, "PRAGMA page_count"),
      free_count_(connection_, "PRAGMA freelist_count"),
      page_size_(connection_.number("PRAGMA page_size")),
      reserved_(settings_.reserved),
      checkpointer_(std::move(checkpoints), [this] {
        std::lock_guard lock(mutex_);
        pass_done_ = true;
        if (waiting_) changed_.notify_one();
      }) {
  sqlite3_wal_hook(
      connection_.raw(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Writer*>(self)->wal_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  measure();
  next_expiry_ = tables_.next_expiry();
  schedule_sweep(settings_.wall_ms());
  // Whatever a predecessor left in the log, secrets perhaps among it, is copied back soon.
  wal_pages_ = 1;
  plan_checkpoint(steady_clock::now());
  thread_ = start_thread("journal-write", [this] { run(); });
}

Writer::~Writer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

// ---- the loop's side -----------------------------------------------------------------------------------------------

void Writer::push(Operation operation, std::size_t bytes) {
  bool lazy = is_lazy(operation.kind);
  bool wake;
  {
    std::lock_guard lock(mutex_);
    if (queue_.empty() || queue_.back().operations.size() >= kBatchOperations || queue_.back().bytes >= kBatchBytes) {
      if (spare_.empty()) spare_.emplace_back();
      queue_.push_back(std::move(spare_.back()));
      spare_.pop_back();
    }
    queue_.back().operations.push_back(std::move(operation));
    queue_.back().bytes += bytes;
    if (lazy) {
      wake = waiting_ && !urgent_ && lazy_deadline_ == kNever;
      if (lazy_deadline_ == kNever) lazy_deadline_ = steady_clock::now() + kLazyDelay;
    } else {
      wake = waiting_ && !urgent_;
      urgent_ = true;
    }
  }
  if (wake) changed_.notify_one();
}

void Writer::collect(std::vector<Batch>& done, Health& health) {
  std::lock_guard lock(mutex_);
  done.swap(done_);
  if (std::exchange(health_changed_, false)) {
    std::size_t unsaved = health.unsaved;  // the loop's own count
    health = health_;
    health.unsaved = unsaved;
  }
}

Histogram Writer::commit_times() const {
  std::lock_guard lock(mutex_);
  return commit_times_;
}

void Writer::recycle(Batch batch) {
  // A few, and none that an unusual burst has blown up.
  if (batch.operations.capacity() > 2 * kBatchOperations) return;
  batch.operations.clear();
  batch.bytes = 0;
  batch.kept = false;
  std::lock_guard lock(mutex_);
  if (spare_.size() < 4) spare_.push_back(std::move(batch));
}

// ---- the thread ----------------------------------------------------------------------------------------------------

void Writer::run() {
  for (;;) {
    Batch batch;
    {
      std::unique_lock lock(mutex_);
      wait(lock);
      if (due(steady_clock::now())) {
        batch = std::move(queue_.front());
        queue_.pop_front();
        if (queue_.empty()) {
          urgent_ = false;
          lazy_deadline_ = kNever;
        }
      } else if (stopping_) {
        break;
      }
    }
    if (!batch.operations.empty()) write(std::move(batch));
    maintain();
  }
  if (!kept_.operations.empty()) flush_kept();
}

void Writer::wait(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    Time now = steady_clock::now();
    if (stopping_ || pass_done_ || due(now)) return;
    Time until = next_timer();
    if (until <= now) return;
    waiting_ = true;
    if (until == kNever) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, until);
    }
    waiting_ = false;
  }
}

bool Writer::due(Time now) const {
  return !queue_.empty() && (urgent_ || stopping_ || queue_.size() > 1 || now >= lazy_deadline_);
}

Writer::Time Writer::next_timer() const {
  Time next = queue_.empty() ? kNever : lazy_deadline_;
  if (!writable_) next = std::min(next, retry_at_);
  if (writable_) next = std::min({next, sweep_at_, vacuum_at_});
  if (!pass_running_) next = std::min(next, checkpoint_at_);
  return next;
}

void Writer::write(Batch batch) {
  if (!writable_) {
    if (steady_clock::now() < retry_at_) return refuse(std::move(batch));
    if (!kept_.operations.empty() && !flush_kept()) return refuse(std::move(batch));
  }
  if (commit(batch, false)) {
    set_writable(true);
    return deliver(std::move(batch));
  }
  auto kept = [](const Operation& operation) { return is_kept(operation.kind); };
  std::error_code failure = failure_;
  bool some_kept = std::any_of(batch.operations.begin(), batch.operations.end(), kept);
  if (some_kept && commit(batch, true)) {
    for (Operation& operation : batch.operations) {
      if (!kept(operation) && operation.kind != Operation::Kind::Echo) operation.error = failure;
    }
    set_writable(true);
    return deliver(std::move(batch));
  }
  set_writable(false);
  refuse(std::move(batch));
}

/// One transaction. False: it was rolled back, and failure_ says why.
bool Writer::commit(Batch& batch, bool only_kept) {
  bool reserve = !writable_;  // something small to write, should the batch be empty: the try is worth its answer
  for (const Operation& operation : batch.operations) {
    if (operation.kind == Operation::Kind::Start && operation.run + kRunBlock / 2 >= reserved_) {
      reserve = true;
      settings_.reserved = std::max(settings_.reserved, operation.run + kRunBlock);
    }
  }
  try {
    if (connection_.in_transaction()) rollback_.run();
    const Time begun = steady_clock::now();
    if (reserve && settings_.relaxed) connection_.execute("PRAGMA synchronous = FULL");
    begin_.run();
    apply(batch, only_kept);
    if (reserve) tables_.reserve_runs(settings_.reserved);
    // Not while the disk is in doubt: room that a sweep would need in the log is for what must be kept.
    if (writable_ && !only_kept && steady_clock::now() >= sweep_at_) sweep();
    commit_.run();
    if (reserve && settings_.relaxed) connection_.execute("PRAGMA synchronous = NORMAL");
    reserved_ = settings_.reserved;
    after_commit(batch, only_kept);
    std::lock_guard lock(mutex_);
    commit_times_.add(std::chrono::duration_cast<std::chrono::microseconds>(last_write_ - begun));
    return true;
  } catch (const std::system_error& error) {
    failure_ = error.code();
    report("the journal cannot be written");
    if (next_expiry_) sweep_at_ = Time{};  // a sweep that was under way is undone
    // What cannot be rolled back now is rolled back before the next try.
    if (connection_.in_transaction()) sqlite3_exec(connection_.raw(), "ROLLBACK", nullptr, nullptr, nullptr);
    return false;
  }
}

void Writer::apply(Batch& batch, bool only_kept) {
  std::int64_t now_ms = settings_.wall_ms();
  std::uint64_t used = used_bytes_;
  for (Operation& operation : batch.operations) {
    if (only_kept && !is_kept(operation.kind)) continue;
    if (operation.kind == Operation::Kind::Accept) {
      used += std::get<Job>(operation.body).input.size();
      if (settings_.max_bytes != 0 && used > settings_.max_bytes) {
        operation.error = Fault::SizeLimit;
        continue;
      }
    }
    operation.error = tables_.apply(operation, now_ms);
  }
}

void Writer::after_commit(const Batch& batch, bool only_kept) {
  Time now = steady_clock::now();
  commits_.fetch_add(1, std::memory_order_relaxed);
  last_write_ = now;
  measure();
  using Kind = Operation::Kind;
  std::optional<std::int64_t> expiry;
  for (const Operation& operation : batch.operations) {
    if (only_kept && !is_kept(operation.kind)) continue;
    if (operation.kind == Kind::Settle || operation.kind == Kind::Expire) {
      expiry = std::min(expiry.value_or(operation.time_ms), operation.time_ms);
    }
    bool secret =
        (operation.kind == Kind::Finish && (operation.attached & kExtra) != 0) || operation.kind == Kind::Forget;
    if (operation.kind == Kind::Forget) expiry = 0;
    if (secret && !secret_since_) secret_since_ = now;
  }
  if (expiry && (!next_expiry_ || *expiry < *next_expiry_)) {
    next_expiry_ = expiry;
    schedule_sweep(settings_.wall_ms());
  }
  plan_checkpoint(now);
}

void Writer::measure() {
  std::int64_t pages = page_count_.step() ? page_count_.number(0) : 0;
  page_count_.reset();
  pages -= free_count_.step() ? free_count_.number(0) : 0;
  free_count_.reset();
  used_bytes_ = static_cast<std::uint64_t>(pages * page_size_);
}

void Writer::refuse(Batch batch) {
  for (Operation& operation : batch.operations) {
    operation.error = failure_;
    if (!is_kept(operation.kind)) continue;
    Operation& copy = kept_.operations.emplace_back();
    copy.kind = operation.kind;
    copy.attached = operation.attached;
    copy.number = operation.number;
    copy.key = operation.key;
    copy.run = operation.run;
    copy.time_ms = operation.time_ms;
    copy.text = operation.text;
    copy.body = operation.body;
  }
  deliver(std::move(batch));
}

bool Writer::flush_kept() {
  bool written = commit(kept_, false);
  set_writable(written);
  if (!written) return false;
  kept_.kept = true;
  deliver(std::exchange(kept_, {}));
  return true;
}

void Writer::deliver(Batch batch) {
  {
    std::lock_guard lock(mutex_);
    done_.push_back(std::move(batch));
  }
  notify_();
}

void Writer::report(const char* what) {
  std::string text = std::string(what) + ": " + failure_.message();
  int system = system_error(connection_.raw());
  if (failure_ == std::errc::io_error && system != 0) text += " (" + std::generic_category().message(system) + ")";
  std::lock_guard lock(mutex_);
  health_.error = failure_;
  health_.text = std::move(text);
  health_changed_ = true;
}

void Writer::set_writable(bool writable) {
  if (writable) {
    backoff_ = std::chrono::milliseconds(0);
  } else {
    backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kLastBackoff);
    retry_at_ = steady_clock::now() + backoff_;
  }
  if (writable == writable_) return;
  writable_ = writable;
  {
    std::lock_guard lock(mutex_);
    health_.writable = writable;
    health_changed_ = true;
  }
  notify_();
}

// ---- keeping house -------------------------------------------------------------------------------------------------

void Writer::maintain() {
  Time now = steady_clock::now();
  if (!writable_ && now >= retry_at_) {
    if (!kept_.operations.empty()) {
      flush_kept();
    } else {
      Batch probe;
      set_writable(commit(probe, false));
    }
  }
  bool pass_done;
  {
    std::lock_guard lock(mutex_);
    pass_done = std::exchange(pass_done_, false);
    if (pass_done) pass_running_ = false;
  }
  if (pass_done) {
    finish_checkpoint(now);
  } else if (now >= checkpoint_at_ && !pass_running_) {
    checkpoint_at_ = kNever;
    pass_running_ = true;
    checkpointer_.request();
  }
  if (writable_ && now >= sweep_at_) {
    Batch nothing;
    if (!commit(nothing, false)) set_writable(false);
  }
  if (writable_ && now >= vacuum_at_) vacuum(now);
}

void Writer::sweep() {
  std::int64_t now_ms = settings_.wall_ms();
  if (tables_.sweep(now_ms, kSweepLimit)) {
    sweep_at_ = Time{};  // with the next batch, or at once
    return;
  }
  next_expiry_ = tables_.next_expiry();
  schedule_sweep(now_ms);
}

void Writer::schedule_sweep(std::int64_t now_ms) {
  sweep_at_ = kNever;
  if (!next_expiry_) return;
  // Asked anew after a while however far it is: the wall clock may be set.
  milliseconds wait = std::clamp<milliseconds>(milliseconds(*next_expiry_ - now_ms), kSweepGap, kSweepAtLeast);
  sweep_at_ = steady_clock::now() + wait;
}

/// Decides when the log is next copied back: soon when it is long, else when nothing has been written for a while.
void Writer::plan_checkpoint(Time now) {
  if (wal_pages_ == 0) {
    checkpoint_at_ = kNever;
    return;
  }
  checkpoint_at_ = wal_pages_ >= settings_.log_pages ? now : std::max(last_write_, checkpoint_not_before_) + kIdle;
  if (secret_since_) checkpoint_at_ = std::min(checkpoint_at_, *secret_since_ + kSecretInLog);
  checkpoint_at_ = std::max(checkpoint_at_, checkpoint_not_before_);
}

/// The checkpointer has copied what was there when it began. Copies the few pages since, so that the log can begin anew;
/// in a quiet moment, or to be rid of erased secrets, it is cut to nothing, else its blocks are kept: overwriting them
/// costs half of what appending does.
void Writer::finish_checkpoint(Time now) {
  bool truncate = secret_since_ || now - last_write_ >= kIdle / 2;
  int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
  int pages = 0, copied = 0;
  sqlite3_busy_timeout(connection_.raw(), 20);  // a reader in the middle of something long: next time
  int code = sqlite3_wal_checkpoint_v2(connection_.raw(), "main", mode, &pages, &copied);
  sqlite3_busy_timeout(connection_.raw(), 10'000);
  if (code == SQLITE_OK && pages == copied) {
    wal_pages_ = 0;
    if (truncate) secret_since_.reset();
    if (truncate) vacuum_at_ = now;
  }
  bool failed = code != SQLITE_OK && code != SQLITE_BUSY;
  checkpoint_not_before_ = now + (failed ? kIdle : kCheckpointGap);
  if (failed) {
    // Commits may still succeed; should the log fill the disk, they will say so themselves.
    failure_ = std::error_code(code, sqlite_category());
    report("the journal's log cannot be copied back");
  }
  plan_checkpoint(now);
}

/// Gives pages back to the file system, a few at a time, when more than a quarter of the file is free.
void Writer::vacuum(Time now) {
  vacuum_at_ = kNever;
  try {
    std::int64_t free = connection_.number("PRAGMA freelist_count");
    if (free < 256 || free * 4 < connection_.number("PRAGMA page_count")) return;
    connection_.execute("PRAGMA incremental_vacuum(512)");
  } catch (const std::system_error& error) {
    failure_ = error.code();
    return report("the journal's file cannot be shortened");  // asked again after the next checkpoint
  }
  vacuum_at_ = now;
  last_write_ = now;
  plan_checkpoint(now);
}

}  // namespace bulkhead::journal
