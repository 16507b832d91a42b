#include "child/src/runs.hpp"

#include <cassert>

namespace bulkhead::child {

Job* Runs::add(protocol::Run run) {
  if (find(run) != nullptr) return nullptr;
  if (free_.empty()) {
    free_.reserve(all_.size() + 1);
    all_.push_back(std::make_unique<bh_job>());
    free_.push_back(all_.back().get());
  }
  Job& job = *free_.back();
  free_.pop_back();
  job.session = &session_;
  job.run = run;
  job.state = Job::State::Waiting;
  job.next_in_bucket = bucket(run);
  bucket(run) = &job;
  waiting_.push_back(job);
  return &job;
}

Job* Runs::find(protocol::Run run) const {
  Job* job = const_cast<Runs*>(this)->bucket(run);
  while (job != nullptr && job->run != run) job = job->next_in_bucket;
  return job;
}

Job& Runs::enter(Clock::time_point now, pid_t thread) {
  assert(can_enter());
  Job& job = *waiting_.front();
  waiting_.erase(job);
  job.entry = *black_box_.enter(job.run);
  black_box_.sign();
  job.state = Job::State::Running;
  job.entered = now;
  job.thread = thread;
  if (++running_ == 1) show_phase();
  fresh_.push_back(job);
  return job;
}

Runs::Notice Runs::take_notice() {
  Job& job = *notices_.front();
  const Job::Notice kind = (job.notices & Job::kCancelled) != 0 ? Job::kCancelled : Job::kCredit;
  job.notices = static_cast<std::uint8_t>(job.notices & ~kind);
  if (job.notices == 0) notices_.erase(job);
  return {&job, kind};
}

void Runs::notify(Job& job, Job::Notice kind) {
  assert(job.state == Job::State::Running);
  if (job.notices == 0) notices_.push_back(job);
  job.notices |= kind;
}

void Runs::leave(Job& job, bool given) {
  assert(job.state == Job::State::Running);
  if (given) black_box_.leave(job.entry);
  black_box_.sign();
  notices_.erase(job);
  job.notices = 0;
  fresh_.erase(job);
  stop_calls_.erase(job);
  job.state = Job::State::Left;
  job.envelope.clear();
  job.input.clear();
  job.checkpoint.clear();
  job.extra = {};
  if (--running_ == 0) show_phase();
}

void Runs::hand_back(Job& job) {
  assert(job.state == Job::State::Waiting);
  waiting_.erase(job);
  job.state = Job::State::HandedBack;
  job.envelope.clear();
  job.input.clear();
  job.checkpoint.clear();
  job.extra = {};
}

Job* Runs::acknowledge(protocol::Run run, std::uint32_t seq) {
  Job* job = find(run);
  if (job == nullptr || !job->outbox.acknowledge(seq)) return nullptr;
  const bool over = job->state == Job::State::Left || job->state == Job::State::HandedBack;
  if (!over || !job->outbox.empty()) return job;
  discard(*job);
  return nullptr;
}

void Runs::discard(Job& job) {
  switch (job.state) {
    case Job::State::Waiting: waiting_.erase(job); break;
    case Job::State::Running: leave(job, false); [[fallthrough]];
    case Job::State::Left: black_box_.release(job.entry); break;
    case Job::State::HandedBack: break;
    case Job::State::Free: assert(false); return;
  }
  Job** link = &bucket(job.run);
  while (*link != &job) link = &(*link)->next_in_bucket;
  *link = job.next_in_bucket;
  job.next_in_bucket = nullptr;
  job.reset();
  free_.push_back(&job);
}

void Runs::show_phase() {
  using Phase = BlackBoxWriter::Phase;
  black_box_.phase(stopping_          ? Phase::Stopping
                   : running_ > 0     ? Phase::Running
                   : concurrency_ > 0 ? Phase::Idle
                                      : Phase::SettingUp);
}

void Runs::queue_stop_call(Job& job) {
  if (job.stop_call != Job::StopCall::None) return;
  job.stop_call = Job::StopCall::Queued;
  stop_calls_.push_back(job);
}

Job* Runs::take_stop_call() {
  Job* job = stop_calls_.front();
  if (job == nullptr) return nullptr;
  stop_calls_.erase(*job);
  job->stop_call = Job::StopCall::Running;
  return job;
}

}  // namespace bulkhead::child
