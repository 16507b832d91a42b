// The runs that children hold, found by their number in constant time and without an allocation once warmed up.

#pragma once

#include <boost/intrusive/list.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/handshake.hpp"
#include "supervisor/job/ports.hpp"

namespace bulkhead::pool {

class Worker;

/// One run, from its hand-out until its last message was acknowledged or its child is dead.
struct Run : boost::intrusive::list_base_hook<> {
  using Time = std::chrono::steady_clock::time_point;

  RunNumber number = 0;
  Worker* worker = nullptr;
  std::string job_id;
  int attempt = 1;
  Time handed;                                 ///< when it was sent
  Time entered{};                              ///< when its handler was first known to run
  bool left = false;                           ///< after a death: its handler had returned
  bool started = false;                        ///< a message of it has come
  bool recalled = false;                       ///< asked back
  bool over = false;                           ///< answered, handed back or failed: only acknowledgements are left
  std::optional<protocol::CancelReason> stop;  ///< asked of it
  bool broken = false;               ///< failed by us for what the child said about it: whatever else comes is ignored
  std::uint64_t dropped_before = 0;  ///< bytes of output its child had lost to a flood when it was handed out
  protocol::Sequence sequence;
  std::uint32_t acknowledged = 0;

  /// Progress is passed on at once while it comes at a human pace; of a flood, the newest now and then.
  int progress_allowance = 0;
  Time progress_counted;
  Payload progress;  ///< held back
};

using RunList = boost::intrusive::list<Run>;

class Runs {
 public:
  /// A fresh run; the number is new.
  Run& add(RunNumber number, Worker& worker, std::string_view job_id, int attempt);
  /// nullptr if no child holds it.
  Run* find(RunNumber number);
  /// Must not be in a list any more.
  void erase(Run& run);
  std::size_t size() const { return runs_.size(); }

 private:
  boost::unordered_flat_map<RunNumber, std::unique_ptr<Run>> runs_;
  std::vector<std::unique_ptr<Run>> spare_;
};

}  // namespace bulkhead::pool
