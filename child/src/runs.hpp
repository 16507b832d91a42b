// All runs this child knows, and the order in which they are told to the caller. Pure state: no socket, no thread, the
// black box aside. Guarded by the session's mutex.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "child/src/black_box_writer.hpp"
#include "child/src/job.hpp"
#include "child/src/job_list.hpp"

namespace bulkhead::child {

class Runs {
 public:
  Runs(Session& session, BlackBoxWriter& black_box) : session_(session), black_box_(black_box) {}

  /// A new run, Waiting behind those that came before. nullptr if its number is known already.
  Job* add(protocol::Run run);
  Job* find(protocol::Run run) const;

  void set_concurrency(int most) {
    concurrency_ = most;
    show_phase();
  }
  int concurrency() const { return concurrency_; }
  /// No more will come: the black box says so from here on.
  void set_stopping() {
    stopping_ = true;
    show_phase();
  }
  /// How many run.
  int running() const { return running_; }

  /// Whether the caller can be told something: a notice, or a job that may be entered.
  bool has_event() const { return !notices_.empty() || can_enter(); }
  bool has_notice() const { return !notices_.empty(); }
  bool can_enter() const { return !waiting_.empty() && running_ < concurrency_ && !black_box_.full(); }

  /// The next Waiting run becomes Running: noted in the black box first. Only if can_enter().
  Job& enter(Clock::time_point now, pid_t thread);

  struct Notice {
    Job* job;
    Job::Notice kind;
  };
  /// Only if has_notice().
  Notice take_notice();
  void notify(Job& job, Job::Notice kind);

  /// Running -> Left; `given`: the result went to the socket.
  void leave(Job& job, bool given);
  /// Waiting -> HandedBack.
  void hand_back(Job& job);
  Job* first_waiting() const { return waiting_.front(); }
  /// Applies an acknowledgement. The run is gone if that was its last word. Returns it if it is still there and
  /// something was dropped.
  Job* acknowledge(protocol::Run run, std::uint32_t seq);
  /// Forgets the run, whatever its state.
  void discard(Job& job);

  /// The run that has run longest without the supervisor having been told, or nullptr.
  Job* longest_untold() const { return fresh_.front(); }
  void told(Job& job) {
    job.started_told = true;
    fresh_.erase(job);
  }

  void queue_stop_call(Job& job);
  /// The next run whose on_stop is to be called now (marked so), or nullptr.
  Job* take_stop_call();

  /// Calls `visit(Job&)` for every run that is not Free.
  template <class Visit>
  void each(Visit visit) {
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (all_[i]->state != Job::State::Free) visit(static_cast<Job&>(*all_[i]));
    }
  }

 private:
  void show_phase();
  Job*& bucket(protocol::Run run) { return buckets_[(run * 0x9e3779b97f4a7c15u) >> (64 - kBucketBits)]; }

  static constexpr int kBucketBits = 10;

  Session& session_;
  BlackBoxWriter& black_box_;
  int concurrency_ = 0;
  int running_ = 0;
  bool stopping_ = false;
  std::array<Job*, 1 << kBucketBits> buckets_{};
  std::vector<std::unique_ptr<bh_job>> all_;  ///< never shrinks: a stale handle may be wrong, but not wild
  std::vector<Job*> free_;
  JobList<&Job::queue> waiting_;
  JobList<&Job::queue> notices_;
  JobList<&Job::fresh> fresh_;
  JobList<&Job::stop_hook> stop_calls_;
};

}  // namespace bulkhead::child
