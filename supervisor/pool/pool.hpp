// The children: as many as were asked for, always.
//
// A pool has a *place* for each worker and each spare; a place is where a child is launched again and again ("w2" in
// "w2.7"). Serving is not bound to a place: of the children that are set up, `workers` serve, the rest are spares. When
// a serving child ends or retires, a spare serves at once, and its place gets a fresh child, which becomes the spare.
//
// GPUs are dealt out to places, spares included, so that a child that steps in brings its own device. Where devices are
// fewer than places, places share them, which is said at the start. A place with a device gets its next child only when
// the last one is gone with all it had started; any other as soon as it is dead.
//
// A child that dies before it took a job (and before it lasted a while) failed its set-up: its place waits, longer each
// time (backoff.hpp). A command that cannot be executed at all is not tried `patience` times before that is said.

#pragma once

#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/pool/predecessor.hpp"
#include "supervisor/pool/preload.hpp"
#include "supervisor/pool/worker.hpp"
#include "supervisor/process/process_table.hpp"

namespace bulkhead::pool {

/// One child, as an onlooker sees it.
struct WorkerView {
  struct RunView {
    RunNumber run = 0;
    std::string_view job_id;
    int attempt = 1;
    bool entered = false;
    std::chrono::steady_clock::time_point since;  ///< entered, or handed out
  };
  WorkerNumber number = 0;
  int slot = 0;  ///< its place: 2 of "w2.7"
  std::string_view id;
  pid_t pid = 0;
  WorkerState state = WorkerState::Launching;
  std::chrono::steady_clock::time_point since;  ///< in this state
  int concurrency = 0;
  int window = 0;
  int jobs_done = 0;
  std::vector<RunView> runs;
};

class Pool final : public Workers, private WorkerOwner {
 public:
  /// Makes the runtime directory, ends what is left of a predecessor's children and cannot be adopted, sweeps, and opens
  /// the link. Blocks for that. Throws std::system_error.
  Pool(asio::any_io_executor executor, Options options);
  /// Children still there are killed. After stop() there are none.
  ~Pool() override;

  /// What its predecessor's children had entered. Nothing is known where some of them could not be ended.
  const Predecessor& predecessor() const { return predecessor_; }
  /// Whether a child was ever ready, in this life or in one that ended by a crash.
  bool ever_ready() const { return ever_ready_; }

  /// The child of an earlier supervisor that this job was handed to, and that will be adopted, dead or alive; 0: none
  /// can be. Before start().
  WorkerNumber claim(const Recovered& known, const Instant& now);

  /// Launches the children, and adopts those that are there. `listener` outlives the pool.
  void start(WorkersListener& listener);
  /// No more children. Those there finish what they have, for no longer than `grace`, and are ended; `stopped` is called
  /// once they are gone with all they had started, and their files are removed. Once.
  void stop(milliseconds grace, std::function<void()> stopped);

  /// So many from now on. Children that are too many finish what they have, and are ended; the last places go first.
  void resize(int workers, int spares);
  /// Everything shall end now, and say where it is: each child gets SIGABRT, and its stack is logged.
  void dump();

  /// Told of every child that is dead, and of every one that could not be started. Before start().
  void set_ends(ChildEnds ends) { ends_ = std::move(ends); }

  // Workers
  void send(const Assignment& assignment) override;
  void cancel(RunNumber run, StopReason reason) override;
  void recall(RunNumber run) override;
  void acknowledge(RunNumber run, std::uint32_t seq) override;
  void terminate(WorkerNumber worker) override;
  void kill(WorkerNumber worker, std::string reason) override;
  void refresh(WorkerNumber worker) override;
  std::optional<std::chrono::microseconds> cpu_time(WorkerNumber worker) override;
  void examine(RunNumber run, std::function<void(Payload record)> seen) override;

  /// All children, in the order they were launched. Views are valid until the loop goes on.
  std::vector<WorkerView> snapshot() const;
  /// Places whose child waits to be launched after a failed set-up.
  int backing_off() const;

