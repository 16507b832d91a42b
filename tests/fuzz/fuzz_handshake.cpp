// Any bytes as a whole connection: a hello, the negotiation, then messages of which the reliable ones are numbered per
// run. A small model of the receiving side keeps what a supervisor would keep, and checks that what it believes to have
// seen grows by one at a time and never beyond what was sent.

#include <cstdint>
#include <map>

#include "decode_properties.hpp"
#include "protocol/handshake.hpp"

namespace bulkhead::protocol::fuzz {
namespace {

template <class Message>
concept Reliable = requires(const Message& m) {
  m.run;
  m.seq;
};

void check_sequence(Sequence& sequence, std::uint32_t seq) {
  const std::uint32_t before = sequence.seen();
  const Sequence::Verdict verdict = sequence.take(seq);
  FUZZ_CHECK((verdict == Sequence::Verdict::Repeat) == (seq <= before));
  FUZZ_CHECK((verdict == Sequence::Verdict::Next) == (std::uint64_t{before} + 1 == seq));
  FUZZ_CHECK(sequence.seen() == (verdict == Sequence::Verdict::Next ? seq : before));
  FUZZ_CHECK(seq > sequence.seen() || sequence.take(seq) == Sequence::Verdict::Repeat);
}

/// The answer to a hello: the runs the child still holds, with what was seen of them, or nothing when it is refused.
bool check_negotiation(const Hello& hello, std::map<Run, Sequence>& runs) {
  const auto answer = negotiate(hello);
  for (const Versions ours : {Versions{1, 1}, Versions{2, 5}, Versions{7, 0xffffffff}}) {
    const auto other = negotiate(hello, ours);
    if (other.index() == 1) continue;
    const std::uint32_t version = std::get<0>(other);
    FUZZ_CHECK(version >= ours.oldest && version <= ours.newest);
    FUZZ_CHECK(version >= hello.oldest_version && version <= hello.newest_version);
    FUZZ_CHECK(version == ours.newest || version == hello.newest_version);
  }
  Refuse refuse;
  Welcome welcome;
  if (const auto* refusal = std::get_if<1>(&answer)) {
    refuse = {.reason = refusal->reason, .text = refusal->text};
  } else {
    welcome.version = std::get<0>(answer);
    for (const Held& held : hello.held) {
      FUZZ_CHECK(runs.try_emplace(held.run, Sequence(held.first_kept - 1)).second);  // no run twice
      welcome.seen.push_back({.run = held.run, .seq = held.first_kept - 1});
    }
  }
  // The child understands the answer.
  std::string envelope;
  const bool refused = answer.index() == 1;
  encode(refused ? ToChild(refuse) : ToChild(welcome), envelope);
  FUZZ_CHECK(decode_to_child(envelope, {}, kLimits).index() == 0);
  return !refused;
}

void one_connection(std::string_view bytes) {
  std::map<Run, Sequence> runs;
  bool welcomed = false;
  while (!bytes.empty()) {
    const auto result = decode_and_check<FromChild>(read_input(bytes, true));
    if (result.index() == 1) continue;  // fails one run, or the connection; the next message is read all the same
    const FromChild& message = std::get<0>(result);
    const auto* hello = std::get_if<Hello>(&message);
    if (welcomed == (hello != nullptr)) return;  // out of order: refused
    if (hello != nullptr) {
      if (!check_negotiation(*hello, runs)) return;
      welcomed = true;
      continue;
    }
    std::visit(
        [&runs](const auto& m) {
          if constexpr (Reliable<std::decay_t<decltype(m)>>) check_sequence(runs[m.run], m.seq);
        },
        message);
  }
}

}  // namespace
}  // namespace bulkhead::protocol::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  bulkhead::protocol::fuzz::one_connection({reinterpret_cast<const char*>(data), size});
  return 0;
}
