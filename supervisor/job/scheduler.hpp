// Who runs next, and where. Pure: told of jobs and of children's room, it answers with a pair.
//
// Jobs leave in the order they came, but for those put back at the head (bystanders, hand-backs) and those that wait
// for a retry delay. A job goes to a child that is free to enter it at once; only when there is none may it go into
// the dispatch window of a busy child. Among equals the least loaded child is taken, then the one that was free last
// (its caches are warm).

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "supervisor/job/ports.hpp"

namespace bulkhead {

/// A job's place in the queue; the record of a job derives from it. Not copied or moved while queued.
struct QueuePlace {
  QueuePlace* before = nullptr;
  QueuePlace* after = nullptr;
  bool queued = false;
  std::optional<std::chrono::steady_clock::time_point> not_before;  ///< waits until then
};

class Scheduler {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// To the end of the queue, or, while `job.not_before` lies ahead, aside until then.
  void submit(QueuePlace& job, Time now);
  void submit_first(QueuePlace& job);
  void remove(QueuePlace& job);

  /// What a child can take: `concurrency` at once, `window` more. Adds the child if it is new.
  void set_room(WorkerNumber worker, int concurrency, int window);
  /// A job is in this child's hands that another scheduler gave it. Adds the child, without room, if it is new.
  void hold(WorkerNumber worker);
  /// No more jobs for this child; those it holds still occupy it.
  void retire(WorkerNumber worker);
  void remove_worker(WorkerNumber worker);
  /// A job left this child's hands.
  void release(WorkerNumber worker);

  struct Pair {
    QueuePlace* job;
    WorkerNumber worker;
    bool in_window;  ///< handed out ahead of its turn: it will wait in the child
  };
  /// The next pair, taken out of the queue and counted against the child's room; none when nobody waits or nobody is
  /// free.
  std::optional<Pair> next(Time now);

  /// When a delayed job becomes due; none if no job is delayed.
  std::optional<Time> wake_at() const;

  std::size_t queued() const { return queued_ + delayed_.size(); }
  /// Jobs that could be entered at once, were they here.
  int free_now() const { return free_now_; }
  int held(WorkerNumber worker) const;
  /// The first job of the queue, for purging; nullptr when there is none.
  QueuePlace* first() const;

 private:
  struct Room {
    WorkerNumber worker = 0;
    int concurrency = 0;
    int window = 0;
    int held = 0;
    bool retired = false;
    std::uint64_t freed = 0;  ///< when it last had a job less, as a count
  };
  Room* find(WorkerNumber worker);
  Room& find_or_add(WorkerNumber worker);
  Room* best();
  void recount();
  void link(QueuePlace& job, QueuePlace& before);

  QueuePlace head_;  ///< of a ring
  std::size_t queued_ = 0;
  std::multimap<Time, QueuePlace*> delayed_;
  std::vector<Room> rooms_;  ///< as many as there are children: tens
  int free_now_ = 0;
  std::uint64_t releases_ = 0;
};

}  // namespace bulkhead
