// What must be true of whatever comes out of the decoder, for any input at all. Both directions share it.

#pragma once

#include <msgpack.hpp>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "check.hpp"
#include "input.hpp"
#include "protocol/codec.hpp"

namespace bulkhead::protocol::fuzz {

inline constexpr Limits kLimits{.max_body = 1000, .max_chunk = 100, .max_input = 2000, .max_checkpoint = 1000};

inline bool lies_in(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

inline bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxJobId && id.find('\0') == std::string_view::npos;
}

inline void check_message(const Hello& m, std::string_view envelope) {
  FUZZ_CHECK(lies_in(m.sdk, envelope) && m.sdk.size() <= kMaxName && m.held.size() <= kMaxRuns);
  for (const Held& held : m.held) {
    FUZZ_CHECK(lies_in(held.job_id, envelope) && is_id(held.job_id) && held.run >= 1 && held.attempt >= 1);
    FUZZ_CHECK(held.first_kept >= 1 && held.first_kept <= held.next_seq);
  }
}
inline void check_message(const Ready& m, std::string_view) {
  FUZZ_CHECK(m.concurrency >= 1 && m.concurrency <= kMaxConcurrency);
}
inline void check_message(const Started& m, std::string_view) { FUZZ_CHECK(m.run >= 1); }
inline void check_message(const Progress& m, std::string_view) {
  FUZZ_CHECK(m.run >= 1 && m.body.size() <= kLimits.max_body);
}
inline void check_message(const Chunk& m, std::string_view) {
  FUZZ_CHECK(m.run >= 1 && m.seq >= 1 && m.body.size() <= kLimits.max_chunk);
}
inline void check_message(const Log& m, std::string_view) {
  FUZZ_CHECK(m.level <= Level::Error && m.text.size() <= kMaxLogLine);
}
inline void check_message(const Checkpoint& m, std::string_view) {
  FUZZ_CHECK(m.run >= 1 && m.seq >= 1 && m.body.size() <= kLimits.max_body);
}
inline void check_message(const Done& m, std::string_view) {
  FUZZ_CHECK(m.run >= 1 && m.seq >= 1 && m.run_time_us <= kMaxMicroseconds && m.output.size() <= kLimits.max_body);
}
inline void check_message(const Failed& m, std::string_view) {
  FUZZ_CHECK(m.run >= 1 && m.seq >= 1 && m.run_time_us <= kMaxMicroseconds);
  FUZZ_CHECK(m.error.size() <= kLimits.max_body && m.output.size() <= kLimits.max_body);
}
inline void check_message(const HandBack& m, std::string_view) { FUZZ_CHECK(m.run >= 1 && m.seq >= 1); }
inline void check_message(const Heartbeat& m, std::string_view) { FUZZ_CHECK(m.cpu_time_us <= kMaxMicroseconds); }
inline void check_message(const Welcome& m, std::string_view envelope) {
  FUZZ_CHECK(m.version >= kOldestVersion && m.version <= kVersion && lies_in(m.worker_id, envelope));
  FUZZ_CHECK(m.heartbeat_ms >= 1 && m.chunk_window >= 1 && m.chunk_window_bytes >= 1 && m.max_body >= 1);
  FUZZ_CHECK(m.max_chunk >= 1 && m.orphan_timeout_ms <= kMaxMilliseconds && m.seen.size() <= kMaxRuns);
  for (const Acked& seen : m.seen) FUZZ_CHECK(seen.run >= 1);
}
inline void check_message(const Refuse& m, std::string_view envelope) {
  FUZZ_CHECK(m.reason >= RefuseReason::UnknownToken && m.reason <= RefuseReason::TooLarge);
  FUZZ_CHECK(lies_in(m.text, envelope) && m.text.size() <= kMaxRefuseText);
}
inline void check_message(const RunJob& m, std::string_view envelope) {
  FUZZ_CHECK(m.run >= 1 && m.attempt >= 1 && lies_in(m.job_id, envelope) && is_id(m.job_id));
  FUZZ_CHECK(lies_in(m.extra, envelope) && m.extra.size() <= kMaxExtra && m.acks.size() <= kMaxRuns);
  for (const Acked& ack : m.acks) FUZZ_CHECK(ack.run >= 1);
  FUZZ_CHECK(m.input.size() <= kLimits.max_input && m.checkpoint.size() <= kLimits.max_body);
  FUZZ_CHECK(m.has_checkpoint || m.checkpoint.empty());
}
inline void check_message(const Cancel& m, std::string_view) {
  FUZZ_CHECK(m.run >= 1 && m.reason >= CancelReason::Requested && m.reason <= CancelReason::Drain);
}
inline void check_message(const Recall& m, std::string_view) { FUZZ_CHECK(m.run >= 1); }
inline void check_message(const Ack& m, std::string_view) { FUZZ_CHECK(m.run >= 1 && m.seq >= 1); }
inline void check_message(const Stop& m, std::string_view) { FUZZ_CHECK(m.grace_ms <= kMaxMilliseconds); }

/// Whether msgpack-c, an independent reader, finds exactly one complete array in `bytes`.
inline bool is_one_array(std::string_view bytes) {
  std::size_t offset = 0;
  msgpack::null_visitor visitor;
  const auto first = bytes.empty() ? 0 : static_cast<unsigned char>(bytes[0]);
  const bool array = (first & 0xf0) == 0x90 || first == 0xdc || first == 0xdd;
  return array && msgpack::parse(bytes.data(), bytes.size(), offset, visitor) && offset == bytes.size();
}

/// Decodes `input` and checks the result, whichever it is. Returns the message if it was one.
template <class Side>
std::variant<Side, DecodeError> decode_and_check(const Input& input) {
  constexpr bool from_child = std::is_same_v<Side, FromChild>;
  const auto decode = [](std::string_view envelope, std::span<const std::string_view> body) {
    if constexpr (from_child) {
      return decode_from_child(envelope, body, kLimits);
    } else {
      return decode_to_child(envelope, body, kLimits);
    }
  };
  auto result = decode(input.envelope, input.body);
  if (const auto* error = std::get_if<1>(&result)) {
    FUZZ_CHECK(!error->text.empty() && error->text.size() < 1000);
    return result;
  }
  const Side& message = std::get<0>(result);
  FUZZ_CHECK(is_one_array(input.envelope));
  std::visit([&input](const auto& m) { check_message(m, input.envelope); }, message);

  // Written by us and read again it is the same.
  std::string envelope;
  encode(message, envelope);
  const Bodies all = bodies(message);
  const auto again = decode(envelope, {all.frame, static_cast<std::size_t>(all.count)});
  FUZZ_CHECK(again.index() == 0 && std::get<0>(again) == message);
  return result;
}

}  // namespace bulkhead::protocol::fuzz
