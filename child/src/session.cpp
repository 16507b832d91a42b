// What the caller says, and how its threads wait.
//
// Order of the end: close() makes every waiting call return, hands back what was never entered, joins the watcher, and
// only then lets the socket linger; the context's threads are the last to go. Members are declared so that the destructor
// does the same for a session that was never closed.
//
// On the way of a job (next, finish) there is one lock, one clock reading, and no allocation but for what is sent. The
// socket is asked for news as seldom as its edge-triggered descriptor allows: whoever is about to sleep on it asks first,
// and a sender asks only if somebody sleeps on it.

#include "child/src/session.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cassert>

#include "child/src/log_lines.hpp"

namespace bulkhead::child {
namespace {

pid_t thread_id() {
  thread_local const pid_t id = static_cast<pid_t>(syscall(SYS_gettid));
  return id;
}

}  // namespace

Session::Session(Settings settings)
    : settings_(std::move(settings)),
      black_box_(settings_.black_box),
      runs_(*this, black_box_),
      context_(std::make_unique<Context>()),
      watcher_(*this, alarm_) {
  next_attempt_ = Clock::now();
  alarm_.set(next_attempt_);
  watcher_.start();
}

Session::~Session() {
  if (context_) close(0);
}

std::optional<std::string> Session::await_welcome(std::chrono::seconds most) {
  Lock lock(mutex_);
  if (!phase_changed_.wait_for(lock, most, [this] { return phase_ != Phase::Connecting; })) {
    return "no answer from the supervisor within " + std::to_string(most.count()) + " s" +
           (why_.empty() ? "" : " (" + why_ + ")");
  }
  if (phase_ == Phase::Connected) return std::nullopt;
  return why_;
}

int Session::ready(int concurrency) {
  if (concurrency < 1 || concurrency > static_cast<int>(protocol::BlackBox::kEntries)) return BH_INVALID;
  Lock lock(mutex_);
  if (closing_ || phase_ == Phase::Lost) return BH_LOST;
  runs_.set_concurrency(concurrency);
  transmit(protocol::Ready{static_cast<std::uint32_t>(concurrency)});
  after_sending();
  if (has_event()) turns_.events_ready();
  return BH_OK;
}

int Session::next(int timeout_ms, bh_event& event) {
  const Deadline deadline(timeout_ms);
  Lock lock(mutex_);
  for (;;) {
    watcher_receives_ = false;
    receive_until_event();
    int status = BH_AGAIN;
    if (closing_ || phase_ == Phase::Lost) {
      status = BH_LOST;
    } else if (take_event(event)) {
      status = BH_OK;
    } else if (!deadline.passed()) {
      const auto woken = turns_.wait(lock, nullptr, deadline, link_fd());
      if (woken == Turns::Woken::Maybe || !settings_.return_on_signal) continue;
    }
    if (status != BH_LOST && !has_event()) turns_.events_taken();
    stop_waiting();
    if (status != BH_OK || event.kind != BH_EVENT_JOB) caller_leaves(Clock::now());
    return status;
  }
}

bool Session::has_event() const {
  return runs_.has_notice() || (runs_.can_enter() && phase_ == Phase::Connected && !stop_);
}

bool Session::take_event(bh_event& event) {
  if (runs_.has_notice()) {
    const Runs::Notice notice = runs_.take_notice();
    event = {notice.kind == Job::kCancelled ? BH_EVENT_CANCEL : BH_EVENT_CREDIT, static_cast<bh_job*>(notice.job)};
    return true;
  }
  if (has_event()) {
    const auto now = Clock::now();
    if (runs_.running() == 0) next_heartbeat_ = now + std::chrono::milliseconds(heartbeat_ms_);
    const bool nothing_else_due = runs_.running() == 0 && late_ == 0 && lost_lines_ == 0 && late_lines_.empty();
    Job& job = runs_.enter(now, thread_id());
    caller_left_ = now;
    if (nothing_else_due) {
      alarm_.ring_between(now + kSoon, now + 2 * kSoon);
    } else {
      alarm_.ring_by(now + 2 * kSoon);
    }
    event = {BH_EVENT_JOB, static_cast<bh_job*>(&job)};
    return true;
  }
  if (!stop_) return false;
  event = {BH_EVENT_STOP, nullptr};
  return true;
}

void Session::stop_waiting() {
  turns_.pass_on(has_event());
  if (closing_) phase_changed_.notify_all();
}

void Session::caller_leaves(Clock::time_point now) {
  caller_left_ = now;
  if (!turns_.led() && !turns_.outside() && !closing_) alarm_.ring_by(now + kSoon);
}

int Session::fd() {
  Lock lock(mutex_);
  if (closing_) return BH_INVALID;
  watcher_receives_ = false;
  const int fd = turns_.descriptor(link_fd());
  receive_all();
  if (has_event() || stop_ || phase_ == Phase::Lost) turns_.events_ready();
  return fd;
}

int Session::may_speak(const Job& job) const {
  if (closing_ || phase_ == Phase::Lost) return BH_LOST;
  if (job.state != Job::State::Running) return BH_INVALID;
  const int stopping = job.stopping.load(std::memory_order_relaxed);
  // A drained run may still say what it has, a checkpoint above all.
  return job.unwanted || stopping == BH_STOP_CANCEL || stopping == BH_STOP_TIMEOUT ? BH_CANCELLED : BH_OK;
}

int Session::progress(Job& job, std::string_view json) {
  if (json.size() > max_body()) return BH_TOO_LARGE;
  const bool behind = backlog_.load(std::memory_order_relaxed) > kMostBacklog;
  Body body(json, behind ? nullptr : &backlog_);
  Lock lock(mutex_);
  if (const int status = may_speak(job); status != BH_OK) return status;
  if (phase_ == Phase::Connected && !behind) {
    if (std::exchange(job.has_late_progress, false)) --late_;
    transmit(protocol::Progress{job.run, body.view()}, &body);
    runs_.told(job);
    after_sending();
  } else {
    job.late_progress = std::move(body);
    if (!std::exchange(job.has_late_progress, true)) ++late_;
    alarm_.ring_by(Clock::now() + kSoon);
  }
  return BH_OK;
}

int Session::log(Job* job, protocol::Level level, std::string_view text) {
  LogLines lines(text);
  Lock lock(mutex_);
  if (closing_ || phase_ == Phase::Lost) return BH_LOST;
  if (job != nullptr && job->state != Job::State::Running) return BH_INVALID;
  if (job != nullptr && job->unwanted) return BH_CANCELLED;
  while (const auto line = lines.next()) {
    if (phase_ == Phase::Orphaned && late_bytes_ + line->size() + kLateLineCost <= orphan_buffer_) {
      late_lines_.push_back({job != nullptr ? job->run : 0, level, std::string(*line)});
      late_bytes_ += line->size() + kLateLineCost;
      continue;
    }
    if (phase_ != Phase::Connected || backlog_.load(std::memory_order_relaxed) > kMostBacklog) {
      ++lost_lines_;
      alarm_.ring_by(Clock::now() + kSoon);
      continue;
    }
    const Body body(*line, &backlog_);
    transmit(protocol::Log{job != nullptr ? job->run : 0, level, body.view()}, &body);
    if (job != nullptr) runs_.told(*job);
  }
  after_sending();
  return BH_OK;
}

template <class Settled>
int Session::wait_for(Lock& lock, const Job& job, const Deadline& deadline, Settled settled) {
  bool waited = false;
  int status = BH_OK;
  while ((status = may_speak(job)) == BH_OK && !settled()) {
    watcher_receives_ = false;
    receive_all();
    waited = true;
    if ((status = may_speak(job)) != BH_OK || settled()) break;
    if (deadline.passed()) {
      status = BH_AGAIN;
      break;
    }
    turns_.wait(lock, &job, deadline, link_fd());
  }
  if (waited) {
    stop_waiting();
    caller_leaves(Clock::now());
  }
  return status;
}

int Session::chunk(Job& job, std::string_view json, int timeout_ms) {
  if (json.size() > max_chunk()) return BH_TOO_LARGE;
  Body body(json);
  const Deadline deadline(timeout_ms);
  Lock lock(mutex_);
  const auto has_credit = [&] { return job.outbox.has_credit(json.size(), chunk_window_, chunk_window_bytes_); };
  const int status = wait_for(lock, job, deadline, has_credit);
  if (status == BH_OK) {
    job.wants_credit = false;
    Kept kept;
    kept.kind = Kept::Kind::Chunk;
    kept.first = std::move(body);
    keep_and_send(job, std::move(kept));
    after_sending();
  } else if (status == BH_AGAIN) {
    job.wants_credit = true;
    job.wanted = json.size();
  }
  return status;
}

int Session::save_checkpoint(Job& job, std::string_view data, int timeout_ms) {
  if (data.size() > max_checkpoint()) return BH_TOO_LARGE;
  Body body(data);
  const Deadline deadline(timeout_ms);
  Lock lock(mutex_);
  // One at a time: otherwise a handler that does not wait could fill the memory with them.
  const auto none_on_its_way = [&] { return !job.outbox.holds_checkpoint(); };
  if (const int status = wait_for(lock, job, deadline, none_on_its_way); status != BH_OK) return status;
  Kept kept;
  kept.kind = Kept::Kind::Checkpoint;
  kept.first = std::move(body);
  keep_and_send(job, std::move(kept));
  const std::uint32_t seq = job.outbox.next_seq() - 1;
  after_sending();
  return wait_for(lock, job, deadline, [&] { return job.outbox.first_kept() > seq; });
}

int Session::checkpoint_saved(Job& job) {
  Lock lock(mutex_);
  if (const int status = may_speak(job); status != BH_OK) return status;
  job.wants_saved = job.outbox.holds_checkpoint();
  return job.wants_saved ? BH_AGAIN : BH_OK;
}

int Session::finish(Job& job, Result result) {
  Kept kept;
  kept.kind = result.failed ? Kept::Kind::Failed : Kept::Kind::Done;
  kept.refresh_worker = result.refresh_worker;
  kept.first = std::move(result.failed ? result.error : result.output);
  if (result.failed) kept.second = std::move(result.output);

  Lock lock(mutex_);
  stop_call_made_.wait(lock, [&] { return job.stop_call != Job::StopCall::Running; });
  if (job.state != Job::State::Running) return BH_INVALID;
  if (std::exchange(job.has_late_progress, false)) --late_;
  if (closing_ || phase_ == Phase::Lost) {
    runs_.leave(job, false);
    return BH_LOST;
  }
  if (job.unwanted) {
    runs_.discard(job);
  } else {
    const auto run_time = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - job.entered);
    kept.run_time_us = static_cast<std::uint64_t>(run_time.count());
    const bool given = keep_and_send(job, std::move(kept));
    runs_.leave(job, given);
  }
  after_sending();
  if (has_event()) turns_.events_ready();
  return BH_OK;
}

