#include "supervisor/process/utf8.hpp"

namespace bulkhead::process {
namespace {

struct Sequence {
  std::size_t length;  // of the valid character, or of the invalid part that one U+FFFD stands for
  bool valid;
};

bool is_continuation(unsigned char byte) { return (byte & 0xc0) == 0x80; }

// `text` is not empty.
Sequence first_sequence(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true};
  std::size_t length = lead >= 0xc2 && lead < 0xe0   ? 2
                       : lead >= 0xe0 && lead < 0xf0 ? 3
                       : lead >= 0xf0 && lead < 0xf5 ? 4
                                                     : 0;
  if (length == 0) return {1, false};
  // The second byte has a narrower range after these: overlong forms, surrogates, beyond U+10FFFF.
  unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (text.size() < 2 || byte(1) < least || byte(1) > most) return {1, false};
  for (std::size_t i = 2; i < length; ++i)
    if (i >= text.size() || !is_continuation(byte(i))) return {i, false};
  return {length, true};
}

}  // namespace

std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    Sequence next = first_sequence(text.substr(at));
    if (!next.valid) break;
    at += next.length;
  }
  return at;
}

std::string repair_utf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size() + 16);
  while (!text.empty()) {
    std::size_t good = valid_utf8_prefix(text);
    repaired.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) break;
    repaired += "\xef\xbf\xbd";
    text.remove_prefix(first_sequence(text).length);
  }
  return repaired;
}

std::string_view cut_utf8(std::string_view text, std::size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && is_continuation(static_cast<unsigned char>(text[size]))) --size;
  return text.substr(0, size);
}

}  // namespace bulkhead::process
