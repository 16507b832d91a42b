// One write on its way from the event loop to the disk and back.

#pragma once

#include <cstdint>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "supervisor/job/ports.hpp"

namespace bulkhead::journal {

/// The key of a job in every table: counts up in order of acceptance.
using JobKey = std::int64_t;

/// What may hang on a job beside its row, so that nobody looks for it in vain.
enum Attached : std::uint8_t { kExtra = 1, kChunks = 2, kCheckpoint = 4, kProgress = 8 };

/// The queue owns an Operation, and with it the strings and payloads that SQLite reads in place; it goes to the writer
/// and comes back with its result, so that everything in it is made and destroyed on the event loop's thread.
struct Operation {
  enum class Kind : std::uint8_t {
    Accept,      ///< key, body: Job
    Start,       ///< key, run, number: attempt, text: worker id, time_ms, attached
    Requeue,     ///< key, run, number: 1 if the attempt stays counted
    Cancelling,  ///< key, run
    Finish,      ///< key, body: Outcome, text: job id, time_ms: when it expires, attached
    Settle,      ///< key, number: 1 if the input is not needed any more, time_ms: when it expires
    Chunk,       ///< key, number, body: Payload
    Progress,    ///< key, body: Payload
    Polled,      ///< text: job id, number
    Checkpoint,  ///< key, body: Payload
    History,     ///< key, body: Payload, number: the attempt that crashed, or 0, record
    DropDead,    ///< text: job id
    Suspicion,   ///< body: Suspect
    ClearSuspects,
    Forget,  ///< text: job id
    Expire,  ///< text: job id, time_ms
    Echo,    ///< nothing to write: calls back after what came before it
  };

  Kind kind = Kind::Echo;
  std::uint8_t attached = 0;
  std::uint32_t number = 0;
  JobKey key = 0;
  RunNumber run = 0;
  std::int64_t time_ms = 0;
  std::string text;
  std::variant<std::monostate, Payload, Job, Outcome, Suspect> body;
  Payload record;
  Journal::Written written;
  std::error_code error;
};

/// Nobody waits for it: it may wait a moment for company, to spare the disk a sync.
inline bool is_lazy(Operation::Kind kind) {
  return kind == Operation::Kind::Settle || kind == Operation::Kind::Progress || kind == Operation::Kind::Polled ||
         kind == Operation::Kind::Expire || kind == Operation::Kind::Forget || kind == Operation::Kind::DropDead ||
         kind == Operation::Kind::Suspicion || kind == Operation::Kind::ClearSuspects;
}

/// Must not be lost while the disk refuses: kept in memory until it does not.
inline bool is_kept(Operation::Kind kind) {
  return kind == Operation::Kind::Finish || kind == Operation::Kind::Requeue || kind == Operation::Kind::Cancelling ||
         kind == Operation::Kind::Settle || kind == Operation::Kind::Forget || kind == Operation::Kind::Expire ||
         kind == Operation::Kind::DropDead || kind == Operation::Kind::ClearSuspects;
}

/// Operations that are written in one transaction.
struct Batch {
  std::vector<Operation> operations;
  std::size_t bytes = 0;  ///< of payloads
  bool kept = false;      ///< written at a later try; who waited has been told of the first
};

}  // namespace bulkhead::journal
