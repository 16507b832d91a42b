// How `bulkhead init`, `run` and `serve` get their init: the process becomes bulkhead-init (supervisor/init), which
// starts the supervisor below it.
//
// For these commands all signals are blocked before main is entered, so that none is lost on the way, PID 1 or not. The
// mask is taken back when somebody listens: by open_for_signals().

#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "supervisor/config/config.hpp"

namespace bulkhead {

/// `bulkhead init …`: becomes it. Returns only when it cannot: the exit code, with all said.
int become_init(char** argv);

/// Becomes the init of this configuration's supervisor, which is started with the same arguments. Returns where this
/// process is to be the supervisor itself: it is below an init already, or shall have none, or there is none (told on
/// standard error). `restarts`: how often a minute a supervisor that was killed is started again.
void become_init_of_supervisor(const config::Config& config, char** argv, int restarts);

/// Below an init that was told shorter graces than these, as the configuration was another one then: they are cut to
/// what it waits for (told on standard error). Otherwise it would kill in the middle of a drain.
void fit_graces(config::Config& config);

/// The init above this supervisor, if it is ours; 0: there is none.
pid_t init_above();

/// From here on signals arrive.
void open_for_signals();

/// What an init that knows of upgrades offers (supervisor/init/channel.hpp). The descriptors are the process's, to its end.
struct InitChannel {
  int listeners_in = -1, listeners_out = -1;
  int connections_in = -1, connections_out = -1;
  int ready = -1;
  std::string life;  ///< "first", "again", "trial MS" or "back WHY"
};
/// None where there is no such init. Known once become_init_of_supervisor was called.
const std::optional<InitChannel>& init_channel();
/// Tells it that this supervisor serves.
void tell_init_ready();

/// The words this program was started with, the first of which is the path by which the init starts the next supervisor.
const std::vector<std::string>& own_words();

/// The pipe in which the init above tells what it reaps (process::ReapReports), or -1. Known once
/// become_init_of_supervisor was called; the caller's from then on.
int take_reap_reports();

}  // namespace bulkhead
