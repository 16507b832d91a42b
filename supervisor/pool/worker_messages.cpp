// What a child says, and what becomes of it.
//
// Three measures for three kinds of misbehaviour. What concerns one run alone (a body that is no JSON, a gap in its
// numbers) fails that run; the child, which is no longer trusted, finishes the others and is replaced. What concerns
// the conversation (no hello, garbage, more chunks than it has credit for) kills the child. What is only too much (log
// lines, progress) is thinned out.
//
// The listener may do anything from within its callbacks but destroy this worker: a Run is not touched after one.

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>
#include <variant>

#include "protocol/black_box.hpp"
#include "supervisor/pool/hidden_modules.hpp"
#include "supervisor/pool/worker.hpp"

namespace bulkhead::pool {
namespace {

/// Unacknowledged messages a run may have beside its chunks: checkpoints, the result.
constexpr std::uint32_t kBesideChunks = 64;
constexpr int kProgressBurst = 16;
constexpr milliseconds kProgressPace{10};

constexpr int kWarning = 3;

}  // namespace

void Worker::received(Received& received) {
  std::visit([&](const auto& message) { on(message, received); }, received.message());
}

void Worker::garbled(const protocol::DecodeError& error) {
  if (Run* run = error.run != 0 ? find(error.run) : nullptr) return break_run(*run, error.text);
  violation(error.kind == protocol::DecodeError::Kind::TooLarge ? protocol::RefuseReason::TooLarge
                                                                : protocol::RefuseReason::Malformed,
            error.text);
}

void Worker::closed() {
  if (process_.status()) return judge();
  // It is most likely about to end; if it was told to, the ladder's timer is running.
  if (cause_ == Cause::Itself) arm(site_.options.silence_time, &Worker::silent_too_long);
}

// ---- the conversation ----------------------------------------------------------------------------------------------

void Worker::on(const protocol::Hello& hello, Received&) {
  if (state_ >= WorkerState::Ending) return;
  if (state_ != WorkerState::Launching) return violation(protocol::RefuseReason::OutOfOrder, "it said hello twice");
  auto answer = protocol::negotiate(hello);
  if (auto* refusal = std::get_if<protocol::Refusal>(&answer)) {
    send(protocol::Refuse{.reason = refusal->reason, .text = refusal->text});
    cause_ = Cause::Setup;
    remark_ = refusal->text;
    return arm(site_.options.terminate_time, &Worker::step_kill);  // time to print the text
  }
  greeted_ = true;
  become(WorkerState::SettingUp);
  welcome(hello, std::get<std::uint32_t>(answer));
}

void Worker::on(const protocol::Ready& ready, Received&) {
  if (state_ == WorkerState::Launching)
    return violation(protocol::RefuseReason::OutOfOrder, "it was ready before it had said hello");
  if (ready.concurrency == 0 || ready.concurrency > protocol::BlackBox::kEntries)
    return violation(protocol::RefuseReason::Malformed,
                     "it offered to run " + std::to_string(ready.concurrency) + " jobs at once");
  concurrency_ = static_cast<int>(ready.concurrency);
  if (state_ != WorkerState::SettingUp) return room_changed();
  if (cause_ != Cause::Itself) return;  // on its way out
  timer_.cancel();
  set_up_at_ = std::chrono::steady_clock::now();
  become(WorkerState::Spare);
  site_.owner.set_up(*this);
}

void Worker::violation(protocol::RefuseReason reason, const std::string& text) {
  if (state_ >= WorkerState::Ending) return;
  if (line_) line_->send(protocol::Refuse{.reason = reason, .text = text});
  kill_for(Cause::Violation, "protocol violation: " + text);
}

// ---- runs ----------------------------------------------------------------------------------------------------------

/// A run of this child that goes on; nullptr for any other.
Run* Worker::find(RunNumber number) {
  Run* run = site_.runs.find(number);
  return run && run->worker == this && !run->over ? run : nullptr;
}

/// The run of a numbered message that is the next of its run. All others need no more than an acknowledgement.
Run* Worker::take(RunNumber number, std::uint32_t seq) {
  Run* run = site_.runs.find(number);
  if (run && run->worker == this && run->broken) return nullptr;
  if (!run || run->worker != this || (run->over && seq > run->sequence.seen())) {
    urgent_acks_.push_back({number, seq});
    site_.owner.owes_acks(true);
    return nullptr;
  }
  switch (run->sequence.take(seq)) {
    case protocol::Sequence::Verdict::Next: break;
    case protocol::Sequence::Verdict::Repeat:
      if (seq > run->acknowledged) return nullptr;
      urgent_acks_.push_back({number, run->acknowledged});
      site_.owner.owes_acks(true);
      return nullptr;
    case protocol::Sequence::Verdict::Gap:
      break_run(*run, "message " + std::to_string(seq) + " of the run came where " +
                          std::to_string(run->sequence.seen() + 1) + " was due");
      return nullptr;
  }
  if (seq - run->acknowledged <= site_.options.chunk_window + kBesideChunks) return run;
  violation(protocol::RefuseReason::OutOfOrder, "it sent more chunks than it has credit for");
  return nullptr;
}

bool Worker::is_json(Run& run, std::string_view body, const char* what) {
  if (!site_.options.check_json || body.empty()) return true;
  auto wrong = site_.options.check_json(body);
  if (wrong) break_run(run, std::string(what) + " is not JSON: " + *wrong);
  return !wrong;
}

/// Its handler runs: it said so, or said something only a running one can.
void Worker::enter(Run& run) {
  if (run.started) return;
  run.started = true;
  run.entered = stepped_ = std::chrono::steady_clock::now();
  site_.listener.started(run.number);
  moves();
}

void Worker::close(Run& run) {
  run.over = true;
  run.progress = {};
  open_.erase(open_.iterator_to(run));
  closed_.push_back(run);
}

void Worker::on(const protocol::Started& started, Received&) {
  if (Run* run = find(started.run)) enter(*run);
}

void Worker::on(const protocol::Progress& progress, Received& received) {
  Run* run = find(progress.run);
  if (!run || !is_json(*run, progress.body, "progress")) return;
  enter(*run);
  const Time now = std::chrono::steady_clock::now();
  const auto earned = (now - run->progress_counted) / kProgressPace;
  if (earned > 0) {
    run->progress_allowance =
        static_cast<int>(std::min<std::int64_t>(kProgressBurst, run->progress_allowance + earned));
    run->progress_counted = now;
  }
  if (run->progress_allowance == 0) {
    run->progress = received.keep(progress.body);
    return site_.owner.holds_progress();
  }
  --run->progress_allowance;
  run->progress = {};
  site_.listener.progress(progress.run, received.keep(progress.body));
}

void Worker::pass_progress() {
  std::vector<std::pair<RunNumber, Payload>> held;
  for (Run& run : open_)
    if (!run.progress.empty()) held.emplace_back(run.number, std::exchange(run.progress, {}));
  for (auto& [run, progress] : held) site_.listener.progress(run, std::move(progress));
}

void Worker::on(const protocol::Chunk& chunk, Received& received) {
  Run* run = take(chunk.run, chunk.seq);
  if (!run || !is_json(*run, chunk.body, "a chunk")) return;
  enter(*run);
  site_.listener.chunk(chunk.run, chunk.seq, received.keep(chunk.body));
}

void Worker::on(const protocol::Checkpoint& checkpoint, Received& received) {
  Run* run = take(checkpoint.run, checkpoint.seq);
  if (!run) return;
  enter(*run);
  site_.listener.checkpoint(checkpoint.run, checkpoint.seq, received.keep(checkpoint.body));
}

void Worker::on(const protocol::Done& done, Received& received) {
  Run* run = take(done.run, done.seq);
  if (!run || !is_json(*run, done.output, "the output")) return;
  enter(*run);
  // What was printed until now is this job's. (A child with an open window prints nothing: see window.hpp.)
  if (window_.size() == 0) process_.drain_output();
  close(*run);
  const std::chrono::microseconds time(done.run_time_us);
  site_.listener.succeeded(done.run, done.seq, received.keep(done.output), time, done.refresh_worker);
  answered(time, done.refresh_worker);
}

void Worker::on(const protocol::Failed& failed, Received& received) {
  Run* run = take(failed.run, failed.seq);
  if (!run || !is_json(*run, failed.error, "the error") || !is_json(*run, failed.output, "the output")) return;
  enter(*run);
  if (window_.size() == 0) process_.drain_output();
  close(*run);
  const std::chrono::microseconds time(failed.run_time_us);
  site_.listener.failed(failed.run, failed.seq, received.keep(failed.error), received.keep(failed.output), time,
                        failed.refresh_worker);
  answered(time, failed.refresh_worker);
}

void Worker::on(const protocol::HandBack& back, Received&) {
  Run* run = take(back.run, back.seq);
  if (!run) return;
  close(*run);
  site_.listener.handed_back(back.run, back.seq);
  end_if_idle();
}

void Worker::answered(std::chrono::microseconds run_time, bool refresh) {
  ++jobs_done_;
  stepped_ = std::chrono::steady_clock::now();
  moves();
  if (window_.ended(run_time)) {
    if (window_.size() > 0)
      site_.owner.window_opened();
    else
      recall_waiting();
    room_changed();
  }
  if (refresh && state_ == WorkerState::Ready) {
    refreshing_ = true;
    become(WorkerState::Retiring);
    arm(site_.options.stop_time, &Worker::refresh_overdue);
    leave();
  }
  end_if_idle();
}

/// Fails one run for what was said about it. What else comes of it is ignored.
void Worker::break_run(Run& run, const std::string& text) {
  run.broken = broke_ = true;
  close(run);
  send(protocol::Cancel{.run = run.number});
  if (state_ == WorkerState::Ready) become(WorkerState::Retiring);
  refreshing_ = false;
  withdraw();
  process::CrashRecord record;
  record.error_type = "ProtocolViolation";
  record.error_message = "the handler process said what cannot be understood about this job: " + text;
  const RunNumber number = run.number;
  site_.listener.failed(number, 0, to_payload(record, run), {}, {}, false);
  end_if_idle();
}

// ---- lines ---------------------------------------------------------------------------------------------------------

/// Whose turn it is, where that can be known.
RunNumber Worker::speaker() const {
  if (open_.empty() || (concurrency_ > 1 && open_.size() > 1)) return 0;
  return open_.front().number;
}

void Worker::printed(process::Stream stream, std::string_view line) {
  const RunNumber run = speaker();
  tail_.add(run, line);
  if (!greeted_) look_for_modules(line);
  site_.listener.log(
      {.run = run, .worker_id = id_, .stream = stream == process::Stream::Stdout ? "stdout" : "stderr", .text = line});
  if (!window_.close()) return;
  recall_waiting();
  room_changed();
}

/// Before its hello: is it going to say one?
void Worker::look_for_modules(std::string_view line) {
  const Sign sign = sign_of(line);
  if (sign == Sign::None || modules_hidden_) return;
  modules_hidden_ = true;
  if (sign != Sign::OtherWorker) return;  // it is about to end by itself
  asio::post(site_.process.executor, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) kill_for(Cause::Setup, "RunPod's own worker was started in place of Bulkhead's");
  });
}

void Worker::on(const protocol::Log& log, Received&) {
  const RunNumber run = log.run != 0 && find(log.run) ? log.run : 0;
  tail_.add(run, log.text);
  if (!log_budget_.take(std::chrono::steady_clock::now())) return;
  if (auto dropped = log_budget_.dropped()) say(std::to_string(dropped) + " log lines came too fast and were dropped");
  site_.listener.log(
      {.run = run, .worker_id = id_, .level = static_cast<int>(log.level), .stream = "log", .text = log.text});
}

/// A line of our own about this child.
void Worker::say(std::string_view text) {
  site_.listener.log({.run = 0, .worker_id = id_, .level = kWarning, .stream = "pool", .text = text});
}

}  // namespace bulkhead::pool
