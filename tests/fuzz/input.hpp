// What the fuzz targets read: one multipart message as flat bytes. A byte says how many bodies there are (0 to 3), each
// is two bytes of size, high byte first; the rest is the envelope. Of a body only the size matters, for nobody looks
// into it: a target gives views of the size into one static buffer.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::protocol::fuzz {

struct Input {
  std::string_view envelope;
  std::vector<std::string_view> body;
};

/// Takes a message from `bytes`: all of them, or, where `sized`, as many as two bytes of size before the envelope say.
inline Input read_input(std::string_view& bytes, bool sized) {
  static const std::string kZeros(0x10000, '\0');
  const auto take = [&bytes](std::size_t most) {
    const std::string_view taken = bytes.substr(0, most);
    bytes.remove_prefix(taken.size());
    return taken;
  };
  const auto take_size = [&take] {
    std::size_t size = 0;
    for (const char c : take(2)) size = size << 8 | static_cast<unsigned char>(c);
    return size;
  };
  Input input;
  const std::string_view count = take(1);
  const int bodies = count.empty() ? 0 : count[0] & 3;
  for (int i = 0; i < bodies; ++i) input.body.push_back(std::string_view(kZeros).substr(0, take_size()));
  input.envelope = take(sized ? take_size() : bytes.size());
  return input;
}

/// The bytes from which read_input makes this message.
inline std::string write_input(std::string_view envelope, const std::vector<std::size_t>& body_sizes,
                               bool sized = false) {
  std::string bytes(1, static_cast<char>(body_sizes.size()));
  const auto put_size = [&bytes](std::size_t size) {
    bytes += {static_cast<char>(size >> 8), static_cast<char>(size)};
  };
  for (const std::size_t size : body_sizes) put_size(size);
  if (sized) put_size(envelope.size());
  return bytes.append(envelope);
}

}  // namespace bulkhead::protocol::fuzz
