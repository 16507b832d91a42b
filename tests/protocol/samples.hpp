// One message of every kind, and of every kind that has an optional part one with it, with fixed values. The golden
// bytes, the round trips and the seeds of the fuzz corpora are made of these.

#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/codec.hpp"

namespace bulkhead::protocol {

struct Sample {
  const char* name;  ///< of the file in tests/golden, without ".hex"
  std::variant<FromChild, ToChild> message;
  /// The envelope as JSON, written by hand: what an independent msgpack reader must find in it. A slip in the order of
  /// the fields, made in writing and reading alike, shows here.
  const char* envelope;
};

inline void PrintTo(const Sample& sample, std::ostream* out) { *out << sample.name; }

const std::vector<Sample>& samples();

/// A message as its frames, which own their bytes.
struct Frames {
  std::string envelope;
  std::vector<std::string> body;
  std::vector<std::string_view> body_views() const { return {body.begin(), body.end()}; }
  bool operator==(const Frames&) const = default;
};
Frames frames_of(const std::variant<FromChild, ToChild>& message);

}  // namespace bulkhead::protocol
