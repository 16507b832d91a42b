// One child, as the pool deals with it: from its launch until nothing of it is left.
//
//     Launching -> SettingUp -> Spare -> Ready -> Retiring -> Ending -> Dead
//
// Any state may be left for Ending, by the child's death or by our decision; states may be skipped, and none comes again.
//
// The order at a death: the process ends, and its group is killed; its connection is read to the end (results on their
// way count; where that takes time, because a stray holds it open, the strays are ended first); its output is read; the
// black box says which of the runs left had been entered; the core is told (after the stack was given names, if there is
// one); the strays are ended; the owner may launch a replacement; the process is reaped and its files are removed; the
// owner may destroy the worker.

#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/watchers.hpp"
#include "supervisor/pool/log_tail.hpp"
#include "supervisor/pool/window.hpp"
#include "supervisor/pool/worker_site.hpp"

namespace bulkhead::pool {

enum class WorkerState : std::uint8_t { Launching, SettingUp, Spare, Ready, Retiring, Ending, Dead };
std::string_view to_string(WorkerState state);

class Worker final : private LineHandler {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `id`: "w0.3", of the place `slot` 0. `max_jobs`: 0 for no limit.
  Worker(WorkerSite& site, WorkerNumber number, int slot, std::string id, int max_jobs);
  ~Worker();

  /// Starts the process. After a failure the worker is of no further use, and calls nobody. (Where a process is forked,
  /// failing comes later: as a death.)
  std::optional<LaunchFailure> launch(const std::optional<std::string>& devices);

  /// Instead: goes on with a process of an earlier supervisor, dead or alive, and the runs it had been given.
  struct Former {
    RunNumber run = 0;
    std::string job_id;
    int attempt = 1;
    Time started;
  };
  void adopt(const ChildRecord& record, process::Child child, const std::vector<Former>& runs);

  // Commands. Each is ignored where it comes too late.
  void activate();
  void run(const Assignment& assignment);
  void cancel(Run& run, StopReason reason);
  void recall(Run& run);
  void acknowledge(Run& run, std::uint32_t seq);
  void terminate();
  void kill(std::string reason);
  /// Ends it by SIGABRT, so that its stack can be logged.
  void dump();
  /// A record of where a run, and the whole process, is. Calls `seen` later, with none where that cannot be told.
  void examine(Run& run, std::function<void(Payload)> seen);
  /// A clean child is wanted: kills this one, which is not held against it.
  void refresh();
  /// Lets it finish what it has, and end.
  void retire();
  /// It is given no further jobs.
  void withhold_jobs() { withdraw(); }
  /// It has taken as many jobs as one process may.
  bool has_had_its_jobs() const { return max_jobs_ > 0 && jobs_taken_ >= max_jobs_; }
  /// Ends it at once, for no fault of its own.
  void dismiss(std::string reason);
  /// The pool ends: lets it finish what it has, but for no longer than `grace`.
  void stop(milliseconds grace);

  void flush_acks(bool urgent_only);
  void pass_progress();
  /// While the window is open: recalls what waits behind a slow run. False: there is nothing to watch any more.
  bool tick(Time now);

  // Where several jobs run at once and the handler blocks: blocked_children.cpp
  /// It has not entered all it was handed.
  bool hand_outs_wait() const;
  /// … for so long that it must have blocked.
  bool is_blocked(Time now) const;
  /// A job it got now would be entered, as far as can be known.
  bool has_room() const;
  /// Recalls what it has not entered, and gets no more until it moves.
  void hold_back(Time now);
  bool held_back() const { return held_back_ != Time{}; }
  /// After a while one job may find out whether it still blocks. False: there is nothing to watch until it gets that job.
  bool try_again(Time now);

  WorkerNumber number() const { return number_; }
  int slot() const { return slot_; }
  const std::string& id() const { return id_; }
  WorkerState state() const { return state_; }
  Time since() const { return since_; }
  pid_t pid() const { return process_.pid(); }
  int concurrency() const { return concurrency_; }
  int window() const { return window_.size(); }
  int jobs_done() const { return jobs_done_; }
  const RunList& open_runs() const { return open_; }
  /// The core has, or had, it to give jobs to.
  bool served() const { return known_; }

  /// Its set-up was no failure: it took a job, or lasted; or it was ended for no fault of its own.
  bool proved() const;
  /// The command can never be executed.
  bool hopeless() const { return launch_failure_ && !launch_failure_->transient; }
  /// Of a child whose process is dead.
  EndCause end_cause() const;
  /// None where there never was a process.
  const std::optional<process::ExitStatus>& status() const { return process_.status(); }
  /// How it ended, with its last lines: what is said of a set-up that failed.
  std::string obituary() const;

 private:
  enum class Cause : std::uint8_t { Itself, Setup, Violation, Core, Refresh, Retired, Stopped };
  using Step = void (Worker::*)();

