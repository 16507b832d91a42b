// Streams of finished jobs that are no longer in memory, read out of the journal: of a former supervisor's life, or
// dropped to make room for others.

#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/job/ports.hpp"

namespace bulkhead {

class StoredStreams {
 public:
  /// One answer to a poll has at most `poll_bytes` of chunks.
  StoredStreams(Journal& journal, std::size_t poll_bytes) : journal_(journal), poll_bytes_(poll_bytes) {}

  /// As Endpoint::stream and Endpoint::follow; never waits.
  void poll(std::string_view id, Endpoint::Unread seen);
  void follow(std::string_view id, Endpoint::Position known, std::function<void(const JobView*, Endpoint::News)> seen);

  /// Chunks of this job up to `number` were given to polls while it was in memory. The journal has been told, but it may
  /// be a moment before it says so.
  void note(std::string_view id, std::uint32_t number);

 private:
  static constexpr std::size_t kPositionsMax = 4096;

  std::uint32_t position(const std::string& id) const;

  Journal& journal_;
  std::size_t poll_bytes_;
  std::unordered_map<std::string, std::uint32_t> positions_;  ///< the newest ones, in the order of `oldest_`
  std::deque<std::string> oldest_;
};

}  // namespace bulkhead
