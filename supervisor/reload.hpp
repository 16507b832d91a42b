// What SIGHUP changes: of two configurations, what a running supervisor can take up, and what it cannot.

#pragma once

#include <string>

#include "supervisor/config/config.hpp"

namespace bulkhead {

struct Reload {
  config::Config config;      ///< the present one with what can be taken up of the next
  std::string changed;        ///< names of the settings that differ and are taken up: "workers, log-level"
  std::string needs_restart;  ///< names of those that differ and are not
};

/// Taken up: the number of children, the limits and keys of the endpoint, what jobs get that ask for nothing else, and the
/// log's level. Of keys only the names are compared; they are always taken up.
Reload plan_reload(const config::Config& now, const config::Config& next);

}  // namespace bulkhead
