// What this file keeps true:
//
// - States only go forward, and `leave` and `withdraw` happen once: whoever ends a worker, for whatever reason, the
//   core hears in this order that it takes no more jobs, and that it died.
// - A run is in exactly one list: in open_ until it is over, in closed_ until its last message was acknowledged.
//   Whatever is in open_ when the process is dead is told to the core as a casualty.
// - There is one timer, for the one thing that is waited for: set-up, the next step of the ladder (stop, SIGTERM,
//   SIGKILL), a connection that closed before its process ended.
//
// The pool owns workers and destroys them after gone(). What the child says is in worker_messages.cpp, how it ends in
// worker_end.cpp.

#include "supervisor/pool/worker.hpp"

#include <boost/asio/post.hpp>
#include <cassert>
#include <utility>

namespace bulkhead::pool {
namespace {

constexpr std::string_view kNames[] = {"launching", "setting up", "spare", "ready", "retiring", "ending", "dead"};

/// To write a stack.
constexpr milliseconds kDumpTime{3'000};

constexpr protocol::CancelReason on_the_wire(StopReason reason) {
  switch (reason) {
    case StopReason::Cancel: return protocol::CancelReason::Requested;
    case StopReason::Timeout: return protocol::CancelReason::Timeout;
    case StopReason::Drain: return protocol::CancelReason::Drain;
  }
  return protocol::CancelReason::Requested;
}

std::string seconds(milliseconds time) {
  std::string text = std::to_string(time.count() / 1000);
  if (time.count() % 1000 != 0) text += '.' + std::to_string(time.count() % 1000 + 1000).substr(1);
  return text + " s";
}

}  // namespace

std::string_view to_string(WorkerState state) { return kNames[static_cast<std::size_t>(state)]; }

Worker::Worker(WorkerSite& site, WorkerNumber number, int slot, std::string id, int max_jobs)
    : site_(site),
      number_(number),
      slot_(slot),
      id_(std::move(id)),
      max_jobs_(max_jobs),
      since_(std::chrono::steady_clock::now()),
      timer_(site.process.executor),
      alive_(std::make_shared<int>()),
      window_(site.options.dispatch_window),
      process_(site.process, id_,
               {.ended = [this] { process_ended(); },
                .failed = [this](const LaunchFailure& failure) { never_began(failure); },
                .printed = [this](process::Stream stream, std::string_view line) { printed(stream, line); }}) {}

Worker::~Worker() {
  for (RunList* list : {&open_, &closed_}) {
    while (!list->empty()) {
      Run& run = list->front();
      list->pop_front();
      site_.runs.erase(run);
    }
  }
}

std::optional<LaunchFailure> Worker::launch(const std::optional<std::string>& devices) {
  const Token token = Token::random();
  line_ = site_.link.expect(token, *this);
  if (auto failure = process_.launch(site_.link.endpoint(), token.view(), devices)) {
    line_.reset();
    return failure;
  }
  arm(site_.options.setup_timeout, &Worker::setup_timed_out);
  return std::nullopt;
}

// ---- states --------------------------------------------------------------------------------------------------------

void Worker::become(WorkerState state) {
  assert(state > state_);
  state_ = state;
  since_ = std::chrono::steady_clock::now();
}

void Worker::activate() {
  assert(state_ == WorkerState::Spare);
  become(WorkerState::Ready);
  known_ = true;
  room_changed();
  if (window_.size() > 0) site_.owner.window_opened();
}

/// The core is to hand it no further jobs.
void Worker::withdraw() {
  if (!known_ || std::exchange(withdrawn_, true)) return;
  site_.listener.retiring(number_);
}

/// … and another child may take its part.
void Worker::leave() {
  withdraw();
  if (set_up_at_ == Time{} || std::exchange(left_, true)) return;
  site_.owner.leaving(*this);
}

void Worker::room_changed() {
  if (state_ == WorkerState::Ready) site_.listener.ready(number_, id_, room(), held_back() ? 0 : window_.size());
}

bool Worker::proved() const {
  if (cause_ == Cause::Refresh || cause_ == Cause::Retired || cause_ == Cause::Stopped) return true;
  if (set_up_at_ == Time{}) return false;
  const Time until = ended_at_ == Time{} ? std::chrono::steady_clock::now() : ended_at_;
  return jobs_taken_ > 0 || until - set_up_at_ >= site_.options.settled_after;
}

// ---- jobs ----------------------------------------------------------------------------------------------------------

void Worker::send(const protocol::ToChild& message, std::span<const Payload> owners) {
  if (line_ && line_->send(message, owners) == Sent::Full)
    kill_for(Cause::Violation, "it has stopped reading what it is sent");
}

void Worker::run(const Assignment& assignment) {
  if (reported_ || !known_) return;
  Run& run = site_.runs.add(assignment.run, *this, assignment.job->id, assignment.attempt);
  run.dropped_before = process_.output_dropped();
  if (open_.empty()) stepped_ = run.handed;
  open_.push_back(run);
  if (state_ >= WorkerState::Ending) return;  // a bystander of its death

  auto& message = std::get<protocol::RunJob>(site_.run_job);
  message.run = assignment.run;
  message.job_id = assignment.job->id;
  message.attempt = static_cast<std::uint32_t>(assignment.attempt);
  message.extra = assignment.job->extra.bytes();
  message.has_checkpoint = !assignment.checkpoint.empty();
  message.input = assignment.job->input.bytes();
  message.checkpoint = assignment.checkpoint.bytes();
  message.acks.clear();
  message.acks.swap(acks_);
  const Payload owners[] = {assignment.job->input, assignment.checkpoint};
  send(site_.run_job, owners);

  if (++jobs_taken_ != max_jobs_) return;
  withdraw();
  asio::post(site_.process.executor, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) retire();
  });
}

