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
  const Suspect* suspect = suspect_of(record);
  const bool suspicious = suspect != nullptr;
  if (suspect && suspect->crashes >= options_.quarantine) refuse_as_suspect(record, *suspect);
  ++accepting_;
  const std::uint64_t answers = accepts_answered_;
  journal_.accept(record.job, [this, &record](std::error_code error) {
    ++accepts_answered_;
    record.refusal = error;
    on(record, error ? Event::Refused : Event::Accepted);
    pump();
  });
  // A job that nobody is before needs not wait for its own acceptance: the journal writes both at once.
  if (accepts_answered_ == answers && !suspicious) admit(record);
}

/// Hands a job that is still being accepted out, if it would be the next anyway.
void Dispatcher::admit(Record& record) {
  if (accepting_ > 1 || scheduler_.queued() > 0 || pumping_ || held_) return;
  scheduler_.submit(record, {});
  if (auto pair = scheduler_.next({}))
    assign(*pair);
  else
    scheduler_.remove(record);
}

bool Dispatcher::cancel(std::string_view id) {
  auto found = records_.find(id);
  if (found == records_.end() || is_over(found->second->state)) return false;
  Record& record = *found->second;
  // Before anything else is: behind it the record may be gone.
  if (record.why != Why::Cancel && record.run != 0) journal_.cancelling(record.job, record.run);
  want_stop(record, Why::Cancel);
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
    record.history = std::move(known.history);
    if (known.outcome) {
      record.state = State::Reporting;
      record.outcome = std::move(*known.outcome);
      report(record);
      continue;
    }
    if (holder != 0) {
      take_up(record, known, holder);
      if (known.cancelled) want_stop(record, Why::Cancel);
      continue;
    }
    record.state = State::Queued;
    if (known.cancelled) {
      record.started.wall_ms = known.started_ms;
      record.outcome.worker_id = known.worker_id;
      want_stop(record, Why::Cancel);
      continue;
    }
    if (known.run != 0 && never_entered && never_entered(known.run, known.worker_id)) {
      --record.attempts;
      journal_.requeue(record.job, known.run, false);
      enqueue(record, false);
      continue;
    }
    if (known.run == 0) {
      enqueue(record, false);
      continue;
    }
    lost_with_supervisor(record, known);
  }
  pump();
}

// ---- the table's effects become calls ------------------------------------------------------------------------------

void Dispatcher::on(Record& record, Event event) {
  Facts facts{.refused = static_cast<bool>(record.refusal),
              .stop = record.why != Why::None,
              .worker_gone = record.worker_gone,
              .may_retry = may_retry(record, event),
              .requeue_unentered = record.bystander <= options_.bystander_max};
  Transition transition = apply(record.state, event, facts);
  if (!transition.expected) return;
  if (transition.next == State::Finishing && record.state != State::Finishing) conclude(record, event);
  if (has(transition.effects, Effect::WriteLost)) lose(record, event);
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
    record.chunks = std::max(record.chunks, record.stored);
    journal_.requeue(record.job, run, false);
  }
  if (has(effects, Effect::WriteLost)) write_lost(record, run);
  if (has(effects, Effect::WriteRequeue) || has(effects, Effect::WriteLost))
    if (record.source) record.source->requeued(record.job, record.history);
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
  if (!draining_ && !held_) {
    // The clock is read on the way of every job: only where somebody looks at it.
    auto now = scheduler_.wake_at() ? clock_.now().mono : Scheduler::Time();
    while (auto pair = scheduler_.next(now)) {
      if (hold_back(static_cast<Record&>(*pair->job)))
        scheduler_.release(pair->worker);
      else
        assign(*pair);
    }
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
                     record.not_before = clock_.now().mono + options_.start_again;
                   }
                   on(record, error ? Event::StartRefused : Event::StartWritten);
                   pump();
                 });
}

void Dispatcher::send(Record& record) {
  record.from_checkpoint = !record.checkpoint.empty();
  begin_watch(record);
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
    case State::HandedOut: {
      auto deadline = std::min(record.expires, record.started.mono + record.job.policy.execution_timeout);
      return set_deadline(record, std::min(deadline, next_look(record)));
    }
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
  note_end(record, event);
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
    case Why::Stall:
      end_as(Status::Failed, "stalled: no sign of life within policy.stallTimeout", "Stalled");
      if (!record.stall_record.empty()) outcome.error = record.stall_record;
      return;
    case Why::Quarantined:
      outcome.status = Status::Failed;
      outcome.error_type = "Quarantined";
      return;
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
  if (!outcome.history.empty())
    journal_.history(record.job, outcome.history, record.attempts,
                     record.loss == kLostByCrash ? outcome.error : Payload(), [](std::error_code) {});
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
  auto retry = draining_ ? std::nullopt : scheduler_.wake_at();  // what waits for its next attempt gets none
  if (!refused_checkpoints_.empty()) {
    const auto again = refused_checkpoints_.front().again;
    retry = retry ? std::min(*retry, again) : again;
  }
  if (!deadline || (retry && *retry < *deadline)) return retry;
  return deadline;
}

void Dispatcher::tick() {
  auto now = clock_.now().mono;
  while (Record* record = deadlines_.pop_due(now)) {
    if (record->state == State::Stopping || record->state == State::Terminating || record->state == State::Killing)
      on(*record, Event::StepDue);
    else if (now >= record->expires)
      want_stop(*record, Why::Expired);
    else if (now >= record->started.mono + record->job.policy.execution_timeout)
      want_stop(*record, Why::Timeout);
    else
      look_for_life(*record);
  }
  write_refused_checkpoints(now);
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

}  // namespace bulkhead
