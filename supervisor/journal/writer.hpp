// The thread that writes.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "supervisor/journal/checkpointer.hpp"
#include "supervisor/journal/operation.hpp"
#include "supervisor/journal/sqlite.hpp"
#include "supervisor/journal/store.hpp"
#include "supervisor/journal/tables.hpp"

namespace bulkhead::journal {

/// How many run numbers are put on record at a time; a restart skips those that are left of its block.
inline constexpr RunNumber kRunBlock = 1'000'000;

class Writer {
 public:
  struct Settings {
    bool relaxed = false;         ///< commits need not reach the disk
    std::uint64_t max_bytes = 0;  ///< 0: no limit
    int log_pages = 2048;         ///< longer, and the log is copied back at once
    RunNumber reserved = 0;       ///< run numbers below this are on record as used
    std::function<std::int64_t()> wall_ms;
    LetterLimits letters;
  };

  /// `notify` is called on the writer's thread when there is something to collect.
  Writer(Connection connection, Connection checkpoints, Settings settings, std::function<void()> notify);
  /// Writes what is queued (once: a disk that refuses is not waited for) and ends the thread.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  /// The loop's side. `bytes`: of the payloads in it. A lazy operation waits up to kLazyDelay for company.
  void push(Operation operation, std::size_t bytes);
  /// Moves what is done into `done`, in the order it was pushed, and brings `health` up to date.
  void collect(std::vector<Batch>& done, Health& health);
  /// Gives a collected batch's memory back for reuse.
  void recycle(Batch batch);

  Histogram commit_times() const;
  std::uint64_t commits() const { return commits_.load(std::memory_order_relaxed); }

 private:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr Time kNever = Time::max();

  void run();
  void wait(std::unique_lock<std::mutex>& lock);
  bool due(Time now) const;
  Time next_timer() const;

  void write(Batch batch);
  bool commit(Batch& batch, bool only_kept);
  void apply(Batch& batch, bool only_kept);
  void after_commit(const Batch& batch, bool only_kept);
  void measure();
  void refuse(Batch batch);
  bool flush_kept();
  void deliver(Batch batch);
  void report(const char* what);
  void set_writable(bool writable);

  void maintain();
  void sweep();
  void schedule_sweep(std::int64_t now_ms);
  void plan_checkpoint(Time now);
  void finish_checkpoint(Time now);
  void vacuum(Time now);

  // The writer's thread alone.
  Connection connection_;
  Settings settings_;
  std::function<void()> notify_;
  Tables tables_;
  Statement begin_, commit_, rollback_, page_count_, free_count_;
  std::int64_t page_size_ = 4096;
  std::uint64_t used_bytes_ = 0;
  RunNumber reserved_ = 0;
  bool writable_ = true;
  Batch kept_;  ///< what a refusing disk must still take
  std::error_code failure_;
  std::chrono::milliseconds backoff_{0};
  Time retry_at_{};
  std::optional<std::int64_t> next_expiry_;
  Time sweep_at_ = kNever;
  int wal_pages_ = 0;
  Time last_write_{};
  Time checkpoint_at_ = kNever;
  Time checkpoint_not_before_{};
  std::optional<Time> secret_since_;  ///< when an erased secret may have been left behind in the log
  Time vacuum_at_ = kNever;
  std::atomic<std::uint64_t> commits_{0};

  // Shared with the loop and the checkpointer, under the mutex.
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> queue_;
  std::vector<Batch> done_, spare_;
  bool urgent_ = false;
  bool waiting_ = false;
  Time lazy_deadline_ = kNever;
  bool pass_running_ = false, pass_done_ = false;
  Health health_;
  bool health_changed_ = false;
  Histogram commit_times_;
  bool stopping_ = false;

  Checkpointer checkpointer_;
  std::thread thread_;
};

}  // namespace bulkhead::journal
