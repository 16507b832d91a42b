// Runs that do nothing at all: neither a word nor CPU time for as long as their policy allows.
//
// Four times within that time somebody looks. A run that has stalled has its stacks taken first, while it still stands
// where it stood, and is then stopped like one that is out of time.

#include <algorithm>
#include <utility>

#include "supervisor/job/dispatch_record.hpp"

namespace bulkhead {
namespace {

constexpr milliseconds kLeastLook{50};
/// For the stacks; then the run is stopped without them.
constexpr milliseconds kStacksTime{10'000};
/// CPU time below this share is not work: the library's own heartbeats take about a hundredth of it.
constexpr int kIdleShare = 200;

/// Where nothing can be told of it, because there is nothing to compare with, or because a process has ended and its time is
/// gone from the sum, it has.
bool has_worked(std::optional<std::chrono::microseconds> before, std::chrono::microseconds now,
                std::chrono::steady_clock::duration time) {
  return !before || now < *before || now - *before > time / kIdleShare;
}

}  // namespace

void Dispatcher::begin_watch(Record& record) {
  record.examined = false;
  record.stall_record = {};
  if (record.job.policy.stall_timeout.count() == 0) return;
  record.last_sign = record.looked = clock_.now().mono;
  record.cpu_time.reset();  // most jobs end before anybody looks
}

void Dispatcher::sign_of_life(Record& record) {
  if (record.job.policy.stall_timeout.count() > 0) record.last_sign = clock_.now().mono;
}

std::chrono::steady_clock::time_point Dispatcher::next_look(const Record& record) const {
  const milliseconds stall = record.job.policy.stall_timeout;
  if (stall.count() == 0) return std::chrono::steady_clock::time_point::max();
  if (record.examined) return record.looked + kStacksTime;
  return record.looked + std::max(kLeastLook, stall / 4);
}

void Dispatcher::look_for_life(Record& record) {
  const auto now = clock_.now().mono;
  if (record.examined && record.state == State::HandedOut) return want_stop(record, Why::Stall);
  const auto cpu_time = workers_->cpu_time(record.worker);
  if (record.in_window || (cpu_time && has_worked(record.cpu_time, *cpu_time, now - record.looked)))
    record.last_sign = now;
  record.cpu_time = cpu_time;
  record.looked = now;
  if (record.state == State::HandedOut && now - record.last_sign >= record.job.policy.stall_timeout)
    return examine(record);
  arm(record);
}

void Dispatcher::examine(Record& record) {
  record.examined = true;
  arm(record);
  workers_->examine(record.run, [this, run = record.run](Payload stacks) {
    Record* examined = find(run);
    if (!examined || examined->state != State::HandedOut || !examined->examined) return;
    examined->stall_record = std::move(stacks);
    want_stop(*examined, Why::Stall);
    pump();
  });
}

}  // namespace bulkhead
