// The core: every job the supervisor has, from its acceptance until its outcome was delivered.
//
// It joins the lifecycle table, the scheduler and the deadlines, and carries their effects out through the ports. It is
// as pure as they are: no sockets, no threads, no clock but the one it is given; tests drive it with fakes. One thread.
//
// Re-entrance: a port may call back at once, from within the call (the memory journal does). So a record is never
// touched after an effect that can end it, and jobs are handed out from one place (`pump`), which does not nest.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "supervisor/job/deadlines.hpp"
#include "supervisor/job/lifecycle.hpp"
#include "supervisor/job/ports.hpp"
#include "supervisor/job/quarantine.hpp"
#include "supervisor/job/scheduler.hpp"
#include "supervisor/job/watchers.hpp"

namespace bulkhead {

struct DispatcherOptions {
  std::size_t queue_max = 1'000'000;  ///< jobs that wait; more are refused
  milliseconds stop_time{5'000};      ///< between the stop token and SIGTERM
  /// What a child finished while there was no supervisor is not late: a job that is taken up has this long for its child
  /// to connect, whatever its deadline, and then as long again as `kept_time` for what was kept to arrive.
  milliseconds connect_time{10'000};
  milliseconds kept_time{2'000};
  milliseconds terminate_time{2'000};  ///< between SIGTERM and SIGKILL
  milliseconds kill_time{5'000};       ///< before SIGKILL is sent again
  int bystander_max = 3;               ///< times an unentered job is given back uncounted after a death
  int quarantine = 0;                  ///< children an input may crash before it is refused; 0: any number
  milliseconds start_again{200};       ///< after the journal refused an attempt
};

class Dispatcher final : public Intake, public WorkersListener {
 public:
  struct Counts {
    std::int64_t completed = 0, failed = 0, cancelled = 0, timed_out = 0, retried = 0;
    std::int64_t queued = 0, running = 0;
  };

  /// `first_run`: the first run number no attempt has had. `random` gives uniform numbers in [0, 1), for jitter.
  Dispatcher(DispatcherOptions options, const Clock& clock, Journal& journal, RunNumber first_run,
             std::function<double()> random);
  ~Dispatcher() override;
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  /// Before anything else: the children, who in turn are told of this listener.
  void set_workers(Workers& workers) { workers_ = &workers; }
  /// The source new jobs belong to, and the listener of every log line, with its job and attempt (nullptr and 0 outside any).
  void set_source(Source& source) { source_ = &source; }
  void set_log(std::function<void(const LogLine&, const Job*, int attempt)> log) { log_ = std::move(log); }
  /// Before anything else, if anybody counts.
  void set_watcher(JobsWatcher& watcher) { watcher_ = &watcher; }
  /// From now on: what waits already stays, and a step of a ladder that was begun keeps its time.
  void set_options(const DispatcherOptions& options) { options_ = options; }
  /// What names an input's bytes and the handler's build; without, there is no quarantine.
  void set_fingerprints(Quarantine::Fingerprint of_input, std::function<std::string()> build) {
    quarantine_.emplace(std::move(of_input), std::move(build));
  }
  /// Those the journal knew. Before recover().
  void recover_suspects(std::vector<Suspect> suspects);
  /// Called when wake_at() may have become earlier.
  void set_alarm(std::function<void()> alarm) { alarm_ = std::move(alarm); }
  /// Called when the pool's health changes: with the reason, or an empty one when it is well again.
  void set_pool_health(std::function<void(const std::string& reason, bool never_ready)> changed) {
    pool_health_ = std::move(changed);
  }

  /// Takes up what the journal knew. Before any submission.
  /// `never_entered` (a run, its child's id) tells of those that were handed out and whose handler was certainly not
  /// called: they wait again, and the attempt is not counted.
  /// `held_by` names the child that has a job still, or 0: such a job goes on as if nothing had been. The child's word
  /// follows, resumed() if it does have it.
  using NeverEntered = std::function<bool(RunNumber, std::string_view)>;
  using HeldBy = std::function<WorkerNumber(const Recovered&)>;
  void recover(std::vector<Recovered> jobs, const NeverEntered& never_entered = {}, const HeldBy& held_by = {});

  /// Deadlines: when to call tick next, at the earliest.
  std::optional<std::chrono::steady_clock::time_point> wake_at() const;
  void tick();

  /// No more submissions and no more starts; what waits, waits for the next supervisor.
  void drain();
  /// Nothing is started any more; submissions are taken, and wait for the next supervisor.
  void hold() { held_ = true; }
  /// The grace is over: runs still out are told to stop, and put on the ladder.
  void stop_runs();
  /// Runs held by children or being made durable. Zero, after drain(): nothing would be lost by ending.
  std::size_t unfinished() const { return out_; }
  /// The same for jobs that wait: nothing may be left of what was accepted but what is being reported.
  void stop_all();
  /// Jobs whose outcome is not durable: accepted or on their way to be. Looks at each.
  std::size_t open() const;
  /// Further jobs that could start at once; negative: so many wait for a child.
  int room() const { return scheduler_.free_now() - static_cast<int>(scheduler_.queued()) - accepting_; }

  Counts counts() const;
  /// When the job at the head of the queue was submitted (wall time); none where nobody waits.
  std::optional<std::int64_t> oldest_ms() const;
  /// Whether a job that came now would be taken in, as far as that is known before it comes.
  bool accepts() const { return !draining_ && scheduler_.queued() < options_.queue_max; }

  // Intake
  void submit(Job job, std::function<void(Accepted)> answered) override;
  bool cancel(std::string_view id) override;
  std::vector<std::string> purge() override;
  bool quarantined(const Payload& input) override;
  std::size_t clear_quarantine() override;

  // WorkersListener
  void ready(WorkerNumber worker, std::string_view worker_id, int concurrency, int window) override;
  void retiring(WorkerNumber worker) override;
  void started(RunNumber run) override;
  void resumed(RunNumber run, std::uint32_t chunks, bool entered) override;
  void progress(RunNumber run, Payload value) override;
  void chunk(RunNumber run, std::uint32_t seq, Payload value) override;
  void checkpoint(RunNumber run, std::uint32_t seq, Payload data) override;
  void succeeded(RunNumber run, std::uint32_t seq, Payload output, std::chrono::microseconds run_time,
                 bool refresh) override;
  void failed(RunNumber run, std::uint32_t seq, Payload error, Payload output, std::chrono::microseconds run_time,
              bool refresh) override;
  void handed_back(RunNumber run, std::uint32_t seq) override;
  void log(const LogLine& line) override;
  void died(WorkerNumber worker, std::span<const Casualty> casualties) override;
  void unhealthy(std::string reason, bool never_ready) override;
  void healthy() override;

 private:
  enum class Why : std::uint8_t { None, Cancel, Timeout, Stall, Expired, Drain, Quarantined };
  struct Record;
  struct Worker {
    std::string id;
    int open = 0;  ///< runs it holds, and outcomes of its runs not yet durable
    bool refresh = false;
  };

  void on(Record& record, Event event);
  void carry_out(Record& record, Effect effects);
  static std::optional<Loss> loss_of(const Record& record, Event event);
  static bool may_retry(const Record& record, Event event);
  static std::string_view reason_of(const Record& record);
  void add_to_history(Record& record, std::string_view reason, std::string_view error_type);
  void lose(Record& record, Event event);
  void write_lost(Record& record, RunNumber run);
  void lost_with_supervisor(Record& record, const Recovered& known);
  void note_end(Record& record, Event event);
  void conclude(Record& record, Event event);
  void conclude_stopped(Record& record, Event event);
  void take_up(Record& record, const Recovered& known, WorkerNumber worker);
  void admit(Record& record);
  void refuse(Record& record);
  void turn_away(Refusal refusal, std::string reason, const std::function<void(Accepted)>& answered) {
    if (watcher_) watcher_->refused(refusal);
    answered({refusal, std::move(reason), {}});
  }
  void assign(const Scheduler::Pair& pair);

  // dispatcher_quarantine.cpp
  const std::string& fingerprint_of(Record& record);
  int running(const std::string& fingerprint);
  const Suspect* suspect_of(Record& record);
  bool hold_back(Record& record);
  void refuse_as_suspect(Record& record, const Suspect& suspect);
  void note_crash(Record& record, const Payload& crash);
  void watch_inputs(WorkerNumber worker);
  void release_inputs(WorkerNumber worker);

  // dispatcher_stall.cpp
  void begin_watch(Record& record);
  void sign_of_life(Record& record);
  std::chrono::steady_clock::time_point next_look(const Record& record) const;
  void look_for_life(Record& record);
  void examine(Record& record);

  void send(Record& record);
  void release(Record& record);
  void leave(Record& record);
  void enqueue(Record& record, bool first);
  void write_start(Record& record);
  void write_finish(Record& record);
  void finish_written(Record& record);
  void report(Record& record);
  void answered(RunNumber run, std::uint32_t seq, Outcome outcome, std::chrono::microseconds run_time, bool refresh);
  struct Checkpoint {
    RunNumber run = 0;
    std::uint32_t seq = 0;
    Payload data;
    std::chrono::steady_clock::time_point again;
  };
  void write_checkpoint(Checkpoint checkpoint);
  void write_refused_checkpoints(std::chrono::steady_clock::time_point now);
  void want_stop(Record& record, Why why);
  void arm(Record& record);
  void arm_no_sooner(Record& record, milliseconds than);
  void set_deadline(Record& record, std::chrono::steady_clock::time_point deadline);
  void pump();
  Record* find(RunNumber run);
  void forget(Record& record);
  Record& add(Job job);

  DispatcherOptions options_;
  const Clock& clock_;
  Journal& journal_;
  Workers* workers_ = nullptr;
  RunNumber next_run_;
  std::function<double()> random_;
  Source* source_ = nullptr;
  JobsWatcher* watcher_ = nullptr;
  std::function<void(const LogLine&, const Job*, int)> log_;
  std::function<void()> alarm_;
  std::function<void(const std::string&, bool)> pool_health_;

  std::unordered_map<std::string_view, std::unique_ptr<Record>> records_;  ///< keys view the records' ids
  std::unordered_map<RunNumber, Record*> runs_;                            ///< handed out, or being started
  std::unordered_map<WorkerNumber, Worker> known_workers_;
  Scheduler scheduler_;
  std::optional<Quarantine> quarantine_;
  std::vector<std::pair<WorkerNumber, std::string>> watched_;  ///< inputs of children that are ending
  Deadlines<Record> deadlines_;
  std::deque<Checkpoint> refused_checkpoints_;  ///< by the disk, in the order in which they are tried again
  Counts counts_;
  std::size_t out_ = 0;
  int accepting_ = 0;                   ///< records in that state
  std::uint64_t accepts_answered_ = 0;  ///< by the journal
  int told_room_ = -1;
  bool draining_ = false;
  bool held_ = false;
  bool pumping_ = false;
};

}  // namespace bulkhead
