// Everything the pool is told at its start, as one value.

#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/codec.hpp"
#include "supervisor/job/ports.hpp"
#include "supervisor/pool/backoff.hpp"
#include "supervisor/process/cgroups.hpp"
#include "supervisor/process/gpus.hpp"
#include "supervisor/process/spawn_plan.hpp"

namespace bulkhead::pool {

struct Options {
  // ---- what a child is
  std::vector<std::string> command;
  std::string cwd;                                               ///< empty: the supervisor's
  std::vector<std::pair<std::string, std::string>> environment;  ///< beside the supervisor's own
  /// What of the supervisor's own environment is not for children: its service manager's, and its secrets.
  std::vector<std::string> environment_removed = {"NOTIFY_SOCKET",  "LISTEN_FDS",   "LISTEN_PID",
                                                  "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"};
  std::vector<process::SpawnPlan::Limit> limits_of_process;
  process::Guards guards;
  std::optional<int> oom_score_adj = 300;  ///< a child is to go before its supervisor
  process::Gpus gpus;
  std::vector<std::string> preload;  ///< modules for a fork server to import (preload.hpp); none: no fork server

  // ---- how many, and for how long
  int workers = 1;  ///< children that take jobs
  int spares = 0;   ///< children set up beyond that, to take the place of one that ends
  milliseconds setup_timeout{600'000};
  int max_jobs_per_worker = 0;  ///< a tenth more or less, so that children are not replaced in step; 0: no limit
  BackoffTimes backoff;
  /// A child that was ready this long without a job ends a row of failed set-ups, as a job would.
  milliseconds settled_after{60'000};

  // ---- how they are spoken to
  std::optional<int> dispatch_window;  ///< 0 to 16; empty: as the runs say (window.hpp)
  protocol::Limits limits;
  milliseconds heartbeat{1'000};
  std::uint32_t chunk_window = 64;
  std::uint64_t chunk_window_bytes = 4 << 20;
  /// How long a child goes on without a supervisor; 0: it ends with it, and no child of an earlier one is adopted.
  milliseconds orphan_timeout{0};
  std::uint64_t orphan_buffer = 1 << 20;  ///< bytes of log lines it keeps meanwhile
  milliseconds ack_delay{50};  ///< how long an acknowledged result may wait for a job to carry the acknowledgement
  /// Asked of every JSON body a child sends: what is wrong with it, or nothing. Empty: not asked.
  std::function<std::optional<std::string>(std::string_view)> check_json;

  // ---- how they are ended
  milliseconds stop_time{5'000};       ///< from the request to end until SIGTERM, where no grace is given
  milliseconds terminate_time{2'000};  ///< from SIGTERM to SIGKILL
  milliseconds silence_time{500};      ///< from the closing of a connection to SIGKILL, for a child that lives on
  milliseconds adoption_time{10'000};  ///< for a child of an earlier supervisor to connect; then it is killed
  milliseconds reading_time{1'000};    ///< to read a dead child's connection to the end; then it is cut
  milliseconds strays_time{2'000};     ///< to end what it left behind
  milliseconds stack_time{2'000};      ///< to put names to its stack

  // ---- where things are
  std::filesystem::path runtime_dir;  ///< made if it is not there; must be the owner's alone (0700)
  std::string cookie_prefix;          ///< process::cookie_prefix of the state directory
  pid_t init = 0;                     ///< the process above us that is ours, too; 0: there is none
  RunNumber first_run = 0;            ///< no run before had this number or a higher one; 0: nobody will ask
  int reap_reports = -1;              ///< the init's pipe (process::ReapReports), whose owner the pool becomes
  std::string hostname;
  std::string symboliser;  ///< process::find_symboliser()
};

}  // namespace bulkhead::pool
