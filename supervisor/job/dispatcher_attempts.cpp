// Attempts that end without a result: which of them are tried again, when, and what is told of them.
//
// The lifecycle table is asked with one fact, may_retry, which is judged here from the job's policy; how an attempt was lost
// is known by the state it was in, the reason it was stopped for, and the event that ended it.

#include <algorithm>
#include <utility>

#include "supervisor/job/dispatch_record.hpp"
#include "supervisor/job/history.hpp"

namespace bulkhead {

/// The word for it in a history.
std::string_view Dispatcher::reason_of(const Record& record) {
  switch (record.why) {
    case Why::None: break;
    case Why::Cancel: return "cancelled";
    case Why::Timeout: return "timeout";
    case Why::Stall: return "stall";
    case Why::Quarantined: return "quarantined";
    case Why::Expired: return "expired";
    case Why::Drain:
      if (record.outcome.error_type == "Shutdown") return "shutdown";
      break;  // its handler was faster
  }
  if (record.loss == kLostByCrash) return "crash";
  if (record.loss == kLostByLoss) return "lost";
  return record.outcome.status == Status::Completed ? "completed" : "error";
}

/// How the attempt is lost that this event ends; none where it is not, or where the job is to end with it.
std::optional<Loss> Dispatcher::loss_of(const Record& record, Event event) {
  if (!is_out(record.state)) return std::nullopt;
  if (record.why == Why::Timeout || record.why == Why::Stall) return kLostByTimeout;
  if (record.why != Why::None) return std::nullopt;
  if (event == Event::LostEntered) return record.outcome.error_type == kWorkerLost ? kLostByLoss : kLostByCrash;
  if (event == Event::LostUnentered) return kLostByLoss;
  if (event == Event::Answered && record.outcome.status == Status::Failed) return kLostByError;
  return std::nullopt;
}

bool Dispatcher::may_retry(const Record& record, Event event) {
  const Policy& policy = record.job.policy;
  if (record.attempts >= policy.max_attempts) return false;
  const auto loss = loss_of(record, event);
  return loss && policy.retries(*loss);
}

void Dispatcher::add_to_history(Record& record, std::string_view reason, std::string_view error_type) {
  record.history = with_attempt(record.history, {.attempt = record.attempts,
                                                 .started_ms = record.started.wall_ms,
                                                 .ended_ms = clock_.now().wall_ms,
                                                 .worker_id = record.outcome.worker_id,
                                                 .reason = reason,
                                                 .error_type = error_type,
                                                 .from_checkpoint = record.from_checkpoint});
}

/// The attempt is over, and there will be another.
void Dispatcher::lose(Record& record, Event event) {
  record.loss = loss_of(record, event);
  std::string_view type = record.outcome.error_type;
  if (record.loss == kLostByTimeout) type = record.why == Why::Stall ? "Stalled" : "ExecutionTimeout";
  add_to_history(record, reason_of(record), type);
}

void Dispatcher::write_lost(Record& record, RunNumber run) {
  record.chunks = std::max(record.chunks, record.stored);  // the next attempt's go behind all that were delivered
  journal_.requeue(record.job, run, true);
  const std::uint32_t seq = std::exchange(record.result_seq, 0);
  Payload crash = record.loss == kLostByCrash ? std::move(record.outcome.error) : Payload();
  journal_.history(record.job, record.history, record.attempts, std::move(crash), [this, run, seq](std::error_code) {
    if (seq != 0) workers_->acknowledge(run, seq);
  });
  ++counts_.retried;
  if (watcher_) watcher_->retried();
  record.outcome = {};
  record.why = Why::None;
  const Policy& policy = record.job.policy;
  const milliseconds least = policy.retry_backoff_min;
  const milliseconds most = std::min(policy.retry_backoff_max, least * (1 << std::min(record.attempts, 20)));
  const auto more = std::chrono::duration_cast<milliseconds>(std::max(most - least, milliseconds(0)) * random_());
  record.not_before = clock_.now().mono + least + more;
}

/// Its attempt was under way when the last supervisor ended.
void Dispatcher::lost_with_supervisor(Record& record, const Recovered& known) {
  record.started.wall_ms = known.started_ms;
  record.from_checkpoint = known.from_checkpoint;
  record.outcome.worker_id = known.worker_id;
  add_to_history(record, "lost", "WorkerLost");
  const Policy& policy = record.job.policy;
  if (record.attempts < policy.max_attempts && policy.retries(kLostByLoss)) {
    journal_.requeue(record.job, known.run, true);
    journal_.history(record.job, record.history, record.attempts, {}, [](std::error_code) {});
    record.outcome = {};
    return enqueue(record, false);
  }
  record.state = State::Finishing;
  record.outcome.status = Status::Failed;
  record.outcome.error_type = "WorkerLost";
  record.outcome.history = record.history;
  record.outcome.error = with_history(
      lost_error("the supervisor ended while this job was running, and it may not be tried again", record.attempts),
      record.attempts > 1 ? record.history : Payload());
  write_finish(record);
}

/// Where an attempt was lost, this one or one before it, the outcome tells of them all.
void Dispatcher::note_end(Record& record, Event event) {
  const bool attempted = is_out(record.state);
  Outcome& outcome = record.outcome;
  record.loss = loss_of(record, event);
  outcome.dead = record.loss == kLostByCrash || (record.why == Why::Quarantined && record.attempts > 0);
  const bool lost = record.loss && record.loss != kLostByError;
  if (attempted && (lost || !record.history.empty())) add_to_history(record, reason_of(record), outcome.error_type);
  outcome.history = record.history;
  if (record.attempts > 1) outcome.error = with_history(outcome.error, outcome.history);
}

}  // namespace bulkhead
