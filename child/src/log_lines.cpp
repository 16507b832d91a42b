#include "child/src/log_lines.hpp"

#include <cstddef>

#include "protocol/message.hpp"

namespace bulkhead::child {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";
constexpr std::string_view kCutMark = " [cut]";

/// Length of the valid character `text` begins with, 0 if it begins with none. Not empty.
std::size_t character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : 4;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  // The second byte decides on overlong forms, surrogates and what is beyond Unicode.
  const unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < least || byte(1) > most) return 0;
  for (std::size_t i = 2; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

/// Bytes at the start of `text` that can be sent as they are.
std::size_t valid_prefix(std::string_view text) {
  std::size_t size = 0;
  while (size < text.size()) {
    const std::size_t step = character(text.substr(size));
    if (step == 0) break;
    size += step;
  }
  return size;
}

}  // namespace

std::optional<std::string_view> LogLines::next() {
  if (over_) return std::nullopt;
  const std::size_t end = rest_.find('\n');
  std::string_view line = rest_.substr(0, end);
  rest_ = end == std::string_view::npos ? std::string_view() : rest_.substr(end + 1);
  over_ = rest_.empty();
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);

  // Only what can end up in the line is looked at, however long it is.
  const std::string_view looked_at = line.substr(0, protocol::kMaxLogLine);
  if (looked_at.size() == line.size() && valid_prefix(line) == line.size()) return line;

  const std::size_t room = protocol::kMaxLogLine - kCutMark.size();
  line_.clear();
  while (!line.empty()) {
    const std::size_t step = character(line);
    const std::string_view good = step == 0 ? kReplacement : line.substr(0, step);
    if (line_.size() + good.size() > room) {
      line_ += kCutMark;
      break;
    }
    line_ += good;
    line.remove_prefix(step == 0 ? 1 : step);
  }
  return line_;
}

}  // namespace bulkhead::child
