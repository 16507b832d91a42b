// The child's pen for its black box (protocol/black_box.hpp).
//
// Not thread-safe: used under the session's mutex, the fatal-signal handler aside, which has the page's address and
// writes two fields of its own. The page therefore stays mapped until the process ends.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/black_box.hpp"

namespace bulkhead::child {

class BlackBoxWriter {
 public:
  using Phase = protocol::BlackBox::Phase;
  /// Index of an entry.
  using Entry = std::uint16_t;

  /// Maps the file at `path` and notes this process in it; an empty path gives a page that nobody reads. Throws
  /// std::system_error, and std::runtime_error if the file is no black box.
  explicit BlackBoxWriter(const std::string& path);
  BlackBoxWriter(const BlackBoxWriter&) = delete;
  BlackBoxWriter& operator=(const BlackBoxWriter&) = delete;

  /// Notes that `run` is entered, before it is. Empty when all entries are taken: some result must be acknowledged first.
  std::optional<Entry> enter(std::uint64_t run);
  /// The run's result was given to the socket.
  void leave(Entry entry);
  /// The run's result was acknowledged, or is not wanted any more.
  void release(Entry entry);
  bool full() const { return free_.empty(); }

  void phase(Phase phase);
  /// A sign of life, now.
  void sign();

  protocol::BlackBox* page() { return page_; }

 private:
  protocol::BlackBox* page_;
  std::vector<Entry> free_;
};

}  // namespace bulkhead::child
