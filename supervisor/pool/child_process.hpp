// One child's process and all that belongs to it on this machine: scratch directory, black box, crash file, output.
//
// It is started by us, or forked by a fork server where there is one, which takes a moment: then pid() is 0 for so long.
//
// It knows how to start, to be signalled, to end without a trace, and what can be learnt from what is left. It knows
// nothing of jobs and of the wire; the Worker does.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/pool/child_record.hpp"
#include "supervisor/pool/options.hpp"
#include "supervisor/process/black_box_file.hpp"
#include "supervisor/process/cgroups.hpp"
#include "supervisor/process/crash_file.hpp"
#include "supervisor/process/crash_record.hpp"
#include "supervisor/process/fork_server.hpp"
#include "supervisor/process/launch.hpp"
#include "supervisor/process/oom.hpp"
#include "supervisor/process/output.hpp"
#include "supervisor/process/scratch.hpp"
#include "supervisor/process/strays.hpp"

namespace bulkhead::pool {

namespace asio = boost::asio;

/// What all children's processes share. Outlives them.
struct ProcessSite {
  asio::any_io_executor executor;
  const Options& options;
  process::ScratchRoot& scratch;
  const process::OomCounters& oom;
  process::Cgroups& cgroups;
  std::filesystem::path files;  ///< the directory of black boxes and crash files
  /// The fork server, if there is one and it is ready; may be empty.
  std::function<process::ForkServer*()> fork_server;
};

/// Why there is no process.
struct LaunchFailure {
  std::string text;
  bool transient = false;  ///< trying again may help
};

/// What is the same for every child: the command, its environment, its limits.
process::SpawnPlan base_plan(const Options& options);

class ChildProcess {
 public:
  struct Handlers {
    std::function<void()> ended;  ///< the process is dead, and not reaped: status() says how
    /// There is none after all; nothing is left of it. Not from within launch().
    std::function<void(const LaunchFailure&)> failed;
    std::function<void(process::Stream, std::string_view line)> printed;
  };

  ChildProcess(ProcessSite& site, std::string_view worker_id, Handlers handlers);
  /// A process still running is killed.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Starts the command. `devices`: CUDA_VISIBLE_DEVICES, if it is to be set. On failure nothing is left of it.
  std::optional<LaunchFailure> launch(std::string_view endpoint, std::string_view token,
                                      const std::optional<std::string>& devices);

  /// Takes over one that an earlier supervisor had started. `ended` may be called soon.
  void adopt(const ChildRecord& record, process::Child child);

  /// 0 while it is being forked.
  pid_t pid() const { return child_ ? child_->pid() : 0; }
  const std::optional<process::ExitStatus>& status() const { return status_; }

  /// True also while it is still asked how.
  bool has_ended() { return child_ && child_->has_ended(); }

  /// SIGTERM, and SIGCONT: a stopped process would not see it.
  void terminate();
  /// SIGABRT, likewise.
  void abort();
  /// SIGKILL to the process and its group.
  void kill();
  bool killed_by_us() const { return killed_by_us_; }
  bool oom_killed() const { return oom_verdict_.oom_killed; }

  /// Passes on what the pipes hold at this moment.
  void drain_output() {
    if (output_) output_->drain();
  }
  /// Bytes of output that were too much, and reached nobody but the tail.
  std::uint64_t output_dropped() const { return output_ ? output_->bytes_dropped() : 0; }
  /// The last lines of output, also of a flood.
  std::vector<std::string> output_tail() const { return output_->tail(); }

  /// After its end: ends what it left behind. Calls `ended` once, never from within, and not after bury().
  void end_strays(std::function<void(const process::StrayReport&)> ended);
  /// Reaps it and removes its files.
  void bury();

  /// Which runs it had entered; empty if nothing is known, which means: any of them.
  std::optional<process::BlackBoxSnapshot> last_words() const;
  /// What its fatal-signal handler wrote, if it did.
  std::optional<process::CrashFile> crash() const;
  /// Asks it where its threads are: take_stacks() has what it says some time later. False: it would not understand.
  bool ask_for_stacks();
  /// Nothing before it has said all. What it said is gone from its crash file, which is for crashes, afterwards.
  std::optional<process::Stacks> take_stacks();
  /// How it ended, for a record; `remark` is what we know beside.
  process::CrashRecord describe(std::string_view remark) const;

 private:
  void prepare();
  process::Output::Names output_names() const;
  process::SpawnPlan plan(std::string_view endpoint, std::string_view token,
                          const std::optional<std::string>& devices) const;
  std::optional<LaunchFailure> start(const process::SpawnPlan& plan);
  void fork(process::ForkServer& server, process::SpawnPlan plan);
  void begin(process::Child child);
  process::OomCounts oom_counts() const;
  void leave_record();
  void exited(const process::ExitStatus& status);
  void remove_files() noexcept;

  ProcessSite& site_;
  const std::string worker_id_;
  Handlers handlers_;
  std::string cookie_;
  std::string token_;
  process::Scratch scratch_;
  process::CgroupLeaf leaf_;
  std::optional<process::BlackBoxFile> black_box_;
  std::filesystem::path crash_file_;
  std::optional<process::Output> output_;
  std::optional<process::Child> child_;
  std::optional<process::ExitStatus> status_;
  process::OomCounts oom_at_launch_;
  process::OomVerdict oom_verdict_;
  bool killed_by_us_ = false;
  bool kill_wanted_ = false;                              ///< before there was a process
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< held weakly while it is being forked
};

}  // namespace bulkhead::pool
