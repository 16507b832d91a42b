// How a child ends, once its process has: see the order in worker.hpp.
//
// Two things go on side by side and meet in `bury` and `finish`: reading what the child had still said (judge, then
// report), and ending what it left behind (strays_ended). The process is reaped only after both its strays are gone and
// its black box was read; the worker is given up only after the core was told, too.

#include <cassert>
#include <utility>

#include "supervisor/pool/hidden_modules.hpp"
#include "supervisor/pool/worker.hpp"

namespace bulkhead::pool {
namespace {

/// A JSON text as a JSON string. It has no control characters to escape: a JSON text has none.
std::string json_string(std::string_view json) {
  std::string text = "\"";
  for (const char c : json) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

}  // namespace

void Worker::process_ended() {
  ended_at_ = std::chrono::steady_clock::now();
  if (state_ < WorkerState::Ending) become(WorkerState::Ending);
  timer_.cancel();
  site_.link.look();  // may lead to judge: everything had come
  if (judged_) return;
  if (!line_->connected() || line_->closed()) return judge();
  leave();
  end_strays();  // one of them may hold the connection
  arm(site_.options.reading_time, &Worker::judge);
}

void Worker::never_began(const LaunchFailure& failure) {
  launch_failure_ = failure;
  ended_at_ = std::chrono::steady_clock::now();
  timer_.cancel();
  line_.reset();
  judged_ = ending_strays_ = strays_ended_ = buried_ = reported_ = true;
  become(WorkerState::Dead);
  site_.owner.dead(*this);
  finish();
}

void Worker::end_strays() {
  if (std::exchange(ending_strays_, true)) return;
  process_.end_strays([this](const process::StrayReport& strays) { strays_ended(strays); });
}

void Worker::strays_ended(const process::StrayReport& strays) {
  strays_ended_ = true;
  if (strays.count > 0) {
    std::string text = "ended " + std::to_string(strays.count) + " of the processes it had started and left behind:";
    for (const process::Stray& stray : strays.ended) text += ' ' + stray.name + '(' + std::to_string(stray.pid) + ')';
    say(text);
  }
  for (const process::Stray& stray : strays.survivors)
    say("its process " + std::to_string(stray.pid) + " (" + stray.name + ") does not die");
  bury();
}

/// Nothing more will come of it: which of its runs had been entered, and what is known of the crash?
void Worker::judge() {
  if (std::exchange(judged_, true)) return;
  timer_.cancel();
  process_.drain_output();
  line_.reset();
  leave();
  become(WorkerState::Dead);

  bool crashed = false;
  const auto words = open_.empty() ? std::nullopt : process_.last_words();
  for (Run& run : open_) {
    run.started = run.started || !words || words->was_entered(run.number);
    run.left = words && words->was_left(run.number);
    crashed = crashed || run.started;
  }
  const auto crash = crashed || dumping_ ? process_.crash() : std::nullopt;
  if (crash) interpreter_stack_ = crash->interpreter;
  if (crash)
    site_.symboliser.symbolise(*crash, site_.options.stack_time,
                               [this, alive = std::weak_ptr(alive_)](const std::vector<std::string>& stack) {
                                 if (!alive.expired()) report(stack);
                               });
  else
    report({});
  end_strays();
  site_.owner.dead(*this);
  bury();
}

void Worker::report(const std::vector<std::string>& stack) {
  if (dumping_) {
    std::string text = stack.empty() ? "it left no stack" : "its stack:";
    for (const std::string& frame : stack) (text += "\n  ") += frame;
    say(text);
  }
  std::vector<Casualty> casualties;
  for (const Run& run : open_) {
    Casualty casualty{.run = run.number, .entered = run.started};
    if (run.started) {
      casualty.error = record_of(run, stack);
      // That everything is told to stop at once says nothing of what it was doing.
      casualty.error_type = lost_with_supervisor() || dumping_ ? kWorkerLost
                            : cause_ == Cause::Violation       ? "ProtocolViolation"
                                                               : "WorkerCrash";
    }
    casualties.push_back(std::move(casualty));
  }
  reported_ = true;
  if (known_) site_.listener.died(number_, casualties);
  finish();
}

void Worker::bury() {
  if (!judged_ || !strays_ended_ || std::exchange(buried_, true)) return;
  process_.bury();
  finish();
}

void Worker::finish() {
  if (reported_ && buried_) site_.owner.gone(*this);
}

EndCause Worker::end_cause() const {
  const auto stopped = [this] {
    return stop_reason_ == StopReason::Timeout  ? EndCause::Timeout
           : stop_reason_ == StopReason::Cancel ? EndCause::Cancel
                                                : EndCause::Shutdown;
  };
  if (launch_failure_) return EndCause::Setup;
  switch (cause_) {
    case Cause::Setup: return EndCause::Setup;
    case Cause::Violation: return EndCause::Protocol;
    case Cause::Core: return dumping_ ? EndCause::Shutdown : stopped();
    case Cause::Refresh: return EndCause::Refresh;
    case Cause::Retired: return broke_ ? EndCause::Protocol : EndCause::Recycle;
    case Cause::Stopped: return EndCause::Shutdown;
    case Cause::Itself: break;
  }
  if (process_.oom_killed()) return EndCause::Oom;
  if (terminated_) return stopped();
  return status()->how == process::ExitStatus::How::Exited ? EndCause::Exit : EndCause::Signal;
}

// ---- what is told --------------------------------------------------------------------------------------------------

Payload Worker::record_of(const Run& run, const std::vector<std::string>& stack) const {
  std::string remark = remark_;
  if (remark.empty() && lost_with_supervisor()) remark = "it ended while there was no supervisor";
  if (run.left) {
    if (!remark.empty()) remark += "; ";
    remark += "its handler had returned, but the result had not left the process";
  }
  process::CrashRecord record = process_.describe(remark);
  if (cause_ == Cause::Violation) record.error_type = "ProtocolViolation";
  if (lost_with_supervisor() || dumping_) record.error_type = kWorkerLost;
  record.stack = stack;
  record.interpreter_stack = interpreter_stack_;
  return to_payload(record, run);
}

/// The record with what is known of the run, as a JSON string that holds the object.
Payload Worker::to_payload(process::CrashRecord& record, const Run& run) const {
  const Time until = ended_at_ == Time{} ? std::chrono::steady_clock::now() : ended_at_;
  record.run_time =
      std::chrono::duration_cast<milliseconds>(until - (run.entered == Time{} ? run.handed : run.entered));
  record.attempt = run.attempt;
  record.log_tail = process_.output_dropped() > run.dropped_before ? process_.output_tail() : tail_.of(run.number);
  record.worker_id = id_;
  record.hostname = site_.options.hostname;
  return Payload::of(json_string(process::to_json(record)));
}

std::string Worker::obituary() const {
  if (launch_failure_) return launch_failure_->text;
  std::string text = "handler process " + std::to_string(pid()) + ' ' + process_.status()->describe() +
                     (set_up_at_ == Time{} ? " before it was ready" : " before it had a job");
  if (!remark_.empty()) text += " (" + remark_ + ')';
  if (modules_hidden_ || (!greeted_ && !ignoring_flag(site_.options.command).empty()))
    text += "\n" + advice(site_.options.command, site_.options.environment);
  if (const std::string last = tail_.last(10); !last.empty()) text += "; its last lines were:\n" + last;
  return text;
}

}  // namespace bulkhead::pool
