// Joins the lists of fields.hpp with those who write and read them, and picks the message by its kind.
//
// An envelope is judged before its bodies, so that an error of a body still says whose run it is; and by its size
// before anything else. A decoded message is built where it is returned, and nothing of it is copied: its texts and bodies are
// views. The compiler makes one straight function per message of the lists; a kind nobody lists is an unknown one.

#include "protocol/codec.hpp"

#include <cassert>

#include "protocol/envelope_reader.hpp"
#include "protocol/envelope_writer.hpp"
#include "protocol/fields.hpp"

namespace bulkhead::protocol {
namespace {

class BodyWriter {
 public:
  explicit BodyWriter(Bodies& bodies) : bodies_(bodies) {}
  void body(const char*, std::string_view bytes, BodyLimit) { bodies_.frame[bodies_.count++] = bytes; }
  void optional_body(const char* name, std::string_view bytes, BodyLimit limit) {
    if (!bytes.empty()) body(name, bytes, limit);
  }

 private:
  Bodies& bodies_;
};

class BodyReader {
 public:
  BodyReader(const char* message, std::span<const std::string_view> frames, const Limits& limits, DecodeError& error)
      : message_(message), frames_(frames), limits_(limits), error_(error) {}

  void body(const char* name, std::string_view& bytes, BodyLimit limit) {
    if (next_ == frames_.size()) {
      return fail(DecodeError::Kind::WrongBodies, std::string(" came without its body '") + name + "'");
    }
    take(name, bytes, limit);
  }
  void optional_body(const char* name, std::string_view& bytes, BodyLimit limit) {
    if (next_ != frames_.size()) take(name, bytes, limit);
  }

  /// Whether all that was needed was there, and nothing else.
  bool close() {
    if (ok_ && next_ != frames_.size()) {
      fail(DecodeError::Kind::WrongBodies,
           " came with " + std::to_string(frames_.size()) + " bodies instead of " + std::to_string(next_));
    }
    return ok_;
  }

 private:
  void take(const char* name, std::string_view& bytes, BodyLimit limit) {
    if (!ok_) return;
    const std::string_view frame = frames_[next_++];
    if (frame.size() > most(limit)) {
      return fail(DecodeError::Kind::TooLarge, std::string(".") + name + " has " + std::to_string(frame.size()) +
                                                   " bytes, more than " + std::to_string(most(limit)));
    }
    bytes = frame;
  }

  std::uint64_t most(BodyLimit limit) const {
    switch (limit) {
      case BodyLimit::Result: return limits_.max_body;
      case BodyLimit::Chunk: return limits_.max_chunk;
      case BodyLimit::LogLine: return kMaxLogLine;
      case BodyLimit::Input: return limits_.max_input;
      case BodyLimit::Checkpoint: return limits_.max_checkpoint;
    }
    return 0;
  }

  void fail(DecodeError::Kind kind, const std::string& what) {
    if (!ok_) return;
    ok_ = false;
    error_.kind = kind;
    error_.text = message_ + what;
  }

  const char* message_;
  std::span<const std::string_view> frames_;
  const Limits& limits_;
  DecodeError& error_;
  std::size_t next_ = 0;
  bool ok_ = true;
};

template <class Side>
void encode_side(const Side& message, std::string& out) {
  out.clear();
  std::visit([&out](const auto& m) { EnvelopeWriter(out).message(m); }, message);
}

template <class Side>
Bodies bodies_of(const Side& message) {
  Bodies bodies;
  BodyWriter writer(bodies);
  std::visit([&writer](const auto& m) { body_frames(writer, m); }, message);
  return bodies;
}

template <class Side>
class Decoder {
 public:
  using Result = std::variant<Side, DecodeError>;

  Decoder(std::string_view envelope, std::span<const std::string_view> body, const Limits& limits)
      : reader_(envelope, error_), envelope_size_(envelope.size()), body_(body), limits_(limits) {}

  Result decode(const char* sender) {
    constexpr bool from_child = std::is_same_v<Side, FromChild>;
    std::uint64_t kind = 0;
    if (!within(from_child ? kMaxHelloEnvelope : kMaxEnvelope) || !reader_.open(kind) ||
        (kind != kAbout<Hello>.kind && !within(kMaxEnvelope))) {
      return std::move(error_);
    }
    return decode_kind(kind, sender, std::make_index_sequence<std::variant_size_v<Side>>());
  }

 private:
  bool within(std::size_t most) {
    return envelope_size_ <= most ||
           reader_.fail(DecodeError::Kind::TooLarge,
                        "has " + std::to_string(envelope_size_) + " bytes, more than " + std::to_string(most));
  }

  template <std::size_t... kIndex>
  Result decode_kind(std::uint64_t kind, const char* sender, std::index_sequence<kIndex...>) {
    Result result;
    const bool known =
        ((kind == kAbout<std::variant_alternative_t<kIndex, Side>>.kind && (read<kIndex>(result), true)) || ...);
    if (!known) {
      reader_.fail(DecodeError::Kind::UnknownKind,
                   "is of kind " + std::to_string(kind) + ", which " + sender + " does not send");
      result = std::move(error_);
    }
    return result;
  }

  template <std::size_t kIndex>
  void read(Result& result) {
    auto& message = std::get<0>(result).template emplace<kIndex>();
    using Message = std::remove_reference_t<decltype(message)>;
    if (reader_.message(message)) {
      BodyReader bodies(kAbout<Message>.name, body_, limits_, error_);
      body_frames(bodies, message);
      if (bodies.close()) return;
    }
    result = std::move(error_);
  }

  DecodeError error_;
  EnvelopeReader reader_;
  std::size_t envelope_size_;
  std::span<const std::string_view> body_;
  const Limits& limits_;
};

}  // namespace

void encode(const FromChild& message, std::string& out) { encode_side(message, out); }
void encode(const ToChild& message, std::string& out) { encode_side(message, out); }

Bodies bodies(const FromChild& message) { return bodies_of(message); }
Bodies bodies(const ToChild& message) { return bodies_of(message); }

std::variant<FromChild, DecodeError> decode_from_child(std::string_view envelope,
                                                       std::span<const std::string_view> body, const Limits& limits) {
  return Decoder<FromChild>(envelope, body, limits).decode("a child");
}

std::variant<ToChild, DecodeError> decode_to_child(std::string_view envelope, std::span<const std::string_view> body,
                                                   const Limits& limits) {
  return Decoder<ToChild>(envelope, body, limits).decode("a supervisor");
}

}  // namespace bulkhead::protocol
