#include "supervisor/reload.hpp"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "supervisor/config/options.hpp"

namespace bulkhead {
namespace {

template <auto... Members>
void take(config::Config& to, const config::Config& from) {
  ((to.*Members = from.*Members), ...);
}

using config::Config;

struct TakenUp {
  std::string_view name;
  void (*take)(Config& to, const Config& from);
};

// Not the graces: the init above was told at its start how long an ending may take, and holds to that.
constexpr TakenUp kTakenUp[] = {
    {"workers", take<&Config::workers>},
    {"spares", take<&Config::spares>},
    {"retries", take<&Config::retries>},
    {"execution-timeout", take<&Config::execution_timeout, &Config::execution_timeout_given>},
    {"ttl", take<&Config::ttl>},
    {"api-key-file", take<&Config::api_keys>},
    {"api-keys", take<&Config::api_keys>},
    {"queue-max", take<&Config::queue_max>},
    {"max-run-body", take<&Config::max_run_body>},
    {"max-runsync-body", take<&Config::max_runsync_body>},
    {"max-header", take<&Config::max_header>},
    {"max-connections", take<&Config::max_connections>},
    {"request-timeout", take<&Config::request_timeout>},
    {"rate-limit", take<&Config::rate_limits>},
    {"log-level", take<&Config::log_level>}};

}  // namespace

Reload plan_reload(const Config& now, const Config& next) {
  Reload plan{.config = now};
  for (const TakenUp& option : kTakenUp) option.take(plan.config, next);
  for (const config::Option& option : config::options()) {
    const bool elsewhere = now.subcommand == config::Subcommand::Run ? option.serve_only : option.run_only;
    if (elsewhere || option.show(now) == option.show(next)) continue;
    const bool taken_up = std::any_of(std::begin(kTakenUp), std::end(kTakenUp),
                                      [&](const TakenUp& taken) { return taken.name == option.name; });
    std::string& names = taken_up ? plan.changed : plan.needs_restart;
    names.append(names.empty() ? "" : ", ").append(option.name);
  }
  return plan;
}

}  // namespace bulkhead
