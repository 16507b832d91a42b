// Every message the supervisor and a child exchange, as plain values.
//
// On the wire a message is a ZeroMQ multipart: one msgpack envelope, then the raw bodies its kind allows (see
// docs/PROTOCOL.md). A body is JSON (a checkpoint may be any bytes); it is never parsed here and never copied: it is
// a view into the frame it came in.
//
// A *run* is one attempt of one job by one child. Its number is given by the supervisor, is never used twice within a
// state directory, and is what all later messages about that attempt carry: a late message of an earlier attempt can
// therefore never be mistaken for one of the present.
//
// Reliable messages (Chunk, Checkpoint, Done, Failed, HandBack) are numbered per run: `seq` is 1, 2, 3 … The child
// keeps each until the supervisor acknowledged it (Ack, or the acks a Run carries) and sends it again after a
// reconnect; the supervisor drops what it has seen, and refuses a gap. The acknowledgement is the credit, too: a child
// has at most Welcome::chunk_window chunks, or chunk_window_bytes bytes of them, unacknowledged per run.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bulkhead::protocol {

/// The version this build speaks best, and the oldest it still understands. A hello offers a range; the supervisor
/// answers with the highest version both know, or refuses.
inline constexpr std::uint32_t kVersion = 2;
inline constexpr std::uint32_t kOldestVersion = 1;

/// A job's whole life has at most this many bytes of id (RunPod's ids have 38 to 45).
inline constexpr std::size_t kMaxJobId = 256;
/// Envelopes are small; only bodies are large.
inline constexpr std::size_t kMaxEnvelope = 64 * 1024;
/// Jobs a child may run at once, and the longest list of runs in a message: those, those in the dispatch window, and
/// some that are over but not yet acknowledged.
inline constexpr std::uint32_t kMaxConcurrency = 1000;
inline constexpr std::size_t kMaxRuns = 1100;
/// A hello that names kMaxRuns runs with the longest ids does not fit an ordinary envelope.
inline constexpr std::size_t kMaxHelloEnvelope = kMaxRuns * (kMaxJobId + 32) + 1024;
/// Bytes of RunJob::extra. Large things belong into the input.
inline constexpr std::size_t kMaxExtra = 32 * 1024;
/// Bytes of Hello::sdk and Welcome::worker_id, and of Refuse::text.
inline constexpr std::size_t kMaxName = 256;
inline constexpr std::size_t kMaxRefuseText = 4096;
/// Bytes of one log line; the SDK cuts longer ones and says so.
inline constexpr std::size_t kMaxLogLine = 8 * 1024;
/// Times on the wire end here (31 years), so that they can be counted in nanoseconds without a thought for overflow.
inline constexpr std::uint64_t kMaxMilliseconds = 1'000'000'000'000;
inline constexpr std::uint64_t kMaxMicroseconds = 1'000 * kMaxMilliseconds;

using Run = std::uint64_t;

/// `run` acknowledged up to and including `seq`.
struct Acked {
  Run run = 0;
  std::uint32_t seq = 0;
  bool operator==(const Acked&) const = default;
};

// ---- child -> supervisor -------------------------------------------------------------------------------------------

/// A run the child still holds when it says hello again after a lost connection.
struct Held {
  Run run = 0;
  std::string_view job_id;
  std::uint32_t attempt = 1;
  bool entered = false;          ///< the handler was called
  std::uint32_t next_seq = 1;    ///< the number its next reliable message will have
  std::uint32_t first_kept = 1;  ///< the oldest reliable message it can still send again
  std::uint32_t chunks = 0;      ///< how many of those before first_kept were chunks; since version 2
  bool operator==(const Held&) const = default;
};

/// First message of a connection. Who it is from is proven by the routing id, the token given at spawn.
struct Hello {
  std::uint32_t oldest_version = kOldestVersion;
  std::uint32_t newest_version = kVersion;
  std::uint64_t pid = 0;
  std::string_view sdk;  ///< name and version, for the log: "bulkhead-c/0.1.0"
  std::vector<Held> held;
  bool operator==(const Hello&) const = default;
};

/// Set-up is done, and how many jobs may run in this child at once. Sent again whenever that number changes.
struct Ready {
  std::uint32_t concurrency = 1;
  bool operator==(const Ready&) const = default;
};

/// The handler was entered. May be omitted when the run is over before the child found time to say so: any later
/// message of the run implies it.
struct Started {
  Run run = 0;
  bool operator==(const Started&) const = default;
};

/// Latest progress of a run; unnumbered, the newest replaces all earlier ones. Body 1: any JSON value.
struct Progress {
  Run run = 0;
  std::string_view body;
  bool operator==(const Progress&) const = default;
};

/// One streamed output. Body 1: any JSON value.
struct Chunk {
  Run run = 0;
  std::uint32_t seq = 0;
  std::string_view body;
  bool operator==(const Chunk&) const = default;
};

enum class Level : std::uint8_t { Trace, Debug, Info, Warn, Error };

