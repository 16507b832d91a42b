// What may be asked of a supervisor by those who only look.

#pragma once

#include <string>

#include "supervisor/observe/history.hpp"
#include "supervisor/observe/snapshot.hpp"

namespace bulkhead::observe {

class Onlooker {
 public:
  virtual ~Onlooker() = default;
  virtual Snapshot snapshot() const = 0;
  virtual const History& history() const = 0;
  /// Cheaper than a snapshot: probes ask often.
  virtual Readiness readiness() const = 0;
  /// The loop came round lately: its timers have their turn.
  virtual bool alive() const = 0;
};

}  // namespace bulkhead::observe