 private:
  static constexpr int kDebug = 1, kWarning = 3;

  struct Place {
    Place(int number, const asio::any_io_executor& executor, const Options& options)
        : index(number), backoff(options.backoff), again(executor) {}
    std::string child_id() const;  ///< "w2.7"

    int index;
    std::optional<std::string> devices;  ///< CUDA_VISIBLE_DEVICES
    Worker* worker = nullptr;            ///< the last one launched here, until it is dead (with devices: gone)
    int generation = 0;
    Backoff backoff;
    asio::steady_timer again;
    bool waiting = false;
  };

  // WorkerOwner
  void set_up(Worker& worker) override;
  void leaving(Worker& worker) override;
  void dead(Worker& worker) override;
  void gone(Worker& worker) override;
  void owes_acks(bool urgent) override;
  void holds_progress() override { owes_acks(false); }
  void window_opened() override;

  /// adoption.cpp
  struct FormerChild {
    WorkerNumber number = 0;
    ChildRecord record;
    process::Adopted process;
    std::vector<Worker::Former> runs;
  };
  void find_former_children();
  void adopt_former_children();
  std::set<std::string> kept_scratch() const;
  bool is_kept(const std::filesystem::path& file) const;

  void end_leftovers(const process::Spared& spared);
  void prepare_runtime_dir();
  void deal_out_devices();
  bool is_wanted(const Place& place) const { return place.index < workers_wanted_ + spares_wanted_; }
  void say(std::string_view worker_id, std::string_view text, int level = kWarning);
  void make_places(int least = 0);
  void make_preload();
  void launch(Place& place);
  void launch_after(Place& place, milliseconds wait);
  void vacate(Worker& worker);
  void setup_failed(Place& place, const std::string& reason);
  void serve_with_spares();
  void destroy_gone();
  void flush_soon();
  void flush_later();
  void tick();
  void watch_hand_outs();
  void look_for_blocked();
  Worker* find(WorkerNumber number);
  double random() { return std::uniform_real_distribution<>()(generator_); }

  asio::any_io_executor executor_;
  const Options options_;
  std::mt19937_64 generator_;
  Predecessor predecessor_;
  bool predecessor_ended_ = false;
  std::vector<FormerChild> former_;  ///< until start()
  std::set<WorkerNumber> outdated_;  ///< adopted, and to be ended after their jobs
  Runs runs_;
  process::OomCounters oom_;
  process::Cgroups cgroups_;
  process::Symboliser symboliser_;
  std::unique_ptr<process::ScratchRoot> scratch_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<Preload> preload_;  ///< where it is asked for
  std::optional<WorkerSite> site_;
  int workers_wanted_;
  int spares_wanted_;
  std::deque<Place> places_;                                 ///< never fewer: timers' handlers refer to them
  std::map<WorkerNumber, std::unique_ptr<Worker>> workers_;  ///< whoever walks over it may be called back meanwhile
  std::vector<std::unique_ptr<Worker>> gone_;
  std::shared_ptr<int> alive_;  ///< held weakly by what is posted

  WorkerNumber last_number_ = 0;
  int serving_ = 0;
  bool ever_ready_ = false;
  bool unhealthy_ = false;
  bool stopping_ = false;
  bool preload_stopped_ = false;
  std::function<void()> stopped_;
  ChildEnds ends_;
  std::vector<std::string> remarks_;  ///< to be said at the start

  asio::steady_timer flush_timer_;
  bool flush_timer_on_ = false;
  bool flush_posted_ = false;
  asio::steady_timer window_timer_;
  bool window_timer_on_ = false;
  asio::steady_timer hand_out_timer_;
  bool hand_outs_watched_ = false;
  process::CpuTimes cpu_times_;
  std::chrono::steady_clock::time_point cpu_times_at_;
};

}  // namespace bulkhead::pool
