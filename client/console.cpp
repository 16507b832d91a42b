#include "client/console.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bulkhead::client {

void say(const std::string& line) { std::fprintf(stderr, "bulkhead: %s\n", line.c_str()); }

int print(const Exit& exit) {
  std::fputs(exit.text.c_str(), exit.code == kOk ? stdout : stderr);
  return exit.code;
}

void print_line(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

int finish(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  say(std::string("standard output cannot be written: ") + std::strerror(errno));
  return kBroken;
}

bool on_terminal(int descriptor) {
  const char* kind = std::getenv("TERM");
  return isatty(descriptor) == 1 && kind != nullptr && *kind != '\0' && std::strcmp(kind, "dumb") != 0;
}

bool in_colour(int descriptor) {
  const char* unwanted = std::getenv("NO_COLOR");
  return on_terminal(descriptor) && (unwanted == nullptr || *unwanted == '\0');
}

std::string harmless(std::string_view text, std::size_t most) {
  std::size_t end = std::min(text.size(), most);
  // Not in the middle of a character.
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  std::string line;
  line.reserve(end);
  for (std::size_t i = 0; i < end; ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are control characters, too: C2 80 to C2 9F.
    bool upper = c == 0xC2 && i + 1 < end && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (upper) ++i;
    line += c < 0x20 || c == 0x7F || upper ? ' ' : text[i];
  }
  while (line.ends_with(' ')) line.pop_back();
  return end < text.size() ? line + "…" : line;
}

}  // namespace bulkhead::client
