// The composition root: what the program is made of, wired together, and the order in which it starts and ends.

#pragma once

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
  /// Takes the state directory and opens the journal. With a test job it runs that and ends.
  /// Throws std::system_error with a text for the operator.
  Supervisor(config::Config config, JobsFrom from, observe::Log& log);
  ~Supervisor();

  /// Serves until it is told to end (SIGTERM, SIGINT) or, for `run`, until its job is over. The exit code.
  int run();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace bulkhead
