// What the watcher's thread does, a round at a time: see watcher.hpp for when. All of it under the session's mutex, the
// calls of on_stop aside, which may use any function on a job.
//
// A link is made and dropped here only, so that its monitor has one thread for life.

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "child/src/session.hpp"

namespace bulkhead::child {
namespace {

/// How often to look after what has no descriptor to wait for: an outside loop that may be busy, a full socket.
constexpr std::chrono::milliseconds kTick{25};
constexpr std::chrono::milliseconds kBetweenAttempts{20};
/// What a handler gets to come to an end after the supervisor is gone.
constexpr std::chrono::seconds kPatience{5};
constexpr int kExitLost = 70;

}  // namespace

bool Session::watch(Descriptors& next) {
  Lock lock(mutex_);
  if (closing_) return false;
  const auto now = Clock::now();
  alarm_.consume();
  try {
    if (link_ && link_->broken()) disconnected(now);
    if (watcher_receives_) receive_all();
    do_what_is_due(now);
    make_stop_calls(lock);
  } catch (const std::exception& broken) {
    if (phase_ != Phase::Lost) lose(broken.what());
  }
  if (closing_) return false;
  alarm_.ring_by(next_due(now));
  next.monitor = link_ ? link_->monitor_fd() : -1;
  // An outside loop may be busy for long; a supervisor that came back is not kept waiting for its answer.
  const bool answering = turns_.outside() && phase_ == Phase::Orphaned;
  next.link = watcher_receives_ || answering ? link_fd() : -1;
  return true;
}

void Session::do_what_is_due(Clock::time_point now) {
  const bool connecting = phase_ == Phase::Connecting || phase_ == Phase::Orphaned;
  if (connecting && !link_ && now >= next_attempt_) connect(now);
  if (phase_ == Phase::Orphaned && now >= end_of_patience_) lose("no supervisor came back");
  if (phase_ == Phase::Lost && now >= end_of_patience_) end_process();

  const bool nobody_receives = !watcher_receives_ && !turns_.led() && !turns_.outside();
  if (nobody_receives && now >= caller_left_ + kSoon) watcher_receives_ = true;
  if (watcher_receives_ || turns_.outside()) receive_all();

  if (phase_ != Phase::Connected) return;
  while (Job* job = runs_.longest_untold()) {
    if (now < job->entered + kSoon) break;
    transmit(protocol::Started{job->run});
    runs_.told(*job);
  }
  if (runs_.running() > 0 && now >= next_heartbeat_) {
    timespec spent{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    black_box_.sign();
    transmit(protocol::Heartbeat{static_cast<std::uint64_t>(spent.tv_sec) * 1'000'000u +
                                 static_cast<std::uint64_t>(spent.tv_nsec) / 1'000u});
    next_heartbeat_ = now + std::chrono::milliseconds(heartbeat_ms_);
  }
  say_late_things();
  after_sending();
}

Clock::time_point Session::next_due(Clock::time_point now) const {
  auto due = Alarm::kNever;
  const auto by = [&due](Clock::time_point at) { due = std::min(due, at); };
  if ((phase_ == Phase::Connecting || phase_ == Phase::Orphaned) && !link_) by(next_attempt_);
  if (phase_ == Phase::Orphaned || phase_ == Phase::Lost) by(end_of_patience_);
  if (!watcher_receives_ && !turns_.led() && !turns_.outside()) by(caller_left_ + kSoon);
  if (phase_ != Phase::Connected) return due;
  if (const Job* job = runs_.longest_untold()) by(job->entered + kSoon);
  if (runs_.running() > 0) by(next_heartbeat_);
  if ((turns_.outside() && runs_.running() > 0) || late_ > 0 || lost_lines_ > 0 || !late_lines_.empty())
    by(now + kTick);
  return due;
}

/// In their order, as far as the socket's queue has room.
void Session::say_late_lines() {
  while (!late_lines_.empty() && backlog_.load(std::memory_order_relaxed) <= kMostBacklog) {
    const LateLine& line = late_lines_.front();
    const Body body(line.text, &backlog_);
    transmit(protocol::Log{line.run, line.level, body.view()}, &body);
    late_bytes_ -= line.text.size() + kLateLineCost;
    late_lines_.pop_front();
  }
}

void Session::say_late_things() {
  say_late_lines();
  if ((late_ == 0 && lost_lines_ == 0) || backlog_.load(std::memory_order_relaxed) > kMostBacklog) return;
  if (late_ > 0) {
    runs_.each([this](Job& job) {
      if (!job.has_late_progress || job.state != Job::State::Running) return;
      const Body body(job.late_progress.view(), &backlog_);
      transmit(protocol::Progress{job.run, body.view()}, &body);
      job.late_progress = Body();
      job.has_late_progress = false;
      --late_;
    });
  }
  if (lost_lines_ > 0) {
    const Body text(std::to_string(lost_lines_) + " log lines were dropped here: they came faster than they were read",
                    &backlog_);
    transmit(protocol::Log{0, protocol::Level::Warn, text.view()}, &text);
    lost_lines_ = 0;
  }
}

void Session::connect(Clock::time_point now) {
  try {
    link_ = std::make_unique<Link>(*context_, settings_.endpoint, settings_.token);
  } catch (const std::system_error& broken) {
    why_ = broken.what();
    next_attempt_ = now + kBetweenAttempts;
    if (phase_ != Phase::Connecting) return;
    // Connecting itself happens later: what fails here is wrong for good.
    phase_ = Phase::Refused;
    phase_changed_.notify_all();
    return;
  }
  turns_.relink(-1, link_->fd());
  say_hello();
  // The monitor's descriptor tells only of what comes after a first look.
  if (link_->broken()) disconnected(now);
}

void Session::say_hello() {
  protocol::Hello hello;
  hello.pid = static_cast<std::uint64_t>(getpid());
  hello.sdk = settings_.sdk;
  runs_.each([&](Job& job) {
    if (job.unwanted) return;
    const bool entered = job.state == Job::State::Running || job.state == Job::State::Left;
    hello.held.push_back({job.run, job.id, job.attempt, entered, job.outbox.next_seq(), job.outbox.first_kept(),
                          job.outbox.chunks_acknowledged()});
    if (job.state == Job::State::Running) runs_.told(job);
  });
  protocol::encode(hello, envelope_);
  link_->send(envelope_, {}, {});
}

void Session::disconnected(Clock::time_point now) {
  receive_all();  // what came before the end counts
  turns_.relink(link_->fd(), -1);
  link_.reset();
  switch (phase_) {
    case Phase::Connecting:
      if (why_.empty()) why_ = settings_.endpoint + " does not answer";
      next_attempt_ = now + kBetweenAttempts;
      break;
    case Phase::Connected:
      if (orphan_timeout_ms_ == 0) return lose("the connection to the supervisor ended");
      phase_ = Phase::Orphaned;
      end_of_patience_ = now + std::chrono::milliseconds(orphan_timeout_ms_);
      next_attempt_ = now;
      break;
    case Phase::Orphaned: next_attempt_ = now + kBetweenAttempts; break;
    case Phase::Refused:
    case Phase::Lost: break;
  }
}

void Session::lose(const std::string& why) {
  phase_ = Phase::Lost;
  why_ = why;
  end_of_patience_ = Clock::now() + kPatience;
  alarm_.ring_by(end_of_patience_);
  runs_.each([this](Job& job) {
    if (job.state == Job::State::Running) request_stop(job, BH_STOP_DRAIN);
  });
  turns_.wake_all();
  phase_changed_.notify_all();
}

void Session::make_stop_calls(Lock& lock) {
  while (Job* job = runs_.take_stop_call()) {
    const auto reason = static_cast<bh_stop_reason>(job->stopping.load(std::memory_order_relaxed));
    lock.unlock();
    settings_.on_stop(static_cast<bh_job*>(job), reason, settings_.on_stop_user);
    lock.lock();
    job->stop_call = Job::StopCall::Made;
    stop_call_made_.notify_all();
  }
}

void Session::end_process() const {
  char text[512];
  const int size =
      std::snprintf(text, sizeof text, "bulkhead: %.400s; ending process %d, which did not end by itself\n",
                    why_.c_str(), static_cast<int>(getpid()));
  // Opened anew, so as not to wait: nobody may be left to read what the handler has filled standard error with.
  const int hearer = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (size > 0 && write(hearer, text, static_cast<std::size_t>(std::min<int>(size, sizeof text - 1))) < 0) {
    // Nobody is left to hear it.
  }
  _exit(kExitLost);
}

}  // namespace bulkhead::child
