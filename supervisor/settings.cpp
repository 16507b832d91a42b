// What the operator set, as each part is told it. Pure but for the runtime directory, which pool() makes, and what it asks of
// the machine: its name, its symboliser, a random id, which sockets were handed over.
//
// Where a part keeps other things than its option's name says (a platform's worker its results, its time-outs), it is said here.

#include "supervisor/settings.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/become_init.hpp"
#include "supervisor/json/json_scan.hpp"
#include "supervisor/process/strays.hpp"
#include "supervisor/process/symbolise.hpp"
#include "supervisor/python_handlers.hpp"
#include "supervisor/runtime_directory.hpp"

namespace bulkhead::settings {
namespace {

Policy default_policy(const config::Config& config) {
  Policy policy;
  policy.execution_timeout = config.execution_timeout;
  policy.ttl = config.ttl;
  policy.max_attempts = 1 + config.retries;
  policy.retry_on = 0;
  for (const std::string& way : config.retry_on) {
    if (way == "crash") policy.retry_on |= kLostByCrash;
    if (way == "timeout") policy.retry_on |= kLostByTimeout;
    if (way == "lost") policy.retry_on |= kLostByLoss;
    if (way == "error") policy.retry_on |= kLostByError;
  }
  policy.retry_backoff_min = config.retry_backoff_min;
  policy.retry_backoff_max = config.retry_backoff_max;
  policy.stall_timeout = config.stall_timeout;
  return policy;
}

process::Gpus gpus(const config::Gpus& given) {
  using Kind = process::Gpus::Kind;
  switch (given.which) {
    case config::Gpus::Which::Inherited: return {.kind = Kind::Untouched};
    case config::Gpus::Which::None: return {.kind = Kind::None};
    case config::Gpus::Which::All: return {.kind = Kind::All};
    case config::Gpus::Which::Listed: return {.kind = Kind::Listed, .listed = given.devices};
  }
  return {};
}

/// What a service manager, or the init, has handed over (sd_listen_fds(3)).
std::vector<int> inherited_sockets() {
  const char* pid = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  std::vector<int> sockets;
  if (pid == nullptr || count == nullptr || std::atol(pid) != getpid()) return sockets;
  for (int fd = 3; fd < 3 + std::min(std::atoi(count), 1000); ++fd) sockets.push_back(fd);
  return sockets;
}

std::string hostname() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

}  // namespace

Policy policy(const config::Config& config) { return default_policy(config); }

std::string fresh_id() {
  std::random_device random;
  std::string id;
  for (int digits : {8, 4, 4, 4, 12}) {
    if (!id.empty()) id += '-';
    for (int i = 0; i < digits; ++i) id += "0123456789abcdef"[random() % 16];
  }
  return id;
}

journal::Options journal(const config::Config& config) {
  journal::Options options;
  options.directory = config.state_dir;
  options.durability = config.durability == config::Durability::Full      ? journal::Durability::Full
                       : config.durability == config::Durability::Relaxed ? journal::Durability::Relaxed
                                                                          : journal::Durability::Memory;
  options.retention = config.keep_async;
  options.sync_retention = config.keep_sync;
  options.dead_max = static_cast<std::size_t>(config.dead_max);
  options.dead_ttl = config.dead_ttl;
  // A platform keeps its results itself. Here they are only for a job that it hands over a second time, and a busy worker
  // would fill its container's disk with half an hour of them.
  constexpr milliseconds kHandedOverAgain{300'000};
  if (config.subcommand == config::Subcommand::Run) options.retention = std::min(options.retention, kHandedOverAgain);
  return options;
}

DispatcherOptions dispatcher(const config::Config& config) {
  DispatcherOptions options;
  options.queue_max = static_cast<std::size_t>(config.queue_max);
  options.stop_time = config.cancel_grace;
  options.terminate_time = config.term_grace;
  options.quarantine = config.quarantine;
  return options;
}

EmbeddedQueueOptions queue(const config::Config& config) {
  EmbeddedQueueOptions options;
  options.async_retention = config.keep_async;
  options.sync_retention = config.keep_sync;
  return options;
}

WebhookOptions webhooks(const config::Config& config) {
  WebhookOptions options;
  options.secret = config.webhook_secret;
  options.user_agent = "Bulkhead/" + std::string(config::version());
  options.retries.tries = config.webhook_tries;
  options.retries.pause = config.webhook_pause;
  options.timeout = config.webhook_timeout;
  return options;
}

Policy platform_policy(const config::Config& config) {
  Policy policy = default_policy(config);
  // The platform ends what runs or waits for too long, and knows the endpoint's limits, which a worker is not told.
  constexpr milliseconds kWeek{7 * 86'400'000LL};
  if (!config.execution_timeout_given) policy.execution_timeout = kWeek;
  policy.ttl = kWeek;
  return policy;
}

RunPodOptions runpod(const config::Config& config, RunPodSettings platform) {
  RunPodOptions options;
  options.platform = std::move(platform);
  options.platform.prefetch = config.prefetch;
  options.platform.stop_pod = config.runpod_stop_pod;
  options.version = config::version();
  options.policy = platform_policy(config);
  options.refused_dir = std::filesystem::path(config.state_dir) / "refused";
  options.check_json = fault_of_json;
  return options;
}

bool sockets_are_somebody_s() {
  if (inherited_sockets().empty()) return false;
  const char* names = std::getenv("LISTEN_FDNAMES");
  if (names == nullptr) return true;
  for (std::string_view left = names;;) {
    const std::size_t end = left.find(':');
    if (left.substr(0, end) != kKeptName) return true;
    if (end == std::string_view::npos) return false;
    left.remove_prefix(end + 1);
  }
}

http::Options http(const config::Config& config) {
  http::Options options;
  options.listen = config.listen;
  options.inherited = inherited_sockets();
  options.limits.run_body = static_cast<std::size_t>(config.max_run_body);
  options.limits.runsync_body = static_cast<std::size_t>(config.max_runsync_body);
  options.limits.header = static_cast<std::size_t>(config.max_header);
  options.limits.connections = static_cast<std::size_t>(config.max_connections);
  options.limits.request = config.request_timeout;
  options.default_policy = default_policy(config);
  for (const config::ApiKey& key : config.api_keys) options.keys.add(key.name, key.key);
  for (const config::RateLimit& limit : config.rate_limits)
    options.rate_limits.push_back({limit.path, limit.per_window, limit.at_once});
  return options;
}

pool::Options pool(const config::Config& config, RunNumber first_run) {
  pool::Options options;
  options.first_run = first_run;
  options.command = config.command;
  options.environment = config.worker_env;
  if (!config.endpoint_id.empty()) options.environment.emplace_back("RUNPOD_ENDPOINT_ID", config.endpoint_id);
  add_python(options.environment);
  for (const char* secret : {"BULKHEAD_API_KEYS", "BULKHEAD_API_KEY", "BULKHEAD_WEBHOOK_SECRET"})
    options.environment_removed.emplace_back(secret);
  options.gpus = gpus(config.gpus);
  options.preload = config.preload;
  options.guards = {.memory_max = config.worker_memory_max,
                    .pids_max = config.worker_pids_max,
                    .cpu_weight = config.worker_cpu_weight};
  options.init = init_above();
  options.workers = config.workers;
  options.spares = config.spares;
  options.setup_timeout = config.setup_timeout;
  options.max_jobs_per_worker = config.max_jobs_per_worker;
  options.dispatch_window = config.dispatch_window;
  options.limits.max_body = static_cast<std::uint64_t>(config.max_result);
  options.limits.max_checkpoint = static_cast<std::uint64_t>(config.checkpoint_max);
  options.limits.max_chunk = static_cast<std::uint64_t>(config.max_chunk);
  options.check_json = fault_of_json;
  // What is kept in memory only dies with the supervisor: nobody would know the job of a child that goes on.
  if (config.durability != config::Durability::Memory) options.orphan_timeout = config.orphan_timeout;
  options.orphan_buffer = static_cast<std::uint64_t>(config.orphan_buffer);
  options.reap_reports = take_reap_reports();
  options.stop_time = config.cancel_grace;
  options.terminate_time = config.term_grace;
  options.runtime_dir = runtime_directory(config.state_dir);
  options.cookie_prefix = process::cookie_prefix(config.state_dir);
  options.hostname = hostname();
  options.symboliser = process::find_symboliser();
  return options;
}

}  // namespace bulkhead::settings
