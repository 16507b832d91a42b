// The composition root: what the program is made of, wired together, and the order in which it starts and ends.

#pragma once

#include <memory>
#include <optional>

#include "supervisor/config/config.hpp"
#include "supervisor/observe/log.hpp"
#include "supervisor/source/test_input.hpp"

namespace bulkhead {

/// One supervisor, for `run` or `serve`. Everything happens on the thread that calls run(), save what the journal, the
/// log and ZeroMQ do on threads of their own.
class Supervisor {
 public:
  /// Takes the state directory and opens the journal. With a test job it runs that and ends; otherwise it serves.
  /// Throws std::system_error with a text for the operator.
  Supervisor(config::Config config, std::optional<TestJob> test, observe::Log& log);
  ~Supervisor();

  /// Serves until it is told to end (SIGTERM, SIGINT) or, for `run`, until its job is over. The exit code.
  int run();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace bulkhead
