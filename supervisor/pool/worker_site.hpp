// What the workers of a pool share, and whom they report to.

#pragma once

#include "protocol/message.hpp"
#include "supervisor/job/ports.hpp"
#include "supervisor/pool/child_process.hpp"
#include "supervisor/pool/link.hpp"
#include "supervisor/pool/options.hpp"
#include "supervisor/pool/runs.hpp"
#include "supervisor/process/symbolise.hpp"

namespace bulkhead::pool {

class Worker;

/// Whoever owns workers. A call may come from within any call to the worker.
class WorkerOwner {
 public:
  /// Set-up is done: a Spare, to be activated now or later.
  virtual void set_up(Worker& worker) = 0;
  /// It takes no further jobs; another may take its part. Once, if it was set up.
  virtual void leaving(Worker& worker) = 0;
  /// Its process is dead: a replacement may be launched, unless that must wait for gone().
  virtual void dead(Worker& worker) = 0;
  /// Nothing of it is left. It may be destroyed, but not from within the call.
  virtual void gone(Worker& worker) = 0;
  /// It owes its child acknowledgements: flush_acks() soon, or where not `urgent` in a while.
  virtual void owes_acks(bool urgent) = 0;
  /// It holds progress back: pass_progress() in a while.
  virtual void holds_progress() = 0;
  /// Its window is open: tick() it until it says no.
  virtual void window_opened() = 0;

 protected:
  ~WorkerOwner() = default;
};

/// What all workers of a pool share. Outlives them.
struct WorkerSite {
  ProcessSite process;
  const Options& options;
  Link& link;
  Runs& runs;
  process::Symboliser& symboliser;
  WorkersListener& listener;
  WorkerOwner& owner;
  protocol::ToChild run_job = protocol::RunJob{};  ///< filled again and again, for its capacity
};

}  // namespace bulkhead::pool
