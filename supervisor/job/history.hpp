// What became of a job's attempts, for people: kept as text, because nothing here is ever decided by it.
//
// A history is the elements of a JSON array without its brackets, one a line, oldest first:
//
//     {"attempt":1,"started_at":…,"ended_at":…,"worker_id":"w0.1","reason":"crash","error_type":"WorkerCrash","from_checkpoint":false}
//
// Times are wall-clock milliseconds since the epoch.

#pragma once

#include <cstdint>
#include <string_view>

#include "supervisor/job/payload.hpp"

namespace bulkhead {

/// One attempt that is over.
struct AttemptEnd {
  int attempt = 1;
  std::int64_t started_ms = 0;
  std::int64_t ended_ms = 0;
  std::string_view worker_id;
  /// "crash", "timeout", "stall", "lost", "error", "completed", "cancelled", "expired" or "shutdown".
  std::string_view reason;
  std::string_view error_type;   ///< as in the outcome; may be empty
  bool from_checkpoint = false;  ///< it was given what an attempt before it had saved
};

/// Older ones are left out.
inline constexpr int kMostAttemptsKept = 32;

/// The history with one more at its end. One of the same number there is left as it is.
Payload with_attempt(const Payload& history, const AttemptEnd& end);

/// A crash record (an object, as the text of a JSON string) with the history as its last member, "attempts". Anything
/// else is given back as it is.
Payload with_history(const Payload& record, const Payload& history);

}  // namespace bulkhead
