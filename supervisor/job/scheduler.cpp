#include "supervisor/job/scheduler.hpp"

#include <algorithm>
#include <cassert>

namespace bulkhead {

Scheduler::Scheduler() { head_.before = head_.after = &head_; }

void Scheduler::link(QueuePlace& job, QueuePlace& before) {
  assert(!job.queued);
  job.before = before.before;
  job.after = &before;
  before.before->after = &job;
  before.before = &job;
  job.queued = true;
  ++queued_;
}

void Scheduler::submit(QueuePlace& job, Time now) {
  if (job.not_before && *job.not_before > now) {
    assert(!job.queued);
    job.queued = true;
    delayed_.emplace(*job.not_before, &job);
    return;
  }
  job.not_before.reset();
  link(job, head_);
}

void Scheduler::submit_first(QueuePlace& job) {
  job.not_before.reset();
  link(job, *head_.after);
}

void Scheduler::remove(QueuePlace& job) {
  if (!job.queued) return;
  job.queued = false;
  if (job.not_before) {
    auto [first, last] = delayed_.equal_range(*job.not_before);
    delayed_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == &job; }));
    job.not_before.reset();
    return;
  }
  job.before->after = job.after;
  job.after->before = job.before;
  job.before = job.after = nullptr;
  --queued_;
}

Scheduler::Room* Scheduler::find(WorkerNumber worker) {
  for (Room& room : rooms_)
    if (room.worker == worker) return &room;
  return nullptr;
}

void Scheduler::recount() {
  free_now_ = 0;
  for (const Room& room : rooms_)
    if (!room.retired) free_now_ += std::max(0, room.concurrency - room.held);
}

Scheduler::Room& Scheduler::find_or_add(WorkerNumber worker) {
  if (Room* room = find(worker)) return *room;
  return rooms_.emplace_back(Room{.worker = worker, .freed = ++releases_});
}

void Scheduler::set_room(WorkerNumber worker, int concurrency, int window) {
  Room& room = find_or_add(worker);
  room.concurrency = concurrency;
  room.window = window;
  recount();
}

void Scheduler::hold(WorkerNumber worker) {
  ++find_or_add(worker).held;
  recount();
}

void Scheduler::retire(WorkerNumber worker) {
  if (Room* room = find(worker)) room->retired = true;
  recount();
}

void Scheduler::remove_worker(WorkerNumber worker) {
  std::erase_if(rooms_, [&](const Room& room) { return room.worker == worker; });
  recount();
}

void Scheduler::release(WorkerNumber worker) {
  Room* room = find(worker);
  if (!room || room->held == 0) return;
  --room->held;
  room->freed = ++releases_;
  if (!room->retired && room->held < room->concurrency) ++free_now_;
}

Scheduler::Room* Scheduler::best() {
  Room* found = nullptr;
  bool found_free = false;
  for (Room& room : rooms_) {
    if (room.retired || room.held >= room.concurrency + room.window) continue;
    bool free = room.held < room.concurrency;
    bool better =
        !found || (free && !found_free) ||
        (free == found_free && (room.held < found->held || (room.held == found->held && room.freed > found->freed)));
    if (better) found = &room, found_free = free;
  }
  return found;
}

std::optional<Scheduler::Pair> Scheduler::next(Time now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    QueuePlace& due = *delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    due.queued = false;
    submit(due, now);
  }
  if (queued_ == 0) return std::nullopt;
  Room* room = best();
  if (!room) return std::nullopt;
  bool in_window = room->held >= room->concurrency;
  if (!in_window) --free_now_;
  ++room->held;
  QueuePlace* job = head_.after;
  remove(*job);
  return Pair{job, room->worker, in_window};
}

std::optional<Scheduler::Time> Scheduler::wake_at() const {
  if (delayed_.empty()) return std::nullopt;
  return delayed_.begin()->first;
}

int Scheduler::held(WorkerNumber worker) const {
  for (const Room& room : rooms_)
    if (room.worker == worker) return room.held;
  return 0;
}

QueuePlace* Scheduler::first() const {
  if (queued_ > 0) return head_.after;
  return delayed_.empty() ? nullptr : delayed_.begin()->second;
}

}  // namespace bulkhead
