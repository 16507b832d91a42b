// One row per option. A row's `set` is the only place that judges its value, wherever the value came from; its message
// says what is allowed and stands after the value itself ("--workers 0: must be 1 to 1024"), so it never repeats it.

#include "supervisor/config/options.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "supervisor/config/units.hpp"
#include "supervisor/config/values.hpp"

namespace bulkhead::config {
namespace {

using namespace std::chrono_literals;

template <auto Member, std::int64_t Low, std::int64_t High>
std::string set_integer(Config& config, const Texts& texts) {
  auto value = parse_integer(texts.front());
  if (!value || *value < Low || *value > High) {
    return "must be a whole number, " + std::to_string(Low) + " to " + std::to_string(High);
  }
  config.*Member = static_cast<std::remove_reference_t<decltype(config.*Member)>>(*value);
  return {};
}

template <auto Member>
std::string show_integer(const Config& config) {
  return std::to_string(config.*Member);
}

template <auto Member, std::int64_t LowMs, std::int64_t HighMs>
std::string set_duration(Config& config, const Texts& texts) {
  auto value = parse_duration(texts.front());
  if (!value || value->count() < LowMs || value->count() > HighMs) {
    return "must be a duration from " + format_duration(milliseconds(LowMs)) + " to " +
           format_duration(milliseconds(HighMs)) + ", such as 500ms, 10s, 5m, 2h or 1d (a bare number is seconds)";
  }
  config.*Member = *value;
  return {};
}

template <auto Member>
std::string show_duration(const Config& config) {
  return format_duration(config.*Member);
}

template <auto Member, std::int64_t Low, std::int64_t High>
std::string set_size(Config& config, const Texts& texts) {
  auto value = parse_size(texts.front());
  if (!value || *value < Low || *value > High) {
    return "must be a size from " + format_size(Low) + " to " + format_size(High) +
           ", such as 64K, 512M or 2G (a bare number is bytes)";
  }
  config.*Member = *value;
  return {};
}

template <auto Member>
std::string show_size(const Config& config) {
  return format_size(config.*Member);
}

template <class Enum>
struct Word {
  std::string_view text;
  Enum value;
};

constexpr std::array kDurabilities{Word<Durability>{"full", Durability::Full},
                                   Word<Durability>{"relaxed", Durability::Relaxed},
                                   Word<Durability>{"memory", Durability::Memory}};
constexpr std::array kLogLevels{Word<LogLevel>{"trace", LogLevel::Trace}, Word<LogLevel>{"debug", LogLevel::Debug},
                                Word<LogLevel>{"info", LogLevel::Info}, Word<LogLevel>{"warning", LogLevel::Warning},
                                Word<LogLevel>{"error", LogLevel::Error}};
constexpr std::array kLogFormats{Word<LogFormat>{"text", LogFormat::Text}, Word<LogFormat>{"json", LogFormat::Json},
                                 Word<LogFormat>{"journal", LogFormat::Journal},
                                 Word<LogFormat>{"runpod", LogFormat::RunPod}};
constexpr std::array kInits{Word<Init>{"always", Init::Always}, Word<Init>{"never", Init::Never}};

template <auto Member, const auto& Words>
std::string set_word(Config& config, const Texts& texts) {
  std::string allowed;
  for (const auto& word : Words) {
    if (word.text == texts.front()) {
      config.*Member = word.value;
      return {};
    }
    allowed.append(allowed.empty() ? "must be " : ", ").append(word.text);
  }
  return allowed;
}

template <auto Member, const auto& Words>
std::string show_word(const Config& config) {
  for (const auto& word : Words) {
    if (word.value == config.*Member) return std::string(word.text);
  }
  return {};
}

constexpr std::int64_t kDay = 86'400'000;

std::string set_stall_timeout(Config& config, const Texts& texts) {
  auto value = parse_duration(texts.front());
  if (!value || (value->count() != 0 && value->count() < 1'000) || value->count() > 7 * kDay)
    return "must be 0, or a duration from 1s to 7d, such as 30s or 5m (a bare number is seconds)";
  config.stall_timeout = *value;
  return {};
}

std::string set_execution_timeout(Config& config, const Texts& texts) {
  config.execution_timeout_given = true;
  return set_duration<&Config::execution_timeout, 100, 7 * kDay>(config, texts);
}

/// Less is a unit that was forgotten: nothing starts in so little.
std::string set_worker_memory_max(Config& config, const Texts& texts) {
  constexpr std::int64_t kLeast = 1 << 20, kMost = 1LL << 44;
  auto value = parse_size(texts.front());
  if (!value || (*value != 0 && *value < kLeast) || *value > kMost)
    return "must be 0 (no limit), or a size from " + format_size(kLeast) + " to " + format_size(kMost) +
           ", such as 512M or 2G (a bare number is bytes)";
  config.worker_memory_max = *value;
  return {};
}

template <auto Member>
std::string set_truth(Config& config, const Texts& texts) {
  const std::string& text = texts.front();
  bool yes = text == "true" || text == "1" || text == "yes" || text == "on";
  if (!yes && text != "false" && text != "0" && text != "no" && text != "off") return "must be true or false";
  config.*Member = yes;
  return {};
}

template <auto Member>
std::string show_truth(const Config& config) {
  return config.*Member ? "true" : "false";
}

constexpr std::int64_t kGiB = 1LL << 30;

#define BULKHEAD_INTEGER(member, low, high) \
  .set = set_integer<&Config::member, low, high>, .show = show_integer<&Config::member>
#define BULKHEAD_DURATION(member, low, high) \
  .set = set_duration<&Config::member, low, high>, .show = show_duration<&Config::member>
#define BULKHEAD_SIZE(member, low, high) .set = set_size<&Config::member, low, high>, .show = show_size<&Config::member>
#define BULKHEAD_WORD(member, words) .set = set_word<&Config::member, words>, .show = show_word<&Config::member, words>

const std::array kOptions{
    Option{.name = "workers",
           .value = "N",
           .group = Group::Children,
           .help = "handler processes to keep running",
           BULKHEAD_INTEGER(workers, 1, 1024)},
    Option{.name = "spares",
           .value = "N",
           .group = Group::Children,
           .help = "more of them, set up and waiting to replace one that ends",
           BULKHEAD_INTEGER(spares, 0, 1024)},
    Option{.name = "setup-timeout",
           .value = "DURATION",
           .group = Group::Children,
           .help = "time a handler may take to become ready",
           BULKHEAD_DURATION(setup_timeout, 100, kDay)},
    Option{.name = "max-jobs-per-worker",
           .value = "N",
           .group = Group::Children,
           .help = "replace a process after about N jobs; 0: never",
           BULKHEAD_INTEGER(max_jobs_per_worker, 0, 1'000'000'000)},
    Option{.name = "gpus",
           .value = "none|all|0,1",
           .group = Group::Children,
           .help = "devices to share out among the processes (inherited: each sees all)",
           .list = true,
           .set = set_gpus,
           .show = show_gpus},
    Option{.name = "preload",
           .value = "MODULES",
           .group = Group::Children,
           .help = "Python modules to import once, in a process that forks the others",
           .list = true,
           .set = set_preload,
           .show = [](const Config& config) { return join(config.preload); }},
    Option{.name = "worker-env",
           .value = "NAME=VALUE",
           .group = Group::Children,
           .help = "set a variable for the handler; repeatable",
           .list = true,
           .set = set_worker_env,
           .show = show_worker_env},

    Option{.name = "worker-memory-max",
           .value = "SIZE",
           .group = Group::Children,
           .help = "memory of each and what it starts; 0: no limit",
           .set = set_worker_memory_max,
           .show = show_size<&Config::worker_memory_max>},
    Option{.name = "worker-pids-max",
           .value = "N",
           .group = Group::Children,
           .help = "processes and threads of each; 0: no limit",
           BULKHEAD_INTEGER(worker_pids_max, 0, 4'000'000)},
    Option{.name = "worker-cpu-weight",
           .value = "N",
           .group = Group::Children,
           .help = "share of the CPU of each, 1 to 10000; 0: all alike",
           BULKHEAD_INTEGER(worker_cpu_weight, 0, 10'000)},

    Option{.name = "retries",
           .value = "N",
           .group = Group::Jobs,
           .help = "run a job again, up to N times, when an attempt is lost",
           BULKHEAD_INTEGER(retries, 0, 100)},
    Option{.name = "retry-on",
           .value = "WAY,…",
           .group = Group::Jobs,
           .help = "ways to lose it that count: crash, timeout, lost, error; or none",
           .list = true,
           .set = set_retry_on,
           .show = [](const Config& config) { return config.retry_on.empty() ? "none" : join(config.retry_on); }},
    Option{.name = "retry-backoff",
           .value = "MIN..MAX",
           .group = Group::Jobs,
           .help = "wait before a retry, doubled each time, with jitter",
           .set = set_retry_backoff,
           .show = show_retry_backoff},
    Option{.name = "execution-timeout",
           .value = "DURATION",
           .group = Group::Jobs,
           .help = "end a job that runs longer",
           .set = set_execution_timeout,
           .show = show_duration<&Config::execution_timeout>},
    Option{.name = "ttl",
           .value = "DURATION",
           .group = Group::Jobs,
           .help = "end a job that is not finished so long after it was sent",
           .serve_only = true,
           BULKHEAD_DURATION(ttl, 1'000, 7 * kDay)},
    Option{.name = "stall-timeout",
           .value = "DURATION",
           .group = Group::Jobs,
           .help = "end a job that says nothing and uses no CPU for so long; 0: never",
           .set = set_stall_timeout,
           .show = show_duration<&Config::stall_timeout>},
    Option{.name = "quarantine",
           .value = "N",
           .group = Group::Jobs,
           .help = "refuse an input that has crashed N processes; 0: never",
           BULKHEAD_INTEGER(quarantine, 0, 1000)},
    Option{.name = "cancel-grace",
           .value = "DURATION",
           .group = Group::Jobs,
           .help = "from telling a job to stop to SIGTERM",
           BULKHEAD_DURATION(cancel_grace, 0, kDay)},
    Option{.name = "term-grace",
           .value = "DURATION",
           .group = Group::Jobs,
           .help = "from SIGTERM to SIGKILL",
           BULKHEAD_DURATION(term_grace, 0, kDay)},
    Option{.name = "grace",
           .value = "DURATION",
           .group = Group::Jobs,
           .help = "time running jobs get when bulkhead is told to stop",
           BULKHEAD_DURATION(grace, 0, kDay)},
    Option{.name = "orphan-timeout",
           .value = "DURATION",
           .group = Group::Jobs,
           .help = "time jobs run on when bulkhead was killed; 0: not at all",
           BULKHEAD_DURATION(orphan_timeout, 0, kDay)},
    Option{.name = "orphan-buffer",
           .value = "SIZE",
           .group = Group::Jobs,
           .help = "log lines a process keeps meanwhile",
           BULKHEAD_SIZE(orphan_buffer, 0, kGiB)},
    Option{.name = "upgrade-timeout",
           .value = "DURATION",
           .group = Group::Jobs,
           .help = "time for a new bulkhead to be ready, or the old one is back",
           BULKHEAD_DURATION(upgrade_timeout, 1'000, kDay)},
    Option{.name = "dispatch-window",
           .value = "auto|0..16",
           .group = Group::Jobs,
           .help = "tiny jobs handed to a busy process ahead of time",
           .set = set_dispatch_window,
           .show = show_dispatch_window},

    Option{.name = "prefetch",
           .value = "N",
           .group = Group::Platform,
           .help = "jobs taken beyond those that can start at once",
           .run_only = true,
           BULKHEAD_INTEGER(prefetch, 0, 1000)},
    Option{.name = "runpod-stop-pod",
           .value = "",
           .group = Group::Platform,
           .help = "a handler's refresh_worker stops the pod, not only its process",
           .run_only = true,
           .flag = true,
           .set = set_truth<&Config::runpod_stop_pod>,
           .show = show_truth<&Config::runpod_stop_pod>},

    Option{.name = "listen",
           .value = "ADDRESS",
           .group = Group::Endpoint,
           .help = "HOST:PORT or unix:/path; repeatable; port 0: any free",
           .serve_only = true,
           .list = true,
           .set = set_listen,
           .show = [](const Config& config) { return join(config.listen); }},
    Option{.name = "api-key-file",
           .value = "FILE",
           .group = Group::Endpoint,
           .help = "keys of clients, one name=key a line",
           .serve_only = true,
           .set = set_api_key_file,
           .show = show_api_keys},
    Option{.name = "api-keys",
           .value = "NAME=KEY,…",
           .group = Group::Endpoint,
           .help = "keys of clients, by environment only",
           .serve_only = true,
           .list = true,
           .secret = true,
           .set = add_keys,
           .show = show_api_keys},
    Option{.name = "endpoint-id",
           .value = "ID",
           .group = Group::Endpoint,
           .help = "the id handlers see; any is accepted in /v2/{id}/",
           .serve_only = true,
           .set = set_endpoint_id,
           .show = [](const Config& config) { return config.endpoint_id; }},
    // Before the file's: what is set last counts, and a flag shall win over the environment.
    Option{.name = "webhook-secret",
           .value = "TEXT",
           .group = Group::Endpoint,
           .help = "sign webhooks, by environment only",
           .serve_only = true,
           .secret = true,
           .set = set_webhook_secret,
           .show = show_webhook_secret},
    Option{.name = "webhook-secret-file",
           .value = "FILE",
           .group = Group::Endpoint,
           .help = "sign webhooks with the secret in this file",
           .serve_only = true,
           .set = set_webhook_secret_file,
           .show = show_webhook_secret},
    Option{.name = "webhook-tries",
           .value = "N",
           .group = Group::Endpoint,
           .help = "times a webhook is sent until its receiver takes it",
           .serve_only = true,
           BULKHEAD_INTEGER(webhook_tries, 1, 1000)},
    Option{.name = "webhook-pause",
           .value = "DURATION",
           .group = Group::Endpoint,
           .help = "after a failed try; doubles each time, up to 60 of it",
           .serve_only = true,
           BULKHEAD_DURATION(webhook_pause, 1, 3'600'000)},
    Option{.name = "webhook-timeout",
           .value = "DURATION",
           .group = Group::Endpoint,
           .help = "time a receiver of webhooks has to answer",
           .serve_only = true,
           BULKHEAD_DURATION(webhook_timeout, 100, 600'000)},

    Option{.name = "queue-max",
           .value = "N",
           .group = Group::Limits,
           .help = "jobs waiting; more are refused with 429",
           .serve_only = true,
           BULKHEAD_INTEGER(queue_max, 1, 100'000'000)},
    Option{.name = "max-run-body",
           .value = "SIZE",
           .group = Group::Limits,
           .help = "body of a /run request",
           .serve_only = true,
           BULKHEAD_SIZE(max_run_body, 1024, kGiB)},
    Option{.name = "max-runsync-body",
           .value = "SIZE",
           .group = Group::Limits,
           .help = "body of a /runsync request",
           .serve_only = true,
           BULKHEAD_SIZE(max_runsync_body, 1024, kGiB)},
    Option{.name = "max-result",
           .value = "SIZE",
           .group = Group::Limits,
           .help = "result of a job",
           BULKHEAD_SIZE(max_result, 1024, kGiB)},
    Option{.name = "max-chunk",
           .value = "SIZE",
           .group = Group::Limits,
           .help = "one chunk of a stream",
           BULKHEAD_SIZE(max_chunk, 1024, kGiB)},
    Option{.name = "checkpoint-max",
           .value = "SIZE",
           .group = Group::Limits,
           .help = "what a job may save for its next attempt",
           BULKHEAD_SIZE(checkpoint_max, 1024, 512 << 20)},
    Option{.name = "max-header",
           .value = "SIZE",
           .group = Group::Limits,
           .help = "header of a request",
           .serve_only = true,
           BULKHEAD_SIZE(max_header, 1024, 1 << 20)},
    Option{.name = "max-connections",
           .value = "N",
           .group = Group::Limits,
           .help = "clients connected at once",
           .serve_only = true,
           BULKHEAD_INTEGER(max_connections, 1, 1'000'000)},
    Option{.name = "request-timeout",
           .value = "DURATION",
           .group = Group::Limits,
           .help = "time for a request to arrive",
           .serve_only = true,
           BULKHEAD_DURATION(request_timeout, 100, kDay)},
    Option{.name = "rate-limit",
           .value = "PATH=N/M",
           .group = Group::Limits,
           .help = "N requests in 10 s, M at a time; or runpod; repeatable",
           .serve_only = true,
           .list = true,
           .set = set_rate_limit,
           .show = show_rate_limits},

    Option{.name = "state-dir",
           .value = "DIR",
           .group = Group::State,
           .help = "where jobs are kept",
           .set = set_state_dir,
           .show = [](const Config& config) { return config.state_dir; }},
    Option{.name = "durability",
           .value = "full|relaxed|memory",
           .group = Group::State,
           .help = "an accepted job survives a power cut, a kill, or neither",
           BULKHEAD_WORD(durability, kDurabilities)},
    Option{.name = "keep-async",
           .value = "DURATION",
           .group = Group::State,
           .help = "how long a result of /run can be asked for",
           .serve_only = true,
           BULKHEAD_DURATION(keep_async, 1'000, 365 * kDay)},
    Option{.name = "keep-sync",
           .value = "DURATION",
           .group = Group::State,
           .help = "the same for /runsync",
           .serve_only = true,
           BULKHEAD_DURATION(keep_sync, 1'000, 365 * kDay)},

    Option{.name = "dead-max",
           .value = "N",
           .group = Group::State,
           .help = "jobs that crashed for good, kept for `bulkhead dead`",
           .serve_only = true,
           BULKHEAD_INTEGER(dead_max, 0, 1'000'000)},
    Option{.name = "dead-ttl",
           .value = "DURATION",
           .group = Group::State,
           .help = "how long they are kept",
           .serve_only = true,
           BULKHEAD_DURATION(dead_ttl, 1'000, 3650 * kDay)},

    Option{.name = "init",
           .value = "always|never",
           .group = Group::Process,
           .help = "an init above the supervisor: reaps, and starts it again",
           BULKHEAD_WORD(init, kInits)},

    Option{.name = "metrics-listen",
           .value = "ADDRESS",
           .group = Group::Talk,
           .help = "offer /metrics and /healthz here too; repeatable",
           .list = true,
           .set = set_metrics_listen,
           .show = [](const Config& config) { return join(config.metrics_listen); }},
    Option{.name = "log-level",
           .value = "LEVEL",
           .group = Group::Talk,
           .help = "trace, debug, info, warning or error",
           BULKHEAD_WORD(log_level, kLogLevels)},
    Option{.name = "log-format",
           .value = "text|json|journal|runpod",
           .group = Group::Talk,
           .help = "for people, programs, systemd's journal (its default there) or RunPod",
           BULKHEAD_WORD(log_format, kLogFormats)},
};

/// Levenshtein's distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string Option::variable() const {
  std::string text = "BULKHEAD_";
  for (char c : name) text += c == '-' ? '_' : static_cast<char>(c - 'a' + 'A');
  return text;
}

std::span<const Option> options() { return kOptions; }

std::string_view nearest(std::string_view typed, std::span<const std::string_view> names) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, typed.size() / 3) + 1;
  for (std::string_view name : names) {
    std::size_t d = distance(typed, name);
    if (d < best_distance) {
      best = name;
      best_distance = d;
    }
  }
  return best;
}

}  // namespace bulkhead::config
