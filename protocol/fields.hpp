// The fields and bodies of every message, once: what is written and what is read come from the same list, in the order
// docs/PROTOCOL.md gives. Only codec.cpp and tests include this.
//
// An `Io` is an EnvelopeWriter or an EnvelopeReader (fields), a BodyWriter or a BodyReader (bodies). To append a field
// in a later version: add it at the end of its message's list behind `io.more()`, which a reader denies where an envelope of
// an older version has ended.

#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "protocol/message.hpp"

namespace bulkhead::protocol {

/// A message's number and name. Kind numbers are for ever: one is never given to another message, not even when its own
/// is gone.
struct About {
  std::uint8_t kind;
  const char* name;
};
template <class Message>
inline constexpr About kAbout = {};
template <>
inline constexpr About kAbout<Hello> = {1, "Hello"};
template <>
inline constexpr About kAbout<Ready> = {2, "Ready"};
template <>
inline constexpr About kAbout<Started> = {3, "Started"};
template <>
inline constexpr About kAbout<Progress> = {4, "Progress"};
template <>
inline constexpr About kAbout<Chunk> = {5, "Chunk"};
template <>
inline constexpr About kAbout<Log> = {6, "Log"};
template <>
inline constexpr About kAbout<Checkpoint> = {7, "Checkpoint"};
template <>
inline constexpr About kAbout<Done> = {8, "Done"};
template <>
inline constexpr About kAbout<Failed> = {9, "Failed"};
template <>
inline constexpr About kAbout<HandBack> = {10, "HandBack"};
template <>
inline constexpr About kAbout<Heartbeat> = {11, "Heartbeat"};
template <>
inline constexpr About kAbout<Welcome> = {32, "Welcome"};
template <>
inline constexpr About kAbout<Refuse> = {33, "Refuse"};
template <>
inline constexpr About kAbout<RunJob> = {34, "RunJob"};
template <>
inline constexpr About kAbout<Cancel> = {35, "Cancel"};
template <>
inline constexpr About kAbout<Recall> = {36, "Recall"};
template <>
inline constexpr About kAbout<Ack> = {37, "Ack"};
template <>
inline constexpr About kAbout<Stop> = {38, "Stop"};

/// What a number must lie in; both ends included.
struct Bounds {
  std::uint64_t least = 0;
  std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
};
inline constexpr Bounds kPositive{1};

/// Which limit a body falls under.
enum class BodyLimit : std::uint8_t { Result, Chunk, LogLine, Input, Checkpoint };

template <class M, class Message>
concept Is = std::same_as<std::remove_const_t<M>, Message>;

// ---- fields --------------------------------------------------------------------------------------------------------

template <class Io, Is<Acked> M>
void fields(Io& io, M& m) {
  io.run(m.run, kPositive);
  io.number("seq", m.seq, Bounds{});  // 0: nothing has arrived
}

template <class Io, Is<Held> M>
void fields(Io& io, M& m) {
  io.run(m.run, kPositive);
  io.job_id(m.job_id);
  io.number("attempt", m.attempt, kPositive);
  io.flag("entered", m.entered);
  io.number("next_seq", m.next_seq, kPositive);
  io.number("first_kept", m.first_kept, Bounds{1, m.next_seq});
  if (io.more()) io.number("chunks", m.chunks, Bounds{0, m.first_kept - 1});
}

template <class Io, Is<Hello> M>
void fields(Io& io, M& m) {
  io.number("oldest_version", m.oldest_version, Bounds{});
  io.number("newest_version", m.newest_version, Bounds{});
  // A child whose versions are all unknown here is refused for that, whatever else its hello may look like.
  if (m.oldest_version > kVersion || m.newest_version < kOldestVersion) return io.rest_is_foreign();
  io.number("pid", m.pid, Bounds{1, std::numeric_limits<std::int32_t>::max()});  // a pid_t
  io.text("sdk", m.sdk, Bounds{0, kMaxName});
  io.list("held", m.held, kMaxRuns);
}

template <class Io, Is<Ready> M>
void fields(Io& io, M& m) {
  io.number("concurrency", m.concurrency, Bounds{1, kMaxConcurrency});
}

template <class Io, class M>
requires Is<M, Started> || Is<M, Progress> || Is<M, Recall>
void fields(Io& io, M& m) { io.run(m.run, kPositive); }

template <class Io, class M>
requires Is<M, Chunk> || Is<M, Checkpoint> || Is<M, HandBack> || Is<M, Ack>
void fields(Io& io, M& m) {
  io.run(m.run, kPositive);
  io.number("seq", m.seq, kPositive);
}

template <class Io, Is<Log> M>
void fields(Io& io, M& m) {
  io.run(m.run, Bounds{});  // 0: outside any job
  io.choice("level", m.level, Level::Trace, Level::Error);
}

template <class Io, class M>
requires Is<M, Done> || Is<M, Failed>
void fields(Io& io, M& m) {
  io.run(m.run, kPositive);
  io.number("seq", m.seq, kPositive);
  io.number("run_time_us", m.run_time_us, Bounds{0, kMaxMicroseconds});
  io.flag("refresh_worker", m.refresh_worker);
}

template <class Io, Is<Heartbeat> M>
void fields(Io& io, M& m) {
  io.number("cpu_time_us", m.cpu_time_us, Bounds{0, kMaxMicroseconds});
}

template <class Io, Is<Welcome> M>
void fields(Io& io, M& m) {
  io.number("version", m.version, Bounds{kOldestVersion, kVersion});
  io.text("worker_id", m.worker_id, Bounds{0, kMaxName});
  io.number("heartbeat_ms", m.heartbeat_ms, kPositive);
  io.number("chunk_window", m.chunk_window, kPositive);
  io.number("chunk_window_bytes", m.chunk_window_bytes, kPositive);
  io.number("max_body", m.max_body, kPositive);
  io.number("max_chunk", m.max_chunk, kPositive);
  io.number("orphan_timeout_ms", m.orphan_timeout_ms, Bounds{0, kMaxMilliseconds});
  io.list("seen", m.seen, kMaxRuns);
  if (io.more()) io.number("orphan_buffer", m.orphan_buffer, Bounds{});
  if (io.more()) io.number("max_checkpoint", m.max_checkpoint, Bounds{});
}

template <class Io, Is<Refuse> M>
void fields(Io& io, M& m) {
  io.choice("reason", m.reason, RefuseReason::UnknownToken, RefuseReason::TooLarge);
  io.text("text", m.text, Bounds{0, kMaxRefuseText});
}

template <class Io, Is<RunJob> M>
void fields(Io& io, M& m) {
  io.run(m.run, kPositive);
  io.job_id(m.job_id);
  io.number("attempt", m.attempt, kPositive);
  io.text("extra", m.extra, Bounds{0, kMaxExtra});
  io.list("acks", m.acks, kMaxRuns);
  io.flag("has_checkpoint", m.has_checkpoint);
}

template <class Io, Is<Cancel> M>
void fields(Io& io, M& m) {
  io.run(m.run, kPositive);
  io.choice("reason", m.reason, CancelReason::Requested, CancelReason::Drain);
}

template <class Io, Is<Stop> M>
void fields(Io& io, M& m) {
  io.number("grace_ms", m.grace_ms, Bounds{0, kMaxMilliseconds});
}

// ---- bodies --------------------------------------------------------------------------------------------------------

template <class Io, class M>
void body_frames(Io&, M&) {}

template <class Io, Is<Progress> M>
void body_frames(Io& io, M& m) {
  io.body("body", m.body, BodyLimit::Result);
}

template <class Io, Is<Chunk> M>
void body_frames(Io& io, M& m) {
  io.body("body", m.body, BodyLimit::Chunk);
}

template <class Io, Is<Log> M>
void body_frames(Io& io, M& m) {
  io.body("text", m.text, BodyLimit::LogLine);
}

template <class Io, Is<Checkpoint> M>
void body_frames(Io& io, M& m) {
  io.body("body", m.body, BodyLimit::Checkpoint);
}

template <class Io, Is<Done> M>
void body_frames(Io& io, M& m) {
  io.body("output", m.output, BodyLimit::Result);
}

template <class Io, Is<Failed> M>
void body_frames(Io& io, M& m) {
  io.body("error", m.error, BodyLimit::Result);
  io.optional_body("output", m.output, BodyLimit::Result);
}

template <class Io, Is<RunJob> M>
void body_frames(Io& io, M& m) {
  io.body("input", m.input, BodyLimit::Input);
  if (m.has_checkpoint) io.body("checkpoint", m.checkpoint, BodyLimit::Checkpoint);
}

}  // namespace bulkhead::protocol
