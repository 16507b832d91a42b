// What supervisors leave to each other in the init's keeping: the sockets they listen on, all the time, and at a hand-over
// the connections on which nothing is under way.
//
// The init keeps two pairs of sockets and never looks into them: a message in one holds the descriptors that came with it,
// whoever lives or dies. A message is a text and its descriptors, in the order of the text's lines:
//
//     bulkhead 1 listeners        the next lines: an address each, as `listen` has it
//     bulkhead 1 connections      the next line: "endpoint" or "metrics", whose they are
//
// Of listeners there is one message, the newest; of connections as many as it takes. What has another first line is of
// another version, and closed.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/become_init.hpp"
#include "supervisor/http/server.hpp"
#include "supervisor/process/descriptor.hpp"

namespace bulkhead {

class Baton {
 public:
  /// Without a channel all of it does nothing.
  explicit Baton(const std::optional<InitChannel>& channel) : channel_(channel) {}

  /// Those of the supervisor before this one. They stay kept, too.
  std::vector<http::Held> listeners() const;
  /// In place of those kept so far. False: they could not be kept.
  bool keep(const std::vector<http::Held>& listeners) const;

  /// `connections` are closed here. Those that could not be passed on are closed for good: their number.
  std::size_t pass(std::string_view whose, std::vector<int> connections) const;
  std::vector<std::pair<std::string, int>> passed() const;

  /// Nobody shall be served any more.
  void drop() const;

 private:
  const std::optional<InitChannel>& channel_;
};

}  // namespace bulkhead