/// A line the handler logged through the SDK; run 0 means outside any job. Body 1: UTF-8 text, no newline.
struct Log {
  Run run = 0;
  Level level = Level::Info;
  std::string_view text;
  bool operator==(const Log&) const = default;
};

/// The newest checkpoint of a run. Body 1: any bytes. Acknowledged when it is durable.
struct Checkpoint {
  Run run = 0;
  std::uint32_t seq = 0;
  std::string_view body;
  bool operator==(const Checkpoint&) const = default;
};

/// The run succeeded. Body 1: the output, one JSON value, or empty when the handler returned nothing to show (`{}`).
struct Done {
  Run run = 0;
  std::uint32_t seq = 0;
  std::uint64_t run_time_us = 0;  ///< from entering the handler to its return
  bool refresh_worker = false;    ///< the handler asked for a fresh child after this job
  std::string_view output;
  bool operator==(const Done&) const = default;
};

/// The handler reported or threw an error. Body 1: the error, one JSON value. Body 2: output beside it, or empty.
struct Failed {
  Run run = 0;
  std::uint32_t seq = 0;
  std::uint64_t run_time_us = 0;
  bool refresh_worker = false;
  std::string_view error;
  std::string_view output;
  bool operator==(const Failed&) const = default;
};

/// A run that was handed out, never entered, and will not be: recalled, or the child is stopping.
struct HandBack {
  Run run = 0;
  std::uint32_t seq = 0;
  bool operator==(const HandBack&) const = default;
};

/// Sent every Welcome::heartbeat_ms while a job runs, from a thread the handler cannot block.
struct Heartbeat {
  std::uint64_t cpu_time_us = 0;  ///< of the whole process: tells a spinning handler from a waiting one
  bool operator==(const Heartbeat&) const = default;
};

// ---- supervisor -> child -------------------------------------------------------------------------------------------

/// Answer to a hello.
struct Welcome {
  std::uint32_t version = kVersion;
  std::string_view worker_id;
  std::uint32_t heartbeat_ms = 1000;
  std::uint32_t chunk_window = 64;             ///< unacknowledged chunks per run
  std::uint64_t chunk_window_bytes = 4 << 20;  ///< … and their bytes (one chunk is always allowed)
  std::uint64_t max_body = 20 << 20;           ///< bytes of one output, error or progress
  std::uint64_t max_chunk = 1 << 20;           ///< bytes of one chunk
  std::uint64_t orphan_timeout_ms = 0;         ///< how long to go on without a supervisor; 0: not at all
  std::vector<Acked> seen;  ///< of the held runs, what arrived; a held run not named here is not wanted any more
  std::uint64_t orphan_buffer = 1 << 20;  ///< bytes of log lines kept while there is no supervisor; since version 2
  std::uint64_t max_checkpoint = 0;       ///< bytes of one checkpoint; 0: as max_body; since version 2
  bool operator==(const Welcome&) const = default;
};

enum class RefuseReason : std::uint8_t { UnknownToken = 1, Version = 2, Malformed = 3, OutOfOrder = 4, TooLarge = 5 };

/// The supervisor will not talk to this child; it should print the text and end.
struct Refuse {
  RefuseReason reason = RefuseReason::Malformed;
  std::string_view text;
  bool operator==(const Refuse&) const = default;
};

/// Run this job. Body 1: the job's `input`, one JSON value. Body 2: the last checkpoint, empty when there is none.
/// A child runs up to Ready::concurrency jobs; what it is handed beyond that waits, unstarted, in arrival order.
struct RunJob {
  Run run = 0;
  std::string_view job_id;
  std::uint32_t attempt = 1;
  std::string_view extra;  ///< further top-level keys of the job as one JSON object, or empty
  std::vector<Acked> acks;
  bool has_checkpoint = false;
  std::string_view input;
  std::string_view checkpoint;
  bool operator==(const RunJob&) const = default;
};

enum class CancelReason : std::uint8_t { Requested = 1, Timeout = 2, Drain = 3 };

/// Stop this run: its stop token fires. If it was not entered it is handed back at once.
struct Cancel {
  Run run = 0;
  CancelReason reason = CancelReason::Requested;
  bool operator==(const Cancel&) const = default;
};

/// Give this run back if it was not entered; otherwise nothing happens.
struct Recall {
  Run run = 0;
  bool operator==(const Recall&) const = default;
};

/// Acknowledges a run's reliable messages up to and including `seq`.
struct Ack {
  Run run = 0;
  std::uint32_t seq = 0;
  bool operator==(const Ack&) const = default;
};

/// Hand back what is not entered, finish what is, then end with exit code 0.
struct Stop {
  std::uint64_t grace_ms = 0;
  bool operator==(const Stop&) const = default;
};

using FromChild =
    std::variant<Hello, Ready, Started, Progress, Chunk, Log, Checkpoint, Done, Failed, HandBack, Heartbeat>;
using ToChild = std::variant<Welcome, Refuse, RunJob, Cancel, Recall, Ack, Stop>;

}  // namespace bulkhead::protocol
