#include "protocol/handshake.hpp"

#include <algorithm>

namespace bulkhead::protocol {
namespace {

std::string range(Versions versions) {
  if (versions.oldest == versions.newest) return "version " + std::to_string(versions.newest);
  return "versions " + std::to_string(versions.oldest) + " to " + std::to_string(versions.newest);
}

/// A run that is named more than once, or 0.
Run named_twice(const std::vector<Held>& held) {
  std::vector<Run> runs;
  runs.reserve(held.size());
  for (const Held& one : held) runs.push_back(one.run);
  std::sort(runs.begin(), runs.end());
  const auto twice = std::adjacent_find(runs.begin(), runs.end());
  return twice == runs.end() ? 0 : *twice;
}

}  // namespace

std::variant<std::uint32_t, Refusal> negotiate(const Hello& hello, Versions ours) {
  const Versions theirs{hello.oldest_version, hello.newest_version};
  if (theirs.oldest == 0 || theirs.oldest > theirs.newest) {
    return Refusal{RefuseReason::Malformed, "the hello offers protocol versions " + std::to_string(theirs.oldest) +
                                                " to " + std::to_string(theirs.newest) + ", which is no range"};
  }
  const std::uint32_t best = std::min(theirs.newest, ours.newest);
  if (best >= theirs.oldest && best >= ours.oldest) {
    const Run twice = named_twice(hello.held);
    if (twice == 0) return best;
    return Refusal{RefuseReason::Malformed, "the hello names the held run " + std::to_string(twice) + " twice"};
  }

  std::string text = "the handler's SDK speaks protocol " + range(theirs) + ", this supervisor " + range(ours) + ": ";
  text += theirs.oldest > ours.newest ? "update bulkhead, or build the handler with an SDK of its release"
                                      : "build the handler with the SDK that came with this bulkhead";
  return Refusal{RefuseReason::Version, std::move(text)};
}

Sequence::Verdict Sequence::take(std::uint32_t seq) {
  if (seq <= seen_) return Verdict::Repeat;
  if (seq - seen_ != 1) return Verdict::Gap;
  seen_ = seq;
  return Verdict::Next;
}

}  // namespace bulkhead::protocol
