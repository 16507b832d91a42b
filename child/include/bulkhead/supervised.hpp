// A handler under a supervisor: the connection, and the loop of handlers that block their thread.
//
// Jobs run on the threads that wait in bh_next, so a job costs no hop: the main thread alone while the concurrency is 1,
// a pool of threads with the main thread as its first above that. A pool that became too large parks its surplus threads.
// A stop reaches a handler from the library's thread (bh_options::on_stop), since its own is busy.
//
// Order of the end: STOP or the loss of the supervisor comes out of bh_next on every thread; each finishes its job; the
// main thread joins the others and closes the connection, which gives the last results time to leave.

#pragma once

#include <condition_variable>
#include <cstdio>
#include <list>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include "bulkhead/bulkhead.h"
#include "bulkhead/job.hpp"
#include "bulkhead/options.hpp"

namespace bulkhead::sdk {

/// How long results may take to leave when the child ends.
inline constexpr int kCloseTimeoutMs = 5000;

inline Facts facts_of(const bh_job* job) {
  Facts facts;
  facts.id = bh_job_id(job);
  std::size_t size = 0;
  const char* text = bh_job_input(job, &size);
  facts.input = {text, size};
  text = bh_job_extra(job, &size);
  facts.extra = {text, size};
  if (const void* data = bh_job_checkpoint(job, &size)) facts.checkpoint = {static_cast<const char*>(data), size};
  facts.attempt = bh_job_attempt(job);
  return facts;
}

class SupervisedOutlet final : public Outlet {
 public:
  /// `blocking`: a checkpoint waits until it is durable.
  SupervisedOutlet(bh_job* job, const Program& program, bool blocking)
      : job_(job), program_(program), checkpoint_timeout_ms_(blocking ? -1 : 0) {}

  void log(Level level, std::string_view text) override {
    if (level >= program_.threshold) bh_job_log(job_, static_cast<bh_level>(level), text.data(), text.size());
  }
  void progress(std::string_view json) override {
    if (bh_job_progress(job_, json.data(), json.size()) == BH_TOO_LARGE)
      log(Level::Warn, "progress left out: " + too_large("it", json.size()));
  }
  bool save_checkpoint(std::string_view data) override {
    const int status = bh_job_save_checkpoint(job_, data.data(), data.size(), checkpoint_timeout_ms_);
    if (status == BH_TOO_LARGE) throw std::length_error(too_large("the checkpoint", data.size()));
    return status == BH_OK || (status == BH_AGAIN && checkpoint_timeout_ms_ == 0);  // BH_AGAIN: it is on its way
  }
  StopReason stop_reason() const override { return static_cast<StopReason>(bh_job_stopping(job_)); }
  int chunk(std::string_view json, bool wait) override {
    return bh_job_chunk(job_, json.data(), json.size(), wait ? -1 : 0);
  }

  /// The result, once.
  void finish(Outcome outcome) {
    const int flags = outcome.refresh_worker || program_.options.refresh_worker ? BH_REFRESH_WORKER : 0;
    const std::size_t size = outcome.output.size();
    const char* output = size == 0 ? nullptr : outcome.output.data();
    const int status = !outcome.error.empty()
                           ? bh_job_failed(job_, outcome.error.data(), outcome.error.size(), output, size, flags)
                       : size < kCopyBelow ? bh_job_done(job_, output, size, flags)
                                           : done_without_copy(std::move(outcome.output), flags);
    if (status != BH_TOO_LARGE) return;
    const std::string message = outcome.error.empty()
                                    ? too_large("the output", size)
                                    : too_large("the error with its output", outcome.error.size() + size) +
                                          "; it began: " + valid_utf8(outcome.error.substr(0, 1024));
    const std::string error = failure_text(program_.who, "bulkhead::ResultTooLarge", message, message);
    bh_job_failed(job_, error.data(), error.size(), nullptr, 0, flags);
  }

 private:
  /// Below this a copy costs less than the bookkeeping around none.
  static constexpr std::size_t kCopyBelow = 16 << 10;

  int done_without_copy(std::string output, int flags) {
    auto* held = new std::string(std::move(output));
    return bh_job_done_owned(
        job_, held->data(), held->size(), flags, [](void* text) { delete static_cast<std::string*>(text); }, held);
  }

  static std::string too_large(const char* what, std::size_t size) {
    return std::string(what) + " has " + std::to_string(size) + " bytes: " + bh_strerror(BH_TOO_LARGE);
  }

