// Messages to frames and back. Bytes in, bytes out; no sockets.
//
// An envelope is one msgpack array: its first element is the kind, the rest are the fields in the order of
// docs/PROTOCOL.md. Elements beyond those a reader knows are ignored, so a later version may append.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "protocol/message.hpp"

namespace bulkhead::protocol {

/// Limits a reader enforces before it allocates anything, in bytes.
struct Limits {
  std::uint64_t max_body = 20 << 20;  ///< one output, error or progress
  std::uint64_t max_chunk = 1 << 20;  ///< one streamed output
  std::uint64_t max_input =
      256 << 20;  ///< a job's input. The supervisor limits it at its door; this bounds a broken peer
  std::uint64_t max_checkpoint = 64 << 20;
};

/// Why a message was not understood. `run` is the run it belongs to where that much could be read, else 0: only that
/// run need fail.
struct DecodeError {
  enum class Kind : std::uint8_t { Truncated, Malformed, UnknownKind, TooLarge, WrongBodies } kind = Kind::Malformed;
  Run run = 0;
  std::string text;  ///< names the message, the field and the limit
};

/// The envelope into `out` (cleared first, its capacity kept). The message's bodies are not part of it: send
/// `bodies(message)` as frames of their own behind it.
void encode(const FromChild& message, std::string& out);
void encode(const ToChild& message, std::string& out);

/// The frames that follow the envelope, in order.
struct Bodies {
  std::string_view frame[2];
  int count = 0;
};
Bodies bodies(const FromChild& message);
Bodies bodies(const ToChild& message);

/// Decodes one multipart message. `body` views and all string_views of the result point into the arguments, which
/// must outlive it.
std::variant<FromChild, DecodeError> decode_from_child(std::string_view envelope,
                                                       std::span<const std::string_view> body, const Limits& limits);
std::variant<ToChild, DecodeError> decode_to_child(std::string_view envelope, std::span<const std::string_view> body,
                                                   const Limits& limits);

}  // namespace bulkhead::protocol
