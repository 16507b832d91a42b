// The supervisor's half of the handshake, as a pure decision: what to answer to a child's first message.

#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "protocol/message.hpp"

namespace bulkhead::protocol {

/// A range of protocol versions, both ends included.
struct Versions {
  std::uint32_t oldest = kOldestVersion;
  std::uint32_t newest = kVersion;
};

/// The version to speak with a child that offered `hello`, or why there is none. The text is for the person who started
/// the child: it names both ranges and what to do.
struct Refusal {
  RefuseReason reason = RefuseReason::Malformed;
  std::string text;
};
std::variant<std::uint32_t, Refusal> negotiate(const Hello& hello, Versions ours = {});

/// Sequence check of reliable messages, one per run and side that receives.
class Sequence {
 public:
  enum class Verdict : std::uint8_t { Next, Repeat, Gap };
  /// `Next` counts it as seen.
  Verdict take(std::uint32_t seq);
  std::uint32_t seen() const { return seen_; }
  explicit Sequence(std::uint32_t seen = 0) : seen_(seen) {}

 private:
  std::uint32_t seen_;
};

}  // namespace bulkhead::protocol
