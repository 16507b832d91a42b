// What this file keeps true:
//
// - Every submission is answered once, and an accepted job is reported once.
// - An event about a run reaches a record only while that run is the record's own: `runs_` has exactly the runs that
//   children hold or are about to be handed.
// - A child's messages about a run are acknowledged when what they said is durable, and not before.
// - A child that asked to be refreshed gets no further job, and is refreshed once nothing it said could still be lost.
//
// The lifecycle table (lifecycle.cpp) decides; `carry_out` is the only place where its effects become calls. Records
// are owned by `records_` and leave it in `forget`, after which nothing of them may be touched.

#include <algorithm>
#include <cassert>
#include <utility>

#include "supervisor/job/dispatch_record.hpp"
#include "supervisor/job/job_json.hpp"
#include "supervisor/job/trace_context.hpp"

namespace bulkhead {

Dispatcher::Dispatcher(DispatcherOptions options, const Clock& clock, Journal& journal, RunNumber first_run,
                       std::function<double()> random)
    : options_(options), clock_(clock), journal_(journal), next_run_(first_run), random_(std::move(random)) {}

Dispatcher::~Dispatcher() = default;

// ---- jobs come in --------------------------------------------------------------------------------------------------

Dispatcher::Record& Dispatcher::add(Job job) {
  auto record = std::make_unique<Record>();
  record->job = std::move(job);
  record->source = source_;
  Instant now = clock_.now();
  if (record->job.submitted_ms == 0) record->job.submitted_ms = now.wall_ms;
  record->expires = now.mono + record->job.policy.ttl - milliseconds(now.wall_ms - record->job.submitted_ms);
  Record& added = *record;
  records_.emplace(added.job.id, std::move(record));
  return added;
}

void Dispatcher::submit(Job job, std::function<void(Accepted)> answered) {
  if (draining_) return turn_away(Refusal::Draining, "the worker is shutting down", answered);
  if (scheduler_.queued() >= options_.queue_max)
    return turn_away(Refusal::Full, "the queue holds its maximum of " + std::to_string(options_.queue_max) + " jobs",
                     answered);
  if (records_.contains(job.id)) return turn_away(Refusal::Duplicate, "a job with this id exists", answered);
  Record& record = add(std::move(job));
  record.answer = std::move(answered);
  ++accepting_;
  const std::uint64_t answers = accepts_answered_;
  journal_.accept(record.job, [this, &record](std::error_code error) {
    ++accepts_answered_;
    record.refusal = error;
    on(record, error ? Event::Refused : Event::Accepted);
    pump();
  });
  // A job that nobody is before needs not wait for its own acceptance: the journal writes both at once.
  if (accepts_answered_ == answers) admit(record);
}

/// Hands a job that is still being accepted out, if it would be the next anyway.
void Dispatcher::admit(Record& record) {
  if (accepting_ > 1 || scheduler_.queued() > 0 || pumping_) return;
  scheduler_.submit(record, {});
  if (auto pair = scheduler_.next({}))
    assign(*pair);
  else
    scheduler_.remove(record);
}

bool Dispatcher::cancel(std::string_view id) {
  auto found = records_.find(id);
  if (found == records_.end() || is_over(found->second->state)) return false;
  want_stop(*found->second, Why::Cancel);
  pump();
  return true;
}

std::vector<std::string> Dispatcher::purge() {
  std::vector<std::string> purged;
  while (QueuePlace* place = scheduler_.first()) {
    Record& record = static_cast<Record&>(*place);
    purged.push_back(record.job.id);
    want_stop(record, Why::Cancel);
  }
  pump();
  return purged;
}

void Dispatcher::recover(std::vector<Recovered> jobs, const NeverEntered& never_entered, const HeldBy& held_by) {
  for (Recovered& known : jobs) {
    const WorkerNumber holder = known.run != 0 && !known.outcome && held_by ? held_by(known) : 0;
    recall_traceparent(known.job);
    Record& record = add(std::move(known.job));
    record.attempts = known.attempts;
    record.chunks = known.last_chunk;
    record.checkpoint = std::move(known.checkpoint);
    if (known.outcome) {
      record.state = State::Reporting;
      record.outcome = std::move(*known.outcome);
      report(record);
      continue;
    }
    if (holder != 0) {
      take_up(record, known, holder);
      continue;
    }
    record.state = State::Queued;
    if (known.run != 0 && never_entered && never_entered(known.run, known.worker_id)) {
      --record.attempts;
      journal_.requeue(record.job, known.run, false);
      enqueue(record, false);
      continue;
    }
    if (known.run == 0 || record.attempts < record.job.policy.max_attempts) {
      if (known.run != 0) journal_.requeue(record.job, known.run, true);
      enqueue(record, false);
      continue;
    }
    record.state = State::Finishing;
    record.started.wall_ms = known.started_ms;
    record.outcome.status = Status::Failed;
    record.outcome.error_type = "WorkerLost";
    record.outcome.worker_id = std::move(known.worker_id);
    record.outcome.error =
        lost_error("the supervisor ended while this job was running, and it may not be tried again", record.attempts);
    write_finish(record);
  }
  pump();
}

// ---- the table's effects become calls ------------------------------------------------------------------------------

void Dispatcher::on(Record& record, Event event) {
  Facts facts{.refused = static_cast<bool>(record.refusal),
              .stop = record.why != Why::None,
              .worker_gone = record.worker_gone,
              .may_retry = record.attempts < record.job.policy.max_attempts,
              .requeue_unentered = record.bystander <= options_.bystander_max};
  Transition transition = apply(record.state, event, facts);
  if (!transition.expected) return;
  if (transition.next == State::Finishing && record.state != State::Finishing) conclude(record, event);
  accepting_ += (transition.next == State::Accepting) - (record.state == State::Accepting);
  record.state = transition.next;
  carry_out(record, transition.effects);
}

void Dispatcher::carry_out(Record& record, Effect effects) {
  if (has(effects, Effect::AnswerAccepted)) {
    if (watcher_) watcher_->accepted();
    std::exchange(record.answer, nullptr)({});
  }
  if (has(effects, Effect::Dequeue)) scheduler_.remove(record);
  RunNumber run = record.run;
  if (has(effects, Effect::Release)) release(record);
  if (has(effects, Effect::WriteRequeue)) {
    --record.attempts;
    journal_.requeue(record.job, run, false);
  }
  if (has(effects, Effect::WriteLost)) {
    journal_.requeue(record.job, run, true);
    ++counts_.retried;
    if (watcher_) watcher_->retried();
    milliseconds backoff =
        std::min(options_.retry_backoff_max, options_.retry_backoff_min * (1 << std::min(record.attempts - 1, 20)));
    record.not_before = clock_.now().mono + std::chrono::duration_cast<milliseconds>(backoff * random_());
  }
  if (has(effects, Effect::WriteRequeue) || has(effects, Effect::WriteLost))
    if (record.source) record.source->requeued(record.job);
  if (has(effects, Effect::EnqueueFirst)) enqueue(record, true);
  if (has(effects, Effect::Enqueue)) enqueue(record, false);
  if (has(effects, Effect::SendCancel))
    workers_->cancel(record.run, record.why == Why::Cancel  ? StopReason::Cancel
                                 : record.why == Why::Drain ? StopReason::Drain
                                                            : StopReason::Timeout);
  if (has(effects, Effect::ArmStep)) arm(record);
  if (has(effects, Effect::Terminate)) return workers_->terminate(record.worker);
  if (has(effects, Effect::Kill))
    return workers_->kill(record.worker, "it did not stop job " + record.job.id + " when asked to");
  if (has(effects, Effect::WriteStart)) return write_start(record);
  if (has(effects, Effect::Send)) return send(record);
  if (has(effects, Effect::WriteFinish)) return write_finish(record);
  if (has(effects, Effect::Report)) return report(record);
  if (has(effects, Effect::AnswerRefused)) return refuse(record);
}

void Dispatcher::refuse(Record& record) {
  leave(record);
  auto answer = std::move(record.answer);
  bool known = record.refusal == std::errc::file_exists;
  std::string reason = "the journal cannot take the job: " + record.refusal.message();
  forget(record);
  turn_away(known ? Refusal::Duplicate : Refusal::StoreUnavailable, std::move(reason), answer);
}

void Dispatcher::enqueue(Record& record, bool first) {
  set_deadline(record, record.expires);
  if (first) return scheduler_.submit_first(record);
  scheduler_.submit(record, record.not_before ? clock_.now().mono : Scheduler::Time());
  if (record.not_before && alarm_) alarm_();
}

void Dispatcher::set_deadline(Record& record, std::chrono::steady_clock::time_point deadline) {
  deadlines_.set(record, deadline);
  if (record.heap_place == 0 && alarm_) alarm_();
}

/// Hands jobs out while there are both jobs and room. Not nested: a start that is durable at once leads back here.
void Dispatcher::pump() {
  if (pumping_) return;
  pumping_ = true;
  if (!draining_) {
    // The clock is read on the way of every job: only where somebody looks at it.
    auto now = scheduler_.wake_at() ? clock_.now().mono : Scheduler::Time();
    while (auto pair = scheduler_.next(now)) assign(*pair);
  }
  pumping_ = false;
  int room = draining_ ? 0 : std::max(0, scheduler_.free_now() - static_cast<int>(scheduler_.queued()));
  if (source_ && room != told_room_) source_->room(told_room_ = room);
}

void Dispatcher::assign(const Scheduler::Pair& pair) {
  Record& record = static_cast<Record&>(*pair.job);
  record.worker = pair.worker;
  record.in_window = pair.in_window;
  record.worker_gone = false;
  record.run = next_run_++;
  ++record.attempts;
  ++out_;
  ++known_workers_[pair.worker].open;
  runs_.emplace(record.run, &record);
  on(record, Event::Assigned);
}

void Dispatcher::write_start(Record& record) {
  record.started = clock_.now();
  journal_.start(record.job, record.run, record.attempts, known_workers_[record.worker].id, record.started.wall_ms,
                 [this, &record](std::error_code error) {
                   if (error) {
                     --record.attempts;
                     record.not_before = clock_.now().mono + options_.retry_backoff_min;
                   }
                   on(record, error ? Event::StartRefused : Event::StartWritten);
                   pump();
                 });
}

void Dispatcher::send(Record& record) {
  record.outcome.worker_id = known_workers_[record.worker].id;
  arm(record);
  if (record.source)
    record.source->started(record.job, record.outcome.worker_id, record.started.wall_ms, record.attempts);
  workers_->send({.worker = record.worker,
                  .run = record.run,
                  .job = &record.job,
                  .attempt = record.attempts,
                  .checkpoint = record.checkpoint});
}

/// The run is no longer the child's. What the child waits for (an acknowledgement, its refresh) comes when the outcome
/// is durable.
void Dispatcher::release(Record& record) {
  scheduler_.release(record.worker);
  runs_.erase(record.run);
  if (!is_over(record.state)) {
    record.run = 0;
    leave(record);
  }
}

/// Nothing of this record hangs on its child any more.
void Dispatcher::leave(Record& record) {
  WorkerNumber worker = std::exchange(record.worker, 0);
  if (worker == 0) return;
  --out_;
  auto known = known_workers_.find(worker);
  if (known == known_workers_.end()) return;  // it died meanwhile
  --known->second.open;
  if (known->second.open > 0 || !known->second.refresh) return;
  known->second.refresh = false;
  workers_->refresh(worker);
}

void Dispatcher::arm(Record& record) {
  const auto in = [&](milliseconds time) { set_deadline(record, clock_.now().mono + time); };
  switch (record.state) {
    case State::HandedOut:
      return set_deadline(record, std::min(record.expires, record.started.mono + record.job.policy.execution_timeout));
    case State::Stopping: return in(options_.stop_time);
    case State::Terminating: return in(options_.terminate_time);
    case State::Killing: return in(options_.kill_time);
    default: return;
  }
}

// ---- jobs end ------------------------------------------------------------------------------------------------------

void Dispatcher::conclude(Record& record, Event event) {
  deadlines_.clear(record);
  Outcome& outcome = record.outcome;
  if (record.why != Why::None) conclude_stopped(record, event);
  if (outcome.execution_ms == 0 && event != Event::Answered && record.run != 0 && is_out(record.state))
    outcome.execution_ms = std::chrono::duration_cast<milliseconds>(clock_.now().mono - record.started.mono).count();
  if (event != Event::Answered) record.run_time = milliseconds(outcome.execution_ms);
}

/// A stop was asked for: that decides how the job ended, whatever the handler made of it; only a drain, which is not
/// about the job, lets a result stand.
void Dispatcher::conclude_stopped(Record& record, Event event) {
  Outcome& outcome = record.outcome;
  auto end_as = [&](Status status, std::string_view error, std::string_view type) {
    outcome.status = status;
    outcome.output = {};
    outcome.error = error.empty() ? Payload() : text_error(error);
    outcome.error_type = type;
  };
  switch (record.why) {
    case Why::None: return;
    case Why::Cancel: return end_as(Status::Cancelled, "", "Cancelled");
    case Why::Timeout: return end_as(Status::Failed, "executionTimeout exceeded", "ExecutionTimeout");
    case Why::Expired: return end_as(Status::TimedOut, "", "Expired");
    case Why::Drain:
      if (event == Event::Answered) return;
      return end_as(Status::Failed, "the worker was shut down before this job finished", "Shutdown");
  }
}

void Dispatcher::write_finish(Record& record) {
  Outcome& outcome = record.outcome;
  outcome.attempts = record.attempts;
  outcome.started_ms = record.started.wall_ms;
  outcome.finished_ms = clock_.now().wall_ms;
  // An error is not a refusal here: the journal keeps the outcome and writes it when the disk is back.
  journal_.finish(record.job, outcome, [this, &record](std::error_code) { finish_written(record); });
}

void Dispatcher::finish_written(Record& record) {
  if (watcher_) watcher_->ended(record.job, record.outcome, record.run_time);
  if (record.result_seq != 0) workers_->acknowledge(record.run, record.result_seq);
  leave(record);
  on(record, Event::FinishWritten);
}

void Dispatcher::report(Record& record) {
  switch (record.outcome.status) {
    case Status::Completed: ++counts_.completed; break;
    case Status::Cancelled: ++counts_.cancelled; break;
    case Status::TimedOut: ++counts_.timed_out; break;
    default: ++counts_.failed;
  }
  // Whoever asked may be told late, when the receiver of its webhook is down for a while: what the job has in memory is
  // not kept for that. The journal has it.
  Outcome outcome = std::move(record.outcome);
  record.job.input = {};
  record.job.extra = {};
  record.checkpoint = {};
  auto settled = [this, &record] {
    journal_.settle(record.job);
    on(record, Event::Reported);
    forget(record);
  };
  if (record.source)
    record.source->report(record.job, outcome, settled);
  else
    settled();
}

void Dispatcher::forget(Record& record) {
  deadlines_.clear(record);
  scheduler_.remove(record);
  auto found = records_.find(record.job.id);
  assert(found != records_.end());
  auto kept = std::move(found->second);  // the key views the record: erase first, destroy after
  records_.erase(found);
}

// ---- stops and deadlines -------------------------------------------------------------------------------------------

void Dispatcher::want_stop(Record& record, Why why) {
  if (is_over(record.state)) return;
  // The first reason stands, but for a cancel: its client was told CANCELLED.
  if (record.why == Why::None || why == Why::Cancel) record.why = why;
  on(record, Event::StopWanted);
}

std::optional<std::chrono::steady_clock::time_point> Dispatcher::wake_at() const {
  auto deadline = deadlines_.earliest();
  auto retry = scheduler_.wake_at();
  if (!deadline || (retry && *retry < *deadline)) return retry;
  return deadline;
}

void Dispatcher::tick() {
  auto now = clock_.now().mono;
  while (Record* record = deadlines_.pop_due(now)) {
    if (record->state == State::Stopping || record->state == State::Terminating || record->state == State::Killing)
      on(*record, Event::StepDue);
    else
      want_stop(*record, now >= record->expires ? Why::Expired : Why::Timeout);
  }
  pump();
}

void Dispatcher::drain() {
  draining_ = true;
  pump();
}

void Dispatcher::stop_runs() {
  std::vector<Record*> running;
  for (auto& [run, record] : runs_) running.push_back(record);
  for (Record* record : running) want_stop(*record, Why::Drain);
}

void Dispatcher::stop_all() {
  std::vector<std::string> ids;
  for (auto& [id, record] : records_) ids.emplace_back(id);
  for (const std::string& id : ids)
    if (auto found = records_.find(id); found != records_.end()) want_stop(*found->second, Why::Drain);
}

std::size_t Dispatcher::open() const {
  return static_cast<std::size_t>(std::count_if(
      records_.begin(), records_.end(), [](const auto& entry) { return entry.second->state < State::Reporting; }));
}

Dispatcher::Counts Dispatcher::counts() const {
  Counts counts = counts_;
  counts.queued = static_cast<std::int64_t>(scheduler_.queued());
  counts.running = static_cast<std::int64_t>(runs_.size());
  return counts;
}

std::optional<std::int64_t> Dispatcher::oldest_ms() const {
  const QueuePlace* place = scheduler_.first();
  return place ? std::optional(static_cast<const Record&>(*place).job.submitted_ms) : std::nullopt;
}

// ---- what children say ---------------------------------------------------------------------------------------------

Dispatcher::Record* Dispatcher::find(RunNumber run) {
  auto found = runs_.find(run);
  return found == runs_.end() ? nullptr : found->second;
}

void Dispatcher::ready(WorkerNumber worker, std::string_view worker_id, int concurrency, int window) {
  Worker& known = known_workers_[worker];
  if (known.id.empty()) known.id = worker_id;
  scheduler_.set_room(worker, concurrency, window);
  pump();
}

void Dispatcher::retiring(WorkerNumber worker) { scheduler_.retire(worker); }

void Dispatcher::started(RunNumber run) {
  Record* record = find(run);
  if (!record || !record->in_window || record->state != State::HandedOut) return;
  record->in_window = false;
  record->started = clock_.now();
  arm(*record);
}

void Dispatcher::progress(RunNumber run, Payload value) {
  Record* record = find(run);
  if (!record || record->why != Why::None) return;
  journal_.progress(record->job, value);
  if (record->source) record->source->progress(record->job, std::move(value));
}

void Dispatcher::chunk(RunNumber run, std::uint32_t seq, Payload value) {
  Record* record = find(run);
  if (!record || record->why != Why::None) return workers_->acknowledge(run, seq);
  std::uint32_t number = ++record->chunks;
  // The journal answers in order, so this comes before the run's outcome is durable: the record is still there.
  auto written = [this, record, run, seq, number, value](std::error_code) {
    if (!record->source) return workers_->acknowledge(run, seq);
    record->source->chunk(record->job, number, value, [this, run, seq] { workers_->acknowledge(run, seq); });
  };
  if (number <= record->stored) return written({});
  journal_.chunk(record->job, run, number, value, std::move(written));
}

void Dispatcher::checkpoint(RunNumber run, std::uint32_t seq, Payload data) {
  Record* record = find(run);
  if (!record) return workers_->acknowledge(run, seq);
  record->checkpoint = data;
  journal_.checkpoint(record->job, run, std::move(data),
                      [this, run, seq](std::error_code) { workers_->acknowledge(run, seq); });
}

void Dispatcher::answered(RunNumber run, std::uint32_t seq, Outcome outcome, std::chrono::microseconds run_time,
                          bool refresh) {
  Record* record = find(run);
  if (!record) return workers_->acknowledge(run, seq);
  outcome.worker_id = std::move(record->outcome.worker_id);
  outcome.execution_ms = std::chrono::duration_cast<milliseconds>(run_time).count();
  record->run_time = run_time;
  outcome.refresh_worker = refresh;
  record->outcome = std::move(outcome);
  record->result_seq = seq;
  if (refresh) {
    known_workers_[record->worker].refresh = true;
    scheduler_.retire(record->worker);
    for (auto& [other, waiting] : runs_)
      if (waiting->worker == record->worker && other != run) workers_->recall(other);
  }
  on(*record, Event::Answered);
  pump();
}

void Dispatcher::succeeded(RunNumber run, std::uint32_t seq, Payload output, std::chrono::microseconds run_time,
                           bool refresh) {
  Outcome outcome;
  outcome.status = Status::Completed;
  outcome.output = std::move(output);
  answered(run, seq, std::move(outcome), run_time, refresh);
}

void Dispatcher::failed(RunNumber run, std::uint32_t seq, Payload error, Payload output,
                        std::chrono::microseconds run_time, bool refresh) {
  Outcome outcome;
  outcome.status = Status::Failed;
  outcome.output = std::move(output);
  outcome.error = std::move(error);
  outcome.error_type = "HandlerError";
  answered(run, seq, std::move(outcome), run_time, refresh);
}

void Dispatcher::handed_back(RunNumber run, std::uint32_t seq) {
  workers_->acknowledge(run, seq);
  Record* record = find(run);
  if (!record) return;
  on(*record, Event::HandedBack);
  pump();
}

void Dispatcher::log(const LogLine& line) {
  Record* record = line.run ? find(line.run) : nullptr;
  if (record && record->source) record->source->log(record->job, line);
  if (log_) log_(line, record ? &record->job : nullptr, record ? record->attempts : 0);
}

void Dispatcher::died(WorkerNumber worker, std::span<const Casualty> casualties) {
  scheduler_.retire(worker);
  for (const Casualty& casualty : casualties) {
    Record* record = find(casualty.run);
    if (!record) continue;
    record->outcome.status = Status::Failed;
    if (casualty.entered) {
      record->outcome.error = casualty.error;
      record->outcome.error_type = casualty.error_type;
    } else {
      ++record->bystander;
      record->outcome.error = lost_error(
          "handed to " + std::to_string(record->bystander) + " handler processes that died before starting it",
          record->attempts);
      record->outcome.error_type = "WorkerLost";
    }
    on(*record, casualty.entered ? Event::LostEntered : Event::LostUnentered);
  }
  // Jobs on their way to this child, of which it never heard, are not among the casualties.
  for (auto& [run, record] : runs_)
    if (record->worker == worker && (record->state == State::Starting || record->state == State::Admitting))
      record->worker_gone = true;
  scheduler_.remove_worker(worker);
  known_workers_.erase(worker);
  pump();
}

void Dispatcher::unhealthy(std::string reason, bool never_ready) {
  if (pool_health_) pool_health_(reason, never_ready);
}

void Dispatcher::healthy() {
  if (pool_health_) pool_health_({}, false);
}

}  // namespace bulkhead
