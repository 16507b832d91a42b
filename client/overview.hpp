// What GET /bulkhead/snapshot, /history and /jobs say, as values. What an endpoint leaves out is 0, empty or none: an older or
// a newer one can be looked at all the same.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/tables.hpp"

namespace bulkhead::client {

struct RunningJob {
  std::string id;
  int attempt = 1;
  bool entered = false;
  double age_ms = 0;
};

struct ChildRow {
  std::string id;
  std::int64_t slot = 0;
  std::int64_t pid = 0;
  std::string state;
  double in_state_ms = 0;
  std::int64_t concurrency = 0;
  std::int64_t jobs_done = 0;
  double memory_bytes = 0;
  std::optional<double> cpu_seconds;
  std::optional<double> gpu_bytes;
  std::vector<RunningJob> jobs;
};

struct GpuRow {
  std::int64_t index = 0;
  double used_bytes = 0;
  double total_bytes = 0;
};

struct RestartRow {
  std::int64_t at = 0;
  std::string child;
  std::string cause;
  std::string how;
};

struct Overview {
  std::int64_t at = 0;
  std::string version;
  std::string phase;
  bool ready = false;
  std::string not_ready_because;
  bool accepts = false;
  std::int64_t queued = 0;
  std::int64_t running = 0;
  double oldest_ms = 0;
  std::int64_t wanted = 0;
  std::int64_t spares = 0;
  std::int64_t backing_off = 0;
  std::vector<ChildRow> children;
  std::vector<RestartRow> restarts;
  std::map<std::string, std::int64_t> restarts_by_cause;
  std::map<std::string, std::int64_t> ended;  ///< by status
  std::int64_t accepted = 0;
  std::int64_t retried = 0;
  std::int64_t refused = 0;
  double own_memory_bytes = 0;
  double own_cpu_seconds = 0;
  std::vector<GpuRow> gpus;
  bool journal_kept = false;
  bool journal_writable = true;
  double journal_bytes = 0;
  std::int64_t connections = 0;
  std::int64_t webhooks = 0;
  double loop_lag_ms = 0;
};
/// None when it is no JSON object.
std::optional<Overview> overview_of(std::string_view json);

struct Figures {
  std::int64_t at = 0;
  double completed = 0, failed = 0, cancelled = 0, timed_out = 0;
  double wait_p50_ms = 0, wait_p95_ms = 0, run_p50_ms = 0, run_p95_ms = 0;

  double ended() const { return completed + failed + cancelled + timed_out; }
};
struct History {
  double interval_ms = 20'000;
  std::vector<Figures> intervals;
  Figures hour;
};
std::optional<History> history_of(std::string_view json);

struct JobRow {
  std::string id;
  std::string status;
  std::int64_t submitted_at = 0;
  double wait_ms = 0;
  double run_ms = 0;
  std::string worker;
  std::int64_t attempts = 0;
  std::string error_type;
};
struct JobPage {
  std::vector<JobRow> rows;
  std::optional<std::string> before;  ///< where older ones may be
};
JobPage jobs_of(std::string_view json);

// ---- as tables -----------------------------------------------------------------------------------------------------------

/// "serving, ready", and what is to be noticed of it.
std::vector<Cell> phase_cells(const Overview& seen);
/// "running 3  queued 12 (oldest 1.2s)  completed 840  failed 3".
std::vector<Cell> job_cells(const Overview& seen);
Table child_table(const Overview& seen);
/// `now_ms`: the endpoint's wall time.
Table job_table(const std::vector<JobRow>& jobs, std::int64_t now_ms);

}  // namespace bulkhead::client
