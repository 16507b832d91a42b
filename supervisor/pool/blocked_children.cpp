// Children that run several jobs at once, and have blocked.
//
// A handler of coroutines that blocks enters none of the jobs it was handed. While another child has room they are asked
// back, and the blocked one gets no more until it enters a job or answers one: one job at a time tries, now and then. Where
// all children are busy nothing is asked back: nobody else would take it.
//
// Nothing is looked at but for a while after a hand-out to such a child, and while one is held back.

#include <algorithm>

#include "supervisor/pool/pool.hpp"

namespace bulkhead::pool {
namespace {

/// How often hand-outs are looked at.
constexpr std::chrono::milliseconds kLook{50};
/// A job is entered as soon as its child's loop turns: what was not for so long waits behind one that blocks.
constexpr std::chrono::milliseconds kBlocked{100};
/// After so long a child that is held back may try one more job.
constexpr std::chrono::milliseconds kTry{1'000};

}  // namespace

// ---- a child -------------------------------------------------------------------------------------------------------

bool Worker::hand_outs_wait() const {
  return state_ == WorkerState::Ready && concurrency_ > 1 &&
         std::any_of(open_.begin(), open_.end(), [](const Run& run) { return !run.started && !run.recalled; });
}

bool Worker::is_blocked(Time now) const {
  return hand_outs_wait() && std::any_of(open_.begin(), open_.end(), [&](const Run& run) {
           return !run.started && !run.recalled && now - run.handed >= kBlocked;
         });
}

bool Worker::has_room() const {
  return state_ == WorkerState::Ready && !held_back() && open_.size() < static_cast<std::size_t>(concurrency_) &&
         std::all_of(open_.begin(), open_.end(), [](const Run& run) { return run.started; });
}

int Worker::room() const {
  if (!held_back()) return concurrency_;
  const auto entered = std::count_if(open_.begin(), open_.end(), [](const Run& run) { return run.started; });
  return std::max(1, static_cast<int>(entered) + (trying_ ? 1 : 0));
}

void Worker::hold_back(Time now) {
  held_back_ = now;
  trying_ = false;
  for (Run& run : open_)
    if (!run.started) recall(run);
  room_changed();
}

bool Worker::try_again(Time now) {
  if (!held_back() || trying_) return false;
  if (now - held_back_ < kTry) return true;
  trying_ = true;
  room_changed();
  return false;
}

/// Its loop turns again.
void Worker::moves() {
  if (std::exchange(held_back_, Time{}) != Time{}) room_changed();
}

// ---- all of them ---------------------------------------------------------------------------------------------------

void Pool::watch_hand_outs() {
  if (std::exchange(hand_outs_watched_, true)) return;
  hand_out_timer_.expires_after(kLook);
  hand_out_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) look_for_blocked();
  });
}

void Pool::look_for_blocked() {
  hand_outs_watched_ = false;
  link_->look();  // that we are late is not the child's fault
  const auto now = std::chrono::steady_clock::now();
  std::vector<Worker*> all;  // what follows may call back
  for (auto& [number, worker] : workers_) all.push_back(worker.get());
  const bool others = std::any_of(all.begin(), all.end(), [](const Worker* worker) { return worker->has_room(); });
  bool more = false;
  for (Worker* worker : all) {
    if (others && worker->is_blocked(now)) worker->hold_back(now);
    more = worker->try_again(now) || worker->hand_outs_wait() || more;
  }
  if (more) watch_hand_outs();
}

}  // namespace bulkhead::pool