  void become(WorkerState state);
  void withdraw();
  void leave();
  void kill_for(Cause cause, std::string remark);
  void arm(milliseconds after, Step step);
  void step_terminate();
  void step_kill();
  void setup_timed_out();
  void silent_too_long();
  void refresh_overdue();
  void say_stop();
  void end_if_idle();
  void room_changed();
  int room() const;
  void moves();
  void recall_waiting();
  void send(const protocol::ToChild& message, std::span<const Payload> owners = {});

  // What the child says: worker_messages.cpp
  void received(Received& received) override;
  void welcome(const protocol::Hello& hello, std::uint32_t version);
  std::vector<protocol::Acked> resume(const protocol::Hello& hello, std::uint32_t version);
  bool settle_missing_runs(const std::vector<protocol::Acked>& seen);
  void adoption_overdue();
  bool lost_with_supervisor() const;
  void garbled(const protocol::DecodeError& error) override;
  void closed() override;
  void on(const protocol::Hello& hello, Received&);
  void on(const protocol::Ready& ready, Received&);
  void on(const protocol::Started& started, Received&);
  void on(const protocol::Progress& progress, Received& received);
  void on(const protocol::Chunk& chunk, Received& received);
  void on(const protocol::Log& log, Received&);
  void on(const protocol::Checkpoint& checkpoint, Received& received);
  void on(const protocol::Done& done, Received& received);
  void on(const protocol::Failed& failed, Received& received);
  void on(const protocol::HandBack& back, Received&);
  void on(const protocol::Heartbeat&, Received&) {}
  Run* find(RunNumber number);
  Run* take(RunNumber number, std::uint32_t seq);
  bool is_json(Run& run, std::string_view body, const char* what);
  void enter(Run& run);
  void close(Run& run);
  void answered(std::chrono::microseconds run_time, bool refresh);
  void violation(protocol::RefuseReason reason, const std::string& text);
  void break_run(Run& run, const std::string& text);
  void printed(process::Stream stream, std::string_view line);
  void look_for_modules(std::string_view line);
  void say(std::string_view text);
  RunNumber speaker() const;

  // Where a stalled one stands: worker_stacks.cpp
  struct Examination;
  void look_for_stacks();
  void name_next_thread();
  void examined();

  // How it ends: worker_end.cpp
  void process_ended();
  void never_began(const LaunchFailure& failure);
  void end_strays();
  void strays_ended(const process::StrayReport& strays);
  void judge();
  void report(const std::vector<std::string>& stack);
  void bury();
  void finish();
  Payload record_of(const Run& run, const std::vector<std::string>& stack) const;
  Payload to_payload(process::CrashRecord& record, const Run& run) const;

  WorkerSite& site_;
  const WorkerNumber number_;
  const int slot_;
  const std::string id_;
  const int max_jobs_;
  WorkerState state_ = WorkerState::Launching;
  Time since_;
  Time set_up_at_{};
  std::unique_ptr<Line> line_;
  asio::steady_timer timer_;
  std::shared_ptr<int> alive_;  ///< held weakly by callbacks that may outlive this

  int concurrency_ = 0;
  int jobs_taken_ = 0;
  int jobs_done_ = 0;
  Window window_;
  Time held_back_{};  ///< since when it gets no jobs but to try
  bool trying_ = false;
  Time stepped_{};                            ///< when the child last began or ended a run, as far as we know
  RunList open_;                              ///< handed out and not over, in that order
  RunList closed_;                            ///< over, but not acknowledged to the end
  std::vector<protocol::Acked> acks_;         ///< to travel with the next job
  std::vector<protocol::Acked> urgent_acks_;  ///< the child may be waiting for them
  LogTail tail_;
  LogBudget log_budget_;

  bool known_ = false;      ///< the core has heard of it
  bool withdrawn_ = false;  ///< and knows that it takes no further jobs
  bool left_ = false;
  bool refreshing_ = false;  ///< the handler asked for it; the core says when
  bool dumping_ = false;
  bool terminated_ = false;                      ///< by the core: a run did not stop
  StopReason stop_reason_ = StopReason::Cancel;  ///< of the last run that was told to
  bool broke_ = false;                           ///< a run's messages made no sense
  bool judged_ = false;
  bool ending_strays_ = false;
  bool strays_ended_ = false;
  bool buried_ = false;
  bool reported_ = false;
  Time ended_at_{};
  Cause cause_ = Cause::Itself;
  bool greeted_ = false;                        ///< it has said hello
  bool adopted_ = false;                        ///< from an earlier supervisor
  bool dismissed_ = false;                      ///< and not to be kept
  bool modules_hidden_ = false;                 ///< see hidden_modules.hpp
  std::vector<std::string> interpreter_stack_;  ///< what its crash file has of one
  std::string remark_;
  std::optional<LaunchFailure> launch_failure_;  ///< there never was a process
  std::shared_ptr<Examination> examination_;     ///< under way

  ChildProcess process_;  ///< last: ends first
};

}  // namespace bulkhead::pool