bool Session::transmit(const protocol::FromChild& message, const Body* first, const Body* second) {
  if (phase_ != Phase::Connected || !link_) return false;
  protocol::encode(message, envelope_);
  const std::array<const Body*, 2> owners{first, second};
  return link_->send(envelope_, protocol::bodies(message), owners);
}

bool Session::keep_and_send(Job& job, Kept kept) {
  const Kept& message = job.outbox.add(std::move(kept));
  if (job.state == Job::State::Running) runs_.told(job);
  return transmit(describe(job.run, message), &message.first, &message.second);
}

void Session::after_sending() {
  if (listened_to()) receive_all();
}

int Session::close(int timeout_ms) {
  const Deadline deadline(timeout_ms);
  Lock lock(mutex_);
  if (closing_) return BH_INVALID;
  if (phase_ == Phase::Connected) {
    while (Job* waiting = runs_.first_waiting()) hand_back(*waiting);
  }
  const auto anything_kept = [this] {
    bool kept = false;
    runs_.each([&](Job& job) { kept = kept || !job.outbox.empty(); });
    return kept;
  };
  // Without a supervisor there is nobody to send to; one that comes back in time still gets what it missed.
  const auto settled = [&] { return phase_ != Phase::Orphaned || !anything_kept(); };
  if (deadline.never()) {
    phase_changed_.wait(lock, settled);
  } else {
    phase_changed_.wait_until(lock, deadline.at(), settled);
  }
  closing_ = true;
  runs_.set_stopping();
  turns_.wake_all();
  phase_changed_.wait(lock, [this] { return turns_.nobody_waits(); });
  alarm_.set(Clock::now());
  const Phase phase = phase_;
  const bool kept = anything_kept();
  lock.unlock();
  watcher_.join();

  std::chrono::milliseconds linger(-1);
  if (!deadline.never()) {
    linger = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::max(deadline.at() - Clock::now(), Clock::duration::zero()));
  }
  if (link_) link_->set_linger(linger);
  link_.reset();
  context_.reset();
  if (phase != Phase::Connected) return kept ? BH_LOST : BH_OK;
  return deadline.passed() ? BH_AGAIN : BH_OK;
}

}  // namespace bulkhead::child
