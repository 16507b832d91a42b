#include "supervisor/reload.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "supervisor/config/options.hpp"

namespace bulkhead {
namespace {

constexpr std::array<std::string_view, 15> kTakenUp{
    "workers",      "spares",          "retries",         "execution-timeout", "ttl",
    "api-key-file", "api-keys",        "queue-max",       "max-run-body",      "max-runsync-body",
    "max-header",   "max-connections", "request-timeout", "rate-limit",        "log-level"};

}  // namespace

Reload plan_reload(const config::Config& now, const config::Config& next) {
  Reload plan{.config = now};
  config::Config& config = plan.config;
  config.workers = next.workers;
  config.spares = next.spares;
  config.retries = next.retries;
  config.execution_timeout = next.execution_timeout;
  config.ttl = next.ttl;
  config.api_keys = next.api_keys;
  config.queue_max = next.queue_max;
  config.max_run_body = next.max_run_body;
  config.max_runsync_body = next.max_runsync_body;
  config.max_header = next.max_header;
  config.max_connections = next.max_connections;
  config.request_timeout = next.request_timeout;
  config.rate_limits = next.rate_limits;
  config.log_level = next.log_level;
  for (const config::Option& option : config::options()) {
    if (option.show(now) == option.show(next)) continue;
    bool taken_up = std::find(kTakenUp.begin(), kTakenUp.end(), option.name) != kTakenUp.end();
    std::string& names = taken_up ? plan.changed : plan.needs_restart;
    names.append(names.empty() ? "" : ", ").append(option.name);
  }
  return plan;
}

}  // namespace bulkhead
