// Everything an operator can set, as one typed value, and how it is read from the command line, the environment and a
// TOML file.
//
// Precedence: flag, then environment (BULKHEAD_*), then file (--config), then default. A list is replaced as a whole by
// the higher place, never merged. Nothing here reads a clock, opens a socket or keeps state: parse() maps its arguments
// (and the file they name) to a value, so tests call it as a function.

#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bulkhead::config {

using std::chrono::milliseconds;

enum class Subcommand : std::uint8_t { Run, Serve, Doctor };

/// What a 200 to a submission means: on the disk, handed to the kernel, or kept in memory only.
enum class Durability : std::uint8_t { Full, Relaxed, Memory };

enum class LogLevel : std::uint8_t { Trace, Debug, Info, Warning, Error };
enum class LogFormat : std::uint8_t { Text, Json, Journal, RunPod };

/// Whether `run` and `serve` put an init above the supervisor.
enum class Init : std::uint8_t { Always, Never };

/// Which devices the children get, one share each.
struct Gpus {
  enum class Which : std::uint8_t {
    Inherited,  ///< not asked for: each child sees what the supervisor sees
    None,
    All,
    Listed
  };
  Which which = Which::Inherited;
  std::vector<std::string> devices;  ///< when Listed: numbers or UUIDs, as CUDA_VISIBLE_DEVICES takes them
};

/// A named key a client may show. The key itself is wanted once, at start, to be hashed.
struct ApiKey {
  std::string name;
  std::string key;
};

/// How often clients may ask on one path.
struct RateLimit {
  std::string path;    ///< "run", "status", …
  int per_window = 0;  ///< in ten seconds; 0: no limit
  int at_once = 0;     ///< requests being answered; 0: no limit
};

struct Config {
  Subcommand subcommand = Subcommand::Serve;
  std::vector<std::string> command;  ///< the handler's argv; never empty, except for Doctor
  bool json = false;                 ///< Doctor: for programs

  // ---- children ----
  int workers = 1;
  int spares = 0;
  milliseconds setup_timeout{420'000};
  int max_jobs_per_worker = 0;  ///< 0: no limit
  Gpus gpus;
  std::vector<std::string> preload;  ///< Python modules for a fork server; none: no fork server
  std::vector<std::pair<std::string, std::string>> worker_env;
  std::int64_t worker_memory_max = 0;  ///< of each, with all it starts; 0: no limit
  std::int64_t worker_pids_max = 0;    ///< likewise
  int worker_cpu_weight = 0;           ///< likewise; 0: as all others

  // ---- jobs ----
  int retries = 0;                                     ///< further attempts of a job that lost one …
  std::vector<std::string> retry_on{"crash", "lost"};  ///< … in one of these ways: crash, timeout, lost, error
  milliseconds retry_backoff_min{200};
  milliseconds retry_backoff_max{30'000};
  milliseconds execution_timeout{600'000};
  bool execution_timeout_given = false;  ///< not the default
  milliseconds ttl{86'400'000};
  milliseconds stall_timeout{0};       ///< 0: not looked at
  int quarantine = 0;                  ///< crashes of an input until it is refused; 0: never
  std::optional<int> dispatch_window;  ///< none: the pool decides
  milliseconds cancel_grace{5'000};    ///< from the stop token to SIGTERM
  milliseconds term_grace{5'000};      ///< from SIGTERM to SIGKILL
  milliseconds grace{30'000};          ///< for running jobs when the supervisor stops

  milliseconds orphan_timeout{60'000};   ///< a child goes on without a supervisor for so long
  std::int64_t orphan_buffer = 1 << 20;  ///< bytes of log lines it keeps meanwhile
  milliseconds upgrade_timeout{20'000};  ///< for a new supervisor to be ready, before the old one is back

  // ---- RunPod's platform (run) ----
  int prefetch = 0;              ///< jobs taken beyond those that can start at once
  bool runpod_stop_pod = false;  ///< a handler's refresh_worker stops the pod, as the platform understands it

  // ---- the endpoint (serve) ----
  /// HOST:PORT, [V6]:PORT or unix:/path, checked for form; fd:N for sockets that were handed over (LISTEN_FDS).
  std::vector<std::string> listen{"127.0.0.1:8000"};
  std::vector<std::string> metrics_listen;  ///< where /metrics and /healthz are offered besides; in the same form
  std::string endpoint_id;                  ///< what children are told; routes accept any
  std::int64_t queue_max = 100'000;
  std::int64_t max_run_body = 10 << 20;
  std::int64_t max_runsync_body = 20 << 20;
  std::int64_t max_result = 20 << 20;
  std::int64_t max_chunk = 1 << 20;
  std::int64_t checkpoint_max = 64 << 20;
  std::int64_t max_header = 16 << 10;
  int max_connections = 1024;
  milliseconds request_timeout{60'000};
  std::vector<RateLimit> rate_limits;  ///< none: no limits
  std::vector<ApiKey> api_keys;
  std::string webhook_secret;  ///< signs webhooks; empty: unsigned
  int webhook_tries = 16;
  milliseconds webhook_pause{1'000};     ///< behind a first try that failed; doubled behind each further one
  milliseconds webhook_timeout{30'000};  ///< of one try

  // ---- what is kept ----
  std::string state_dir;  ///< absolute or relative to the working directory; not created here
  Durability durability = Durability::Full;
  milliseconds keep_async{1'800'000};  ///< how long a finished job answers /status
  milliseconds keep_sync{60'000};      ///< the same for one that came by /runsync
  int dead_max = 1'000;                ///< dead letters
  milliseconds dead_ttl{30LL * 86'400'000};

  // ---- the process ----
  Init init = Init::Always;

  // ---- talk ----
  LogLevel log_level = LogLevel::Info;
  LogFormat log_format = LogFormat::Text;
};

/// The program's work is done by printing this: help, version, `check`, or what is wrong.
struct Exit {
  int code = 0;      ///< kOk, kUsage or kBadConfig
  std::string text;  ///< whole lines; for stderr when code is not 0
};

// The program's exit codes, as the help names them; from 64 on they are those of sysexits.h.
inline constexpr int kOk = 0;
inline constexpr int kJobFailed = 1;    ///< `run`: the job failed
inline constexpr int kUsage = 2;        ///< the command line is wrong
inline constexpr int kNeverReady = 69;  ///< no handler process ever became ready
inline constexpr int kBroken = 71;      ///< the machine said no: address in use, state directory locked, …
inline constexpr int kBadConfig = 78;   ///< the file or the environment is wrong; a restart would not help

/// "0.1.0"
std::string_view version();

using Environment = std::map<std::string, std::string, std::less<>>;

/// A copy of `environ`.
Environment environment_of(const char* const* environ);

/// Throws std::system_error only for a file that exists and cannot be read half-way; everything a person can get wrong
/// is an Exit that names the value, where it stands, what is allowed, and what to do.
std::variant<Config, Exit> parse(int argc, const char* const* argv, const Environment& environment);

}  // namespace bulkhead::config
