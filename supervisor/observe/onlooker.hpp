// What may be asked of a supervisor by those who only look.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/listing.hpp"
#include "supervisor/observe/feed.hpp"
#include "supervisor/observe/history.hpp"
#include "supervisor/observe/lines.hpp"
#include "supervisor/observe/snapshot.hpp"

namespace bulkhead::observe {

struct JobsFound {
  std::vector<ListedJob> jobs;        ///< newest first
  std::int64_t before = 0;            ///< to ask with for older ones; 0: that was all
  std::optional<std::int64_t> total;  ///< of those that match, where that is cheap to tell
};

class Onlooker {
 public:
  virtual ~Onlooker() = default;
  virtual Snapshot snapshot() const = 0;
  virtual const History& history() const = 0;
  /// Cheaper than a snapshot: probes ask often.
  virtual Readiness readiness() const = 0;
  /// The loop came round lately: its timers have their turn.
  virtual bool alive() const = 0;
  /// Jobs that wait or run, and those whose result is still kept. Looks at a part of them at a time, and at some hundred
  /// thousand at most: what it gives may be less than was asked for, with a `before` to go on from.
  virtual void jobs(JobsQuery query, std::function<void(JobsFound)> found) = 0;
  /// One of them with all that is kept of it; of an input of more than `most` bytes the size only.
  virtual void job(std::string_view id, std::size_t most, std::function<void(std::optional<JobRecord>)> found) = 0;
  /// What there is to see, for those who watch.
  virtual Feed& feed() = 0;
  /// The log's last lines.
  virtual Lines& lines() = 0;
};

}  // namespace bulkhead::observe