void Worker::cancel(Run& run, StopReason reason) {
  if (run.over) return;
  stop_reason_ = reason;
  run.stop = on_the_wire(reason);
  send(protocol::Cancel{.run = run.number, .reason = *run.stop});
}

void Worker::recall(Run& run) {
  if (run.over || std::exchange(run.recalled, true)) return;
  send(protocol::Recall{.run = run.number});
}

/// What lies in the window goes back to the queue; what runs, runs on.
void Worker::recall_waiting() {
  int running = concurrency_;
  for (Run& run : open_)
    if (--running < 0 && !run.started) recall(run);
}

bool Worker::tick(Time now) {
  if (state_ != WorkerState::Ready || window_.size() == 0 || !window_.automatic()) return false;
  if (open_.size() <= static_cast<std::size_t>(concurrency_) || now - stepped_ < Window::kSlow) return true;
  window_.close();
  recall_waiting();
  room_changed();
  return false;
}

void Worker::acknowledge(Run& run, std::uint32_t seq) {
  if (seq <= run.acknowledged) return;
  run.acknowledged = seq;
  if (!run.over || seq < run.sequence.seen()) {
    if (!urgent_acks_.empty() && urgent_acks_.back().run == run.number)
      urgent_acks_.back().seq = seq;
    else
      urgent_acks_.push_back({run.number, seq});
    return site_.owner.owes_acks(true);
  }
  acks_.push_back({run.number, seq});
  closed_.erase(closed_.iterator_to(run));
  site_.runs.erase(run);
  site_.owner.owes_acks(false);
}

void Worker::flush_acks(bool urgent_only) {
  for (const protocol::Acked& acked : std::exchange(urgent_acks_, {}))
    send(protocol::Ack{.run = acked.run, .seq = acked.seq});
  if (urgent_only) return;
  for (const protocol::Acked& acked : acks_) send(protocol::Ack{.run = acked.run, .seq = acked.seq});
  acks_.clear();
}

// ---- the ways out --------------------------------------------------------------------------------------------------

void Worker::arm(milliseconds after, Step step) {
  timer_.expires_after(after);
  timer_.async_wait([this, step, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) (this->*step)();
  });
}

void Worker::kill_for(Cause cause, std::string remark) {
  if (state_ == WorkerState::Dead) return;
  if (!process_.status()) {
    if (cause_ == Cause::Itself) cause_ = cause;
    if (remark_.empty()) remark_ = std::move(remark);
  }
  process_.kill();
  if (state_ < WorkerState::Ending) become(WorkerState::Ending);
  timer_.cancel();
  leave();
}

void Worker::terminate() {
  terminated_ = true;
  process_.terminate();
}

void Worker::kill(std::string reason) { kill_for(Cause::Core, std::move(reason)); }

void Worker::dump() {
  if (process_.status() || state_ == WorkerState::Dead) return;
  dumping_ = true;
  if (cause_ == Cause::Itself) cause_ = Cause::Core;
  if (remark_.empty()) remark_ = "everything was told to stop at once, and to say where it is";
  process_.abort();
  if (state_ < WorkerState::Ending) become(WorkerState::Ending);
  leave();
  arm(kDumpTime, &Worker::step_kill);
}

void Worker::dismiss(std::string reason) {
  if (!process_.has_ended()) dismissed_ = true;
  kill_for(Cause::Retired, std::move(reason));
}

void Worker::refresh() { kill_for(Cause::Refresh, "a clean process was asked for"); }

void Worker::retire() {
  if (state_ != WorkerState::Ready) return;
  become(WorkerState::Retiring);
  withdraw();
  end_if_idle();
}

/// A retiring child that holds nothing any more is asked to end.
void Worker::end_if_idle() {
  if (state_ != WorkerState::Retiring || refreshing_ || !open_.empty() || cause_ != Cause::Itself) return;
  cause_ = Cause::Retired;
  say_stop();
  arm(site_.options.stop_time, &Worker::step_terminate);
}

void Worker::say_stop() {
  leave();
  flush_acks(false);
  send(protocol::Stop{});
}

void Worker::stop(milliseconds grace) {
  if (state_ >= WorkerState::Ending) return;
  if (cause_ == Cause::Itself) cause_ = Cause::Stopped;
  if (state_ < WorkerState::Spare) return step_terminate();
  if (state_ < WorkerState::Retiring) become(WorkerState::Retiring);
  leave();
  flush_acks(false);
  send(protocol::Stop{.grace_ms = static_cast<std::uint64_t>(grace.count())});
  arm(grace, &Worker::step_terminate);
}

void Worker::step_terminate() {
  process_.terminate();
  arm(site_.options.terminate_time, &Worker::step_kill);
}

void Worker::step_kill() { kill_for(cause_, "it did not end when asked to"); }

void Worker::setup_timed_out() {
  kill_for(Cause::Setup, "its set-up took longer than " + seconds(site_.options.setup_timeout));
}

void Worker::silent_too_long() {
  if (process_.has_ended()) return arm(site_.options.silence_time, &Worker::silent_too_long);
  kill_for(Cause::Violation, "it closed its connection to the supervisor and lived on");
}

/// The result that came with the wish was not taken for one: nobody else will call refresh().
void Worker::refresh_overdue() {
  if (!open_.empty() || !closed_.empty()) return arm(site_.options.stop_time, &Worker::refresh_overdue);
  refresh();
}

}  // namespace bulkhead::pool