  bh_job* const job_;
  const Program& program_;
  const int checkpoint_timeout_ms_;
};

/// The connection of this process.
class Connection {
 public:
  /// Says why and holds nullptr when there is none. `on_stop` may be nullptr: cancels come as events then.
  explicit Connection(void (*on_stop)(bh_job*, bh_stop_reason, void*) = nullptr, void* user = nullptr) {
    const std::string sdk = std::string("bulkhead-cpp/") + bh_version();
    bh_options options{};
    options.size = sizeof options;
    options.sdk = sdk.c_str();
    options.on_stop = on_stop;
    options.on_stop_user = user;
    char error[512] = "";
    child_ = bh_connect(&options, error, sizeof error);
    if (child_ == nullptr) std::fprintf(stderr, "bulkhead: %s\n", error);
  }
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bh_child* get() const { return child_; }
  void log(Level level, std::string_view text) {
    bh_log(child_, static_cast<bh_level>(level), text.data(), text.size());
  }
  void close() {
    if (child_ != nullptr) bh_close(std::exchange(child_, nullptr), kCloseTimeoutMs);
  }

 private:
  bh_child* child_ = nullptr;
};

/// Of a child whose last bh_next gave `status`: BH_OK where it was a STOP.
inline int exit_code(int status) {
  if (status == BH_OK) return 0;
  std::fprintf(stderr, "bulkhead: %s\n", bh_strerror(status));
  return 1;
}

/// Runs blocking handlers until the supervisor says stop.
class BlockingLoop {
 public:
  explicit BlockingLoop(const Program& program) : program_(program), connection_(&BlockingLoop::on_stop, this) {}

  /// The exit code.
  int run() {
    if (connection_.get() == nullptr) return 1;
    adjust_concurrency(true);
    work(0);
    for (std::thread& thread : threads_) thread.join();
    connection_.close();
    return exit_code(lost_);
  }

 private:
  /// What thread number `index` does; 0 is the main thread.
  void work(int index) {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        unparked_.wait(lock, [&] { return ending_ || index < concurrency_; });
      }
      bh_event event{};
      const int status = bh_next(connection_.get(), -1, &event);
      if (status == BH_OK && event.kind == BH_EVENT_JOB) {
        run_job(event.job);
        adjust_concurrency(false);
      } else if (status != BH_AGAIN && (status != BH_OK || event.kind == BH_EVENT_STOP)) {
        std::lock_guard lock(mutex_);
        ending_ = true;
        if (status != BH_OK) lost_ = status;
        unparked_.notify_all();
        return;
      }
    }
  }

  void run_job(bh_job* handle) {
    SupervisedOutlet outlet(handle, program_, true);
    std::stop_source stop;
    {
      std::lock_guard lock(mutex_);
      running_.emplace(handle, stop);
    }
    // on_stop may have come before the job was known here; the library had set the flag by then.
    if (bh_job_stopping(handle) != BH_RUNNING) stop.request_stop();
    Outcome outcome;
    {
      Job job(facts_of(handle), outlet, stop.get_token());
      outcome = program_.options.handler.run(
          job, Surroundings{program_.who, outlet, program_.options.return_aggregate_stream});
    }
    {
      std::lock_guard lock(mutex_);
      running_.erase(handle);
    }
    outlet.finish(std::move(outcome));
  }

  /// Asks the modifier, one thread at a time, tells the supervisor, and sees to it that there are threads enough.
  void adjust_concurrency(bool first) {
    if (!first && !program_.options.concurrency_modifier) return;
    std::lock_guard asking(asking_);
    const int wanted =
        program_.concurrency(concurrency_, [&](const std::string& text) { connection_.log(Level::Error, text); });
    {
      std::lock_guard lock(mutex_);
      if (ending_ || (!first && wanted == concurrency_)) return;
      concurrency_ = wanted;
      start_threads();
      unparked_.notify_all();
    }
    bh_ready(connection_.get(), concurrency_);  // outside mutex_, which on_stop takes
  }

  /// As many as there may be jobs; where the system refuses one, the concurrency is what there is.
  void start_threads() {
    try {
      for (int have = static_cast<int>(threads_.size()) + 1; have < concurrency_; ++have)
        threads_.emplace_back(&BlockingLoop::work, this, have);
    } catch (const std::system_error& error) {
      concurrency_ = static_cast<int>(threads_.size()) + 1;
      connection_.log(Level::Error, "starting a thread: " + error.code().message() + "; going on with " +
                                        std::to_string(concurrency_) + " jobs at once");
    }
  }

  static void on_stop(bh_job* job, bh_stop_reason, void* self) {
    auto& loop = *static_cast<BlockingLoop*>(self);
    std::stop_source stop(std::nostopstate);
    {
      std::lock_guard lock(loop.mutex_);
      const auto found = loop.running_.find(job);
      if (found == loop.running_.end()) return;
      stop = found->second;
    }
    stop.request_stop();  // outside the lock: it runs callbacks of the user's
  }

  const Program& program_;
  std::mutex asking_;  // serialises the modifier; taken before mutex_
  std::mutex mutex_;
  std::condition_variable unparked_;
  std::unordered_map<bh_job*, std::stop_source> running_;
  std::list<std::thread> threads_;
  int concurrency_ = 1;
  bool ending_ = false;
  int lost_ = BH_OK;       // why there will be no more events, where it was not a STOP
  Connection connection_;  // last: on_stop may call as soon as it exists
};

}  // namespace bulkhead::sdk
