// What a client did wrong, or what we cannot do for it now: the one shape of every refusal.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace bulkhead::http {

/// Goes out as {"error":{"code","message","limit","got"}} with this status; limit and got only where they say
/// something.
struct Problem {
  int status = 400;
  const char* code = "";  ///< a word for programs: "body_too_large"
  std::string message;    ///< a sentence for people: what is wrong, and what would be right
  std::optional<std::int64_t> limit;
  std::optional<std::int64_t> got;
  int retry_after = 0;  ///< seconds, for the Retry-After field; 0: none
};

}  // namespace bulkhead::http
