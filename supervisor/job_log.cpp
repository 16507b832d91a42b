#include "supervisor/job_log.hpp"

namespace bulkhead {

using observe::Kind;
using observe::Severity;

void JobLog::submit(Job job, std::function<void(Accepted)> answered) {
  if (!wanted()) return core_.submit(std::move(job), std::move(answered));
  std::string id = job.id, trace = job.traceparent;
  core_.submit(std::move(job), [this, id = std::move(id), trace = std::move(trace),
                                answered = std::move(answered)](Accepted accepted) {
    if (accepted.refusal == Refusal::None)
      write(log_.severity_of_jobs(), "accepted", {.job_id = id, .traceparent = trace, .kind = Kind::JobAccepted});
    answered(std::move(accepted));
  });
}

void JobLog::started(const Job& job, std::string_view worker_id, std::int64_t started_ms, int attempt) {
  if (wanted()) {
    runs_[job.id] = {.worker_id = std::string(worker_id), .attempt = attempt};
    write(log_.severity_of_jobs(), "started, attempt " + std::to_string(attempt),
          {.job_id = job.id,
           .worker_id = worker_id,
           .traceparent = job.traceparent,
           .attempt = attempt,
           .kind = Kind::JobStarted});
  }
  source_->started(job, worker_id, started_ms, attempt);
}

void JobLog::requeued(const Job& job, const Payload& history) {
  if (auto run = runs_.find(job.id); run != runs_.end()) {
    write(log_.severity_of_jobs(), "its attempt is over without a result: it waits to be run again",
          {.job_id = job.id,
           .worker_id = run->second.worker_id,
           .traceparent = job.traceparent,
           .attempt = run->second.attempt,
           .kind = Kind::JobRequeued});
    runs_.erase(run);
  }
  source_->requeued(job, history);
}

void JobLog::report(const Job& job, const Outcome& outcome, std::function<void()> settled) {
  runs_.erase(job.id);
  const bool lost =
      outcome.status == Status::TimedOut || (outcome.status == Status::Failed && outcome.error_type != "HandlerError");
  const Severity severity = lost ? Severity::Warn : log_.severity_of_jobs();
  if (log_.wants(severity)) {
    std::string text = "ended: " + std::string(to_string(outcome.status));
    if (!outcome.error_type.empty()) text += " (" + outcome.error_type + ")";
    text += ", after " + std::to_string(outcome.execution_ms) + " ms";
    write(severity, text,
          {.job_id = job.id,
           .worker_id = outcome.worker_id,
           .traceparent = job.traceparent,
           .attempt = outcome.attempts,
           .kind = lost ? Kind::JobLost : Kind::JobEnded});
  }
  source_->report(job, outcome, std::move(settled));
}

void JobLog::write(Severity severity, std::string_view text, const observe::About& about) {
  const auto now = clock_.now().mono;
  if (now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    lines_ = 0;
  }
  if (++lines_ > kMostLines) return void(++left_out_);
  if (left_out_ > 0)
    log_.write(severity, std::to_string(std::exchange(left_out_, 0)) + " lines about jobs were left out: more than " +
                             std::to_string(kMostLines) + " a second");
  log_.write(severity, text, about);
}

}  // namespace bulkhead
