// A job's life in the log: accepted, started, to be run again, ended. It stands between the core and the source, hands
// everything on as it is, and writes a line where the log wants one, with job, process and attempt as fields.
//
// In systemd's journal these lines are of level info, so that `journalctl JOB_ID=…` has the whole of a job; elsewhere of
// level debug. A job that its handler's process, or its deadline, has failed is a warning everywhere. Beyond kMostLines a
// second lines are counted and left out: a service that writes more loses lines that matter.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "supervisor/job/ports.hpp"
#include "supervisor/observe/log.hpp"

namespace bulkhead {

class JobLog final : public Source, public Intake {
 public:
  /// journald takes 10,000 in 30 s (RateLimitBurst in journald.conf(5)), handlers' lines included.
  static constexpr std::size_t kMostLines = 200;

  /// All three outlive it.
  JobLog(observe::Log& log, const Clock& clock, Intake& core) : log_(log), clock_(clock), core_(core) {}
  /// Where the core's calls go on to. Outlives it.
  void set_source(Source& source) { source_ = &source; }

  // Intake
  void submit(Job job, std::function<void(Accepted)> answered) override;
  bool cancel(std::string_view id) override { return core_.cancel(id); }
  std::vector<std::string> purge() override { return core_.purge(); }
  bool quarantined(const Payload& input) override { return core_.quarantined(input); }
  std::size_t clear_quarantine() override { return core_.clear_quarantine(); }

  // Source
  void room(int jobs) override { source_->room(jobs); }
  void started(const Job& job, std::string_view worker_id, std::int64_t started_ms, int attempt) override;
  void requeued(const Job& job, const Payload& history) override;
  void progress(const Job& job, Payload value) override { source_->progress(job, std::move(value)); }
  void chunk(const Job& job, std::uint32_t number, Payload value, std::function<void()> taken) override {
    source_->chunk(job, number, std::move(value), std::move(taken));
  }
  void report(const Job& job, const Outcome& outcome, std::function<void()> settled) override;
  void log(const Job& job, const LogLine& line) override { source_->log(job, line); }

 private:
  struct Run {
    std::string worker_id;
    int attempt = 0;
  };

  bool wanted() const { return log_.wants(log_.severity_of_jobs()); }
  void write(observe::Severity severity, std::string_view text, const observe::About& about);

  observe::Log& log_;
  const Clock& clock_;
  Intake& core_;
  Source* source_ = nullptr;
  std::unordered_map<std::string, Run> runs_;  ///< of jobs that were started, while their lines are wanted
  std::chrono::steady_clock::time_point second_;
  std::size_t lines_ = 0;     ///< in that second
  std::size_t left_out_ = 0;  ///< since the last line
};

}  // namespace bulkhead
