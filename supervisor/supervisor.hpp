// The composition root: what the program is made of, wired together, and the order in which it starts and ends.

#pragma once

#include <functional>
#include <memory>
#include <variant>

#include "supervisor/config/config.hpp"
#include "supervisor/observe/log.hpp"
#include "supervisor/source/runpod_settings.hpp"
#include "supervisor/source/test_input.hpp"

namespace bulkhead {

/// Where jobs come from.
struct FromClients {};  ///< over HTTP
using JobsFrom = std::variant<FromClients, RunPodSettings, TestJob>;

/// One supervisor, for `run` or `serve`. Everything happens on the thread that calls run(), save what the journal, the
/// log and ZeroMQ do on threads of their own.
class Supervisor {
 public:
  /// The configuration as it would be read now: for SIGHUP.
  using Reread = std::function<std::variant<config::Config, config::Exit>()>;

  /// Takes the state directory and opens the journal. With a test job it runs that and ends.
  /// Throws std::system_error with a text for the operator.
  Supervisor(config::Config config, Reread reread, JobsFrom from, observe::Log& log);
  ~Supervisor();

  /// Serves until it is told to end or, for `run`, until its job is over. The exit code. Signals: SIGTERM and SIGINT
  /// drain, a second one shortens that; SIGQUIT stops at once, with the stacks of everything in the log; SIGHUP reads
  /// the configuration again; SIGUSR1 writes the state as one line of JSON.
  int run();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace bulkhead
