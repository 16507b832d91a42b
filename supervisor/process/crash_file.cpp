// Reads what a dying process wrote about itself. Its memory may have been in ruins and its disk full, so nothing here
// trusts the text: every number is checked, lines and frames are counted, an unknown line is passed over, and a file
// that stops in the middle gives what stood before. The format is in protocol/crash_file.hpp.

#include "supervisor/process/crash_file.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <memory>

#include "protocol/crash_file.hpp"
#include "supervisor/process/descriptor.hpp"
#include "supervisor/process/utf8.hpp"

namespace bulkhead::process {
namespace {

namespace words = protocol::crash_file;

/// The next word, which is taken off the text.
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

/// The line without its end, taken off the text. `whole`: it had an end.
std::string_view take_line(std::string_view& text, bool& whole) {
  std::size_t end = text.find('\n');
  whole = end != std::string_view::npos;
  std::string_view line = text.substr(0, end);
  text.remove_prefix(whole ? end + 1 : text.size());
  return line;
}

template <typename Number>
bool to_number(std::string_view word, Number& number) {
  int base = 10;
  if (word.starts_with("0x")) {
    word.remove_prefix(2);
    base = 16;
  }
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number, base);
  return error == std::errc{} && end == word.data() + word.size();
}

/// What people wrote, made fit to be shown.
std::string to_text(std::string_view words) {
  constexpr std::size_t kMost = 1000;
  return repair_utf8(words.substr(0, kMost));
}

std::string demangled(std::string_view name) {
  std::string mangled = to_text(name);
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status),
                                                   &std::free);
  return text ? std::string(text.get()) : mangled;
}

void take_signal(std::string_view rest, CrashFile& crash) {
  to_number(take_word(rest), crash.signal);
  while (!rest.empty()) {
    std::string_view what = take_word(rest), value = take_word(rest);
    if (what == "code") to_number(value, crash.code);
    if (what == "addr") to_number(value, crash.address);
    if (what == "tid") to_number(value, crash.thread);
  }
}

// 55d0c0ff0000-55d0c0ff4000 r-xp 00001000 08:01 1234   /usr/bin/handler
bool parse_mapping(std::string_view line, CrashFile::Mapping& mapping) {
  std::string_view range = take_word(line);
  std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return false;
  take_word(line);
  std::string_view offset = take_word(line);
  take_word(line);
  take_word(line);
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  mapping.path = line;
  auto hex = [](std::string_view text, std::uint64_t& value) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return error == std::errc{} && end == text.data() + text.size();
  };
  return hex(range.substr(0, dash), mapping.start) && hex(range.substr(dash + 1), mapping.end) &&
         hex(offset, mapping.offset);
}

void take_maps(std::string_view& text, CrashFile& crash) {
  while (!text.empty()) {
    bool whole = false;
    std::string_view line = take_line(text, whole);
    if (line == words::kEnd) {
      crash.complete = true;
      return;
    }
    CrashFile::Mapping mapping;
    if (!whole || !parse_mapping(line, mapping)) continue;
    crash.maps_text.append(line).push_back('\n');
    if (!mapping.path.empty() && crash.maps.size() < CrashFile::kMaxMappings) crash.maps.push_back(std::move(mapping));
  }
}

/// What an interpreter says of itself, behind all else.
void take_interpreter(std::string_view text, CrashFile& crash) {
  while (!text.empty() && crash.interpreter.size() < CrashFile::kMaxLines) {
    bool whole = false;
    std::string_view line = take_line(text, whole);
    if (!line.empty()) crash.interpreter.push_back(to_text(line));
  }
}

/// Where the text's first line with one of these words begins, from `from` on; its end if there is none.
std::size_t find_line(std::string_view text, std::initializer_list<std::string_view> keywords, std::size_t from) {
  while (from < text.size()) {
    const std::string_view line = text.substr(from, text.find('\n', from) - from);
    for (const std::string_view word : keywords)
      if (line.starts_with(word) && (line.size() == word.size() || line[word.size()] == ' ')) return from;
    from += line.size() + 1;
  }
  return text.size();
}

/// What was written by dying, without what was written before that to tell where threads stood; empty if the process did
/// not get to say that it dies.
std::string_view crash_part(std::string_view text) {
  std::size_t begin = 0;
  for (std::size_t at = 0; (at = find_line(text, {words::kStalled}, at)) < text.size();) {
    at = find_line(text, {words::kEnd}, at);
    // One that broke off has no end of its own.
    if (at < text.size() && find_line(text.substr(begin, at - begin), {words::kSignal}, 0) == at - begin) begin = at;
  }
  return text.substr(find_line(text, {words::kTerminate, words::kSignal}, begin));
}

std::string hexadecimal(std::uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
  return text;
}

}  // namespace

CrashFile parse_crash_file(std::string_view text) {
  CrashFile crash;
  while (!text.empty()) {
    bool whole = false;
    std::string_view line = take_line(text, whole), rest = line;
    std::string_view word = take_word(rest);
    if (!rest.empty()) rest.remove_prefix(1);
    std::uint64_t address = 0;
    if (word == words::kSignal) {
      take_signal(rest, crash);
    } else if (word == words::kFrame && whole) {
      if (to_number(rest, address) && crash.frames.size() < CrashFile::kMaxFrames) crash.frames.push_back(address);
    } else if (word == words::kTerminate) {
      std::string_view type = rest.substr(0, rest.find(": "));
      crash.exception_type = demangled(type);
      if (type.size() < rest.size()) crash.exception_text = to_text(rest.substr(type.size() + 2));
    } else if (word == words::kSender) {
      to_number(rest, crash.sender);
    } else if (word == words::kThread) {
      crash.thread_name = to_text(rest);
    } else if (word == words::kCut) {
      crash.cut = to_text(rest);
    } else if (word == words::kMaps) {
      take_maps(text, crash);
      if (crash.complete) break;
    } else if (word == words::kEnd) {
      crash.complete = true;
      break;
    }
  }
  take_interpreter(text, crash);
  return crash;
}

std::string to_text(const CrashFile& crash) {
  std::string text;
  for (std::uint64_t frame : crash.frames) text += std::string(words::kFrame) + " " + hexadecimal(frame) + "\n";
  return text + words::kMaps + "\n" + crash.maps_text + words::kEnd + "\n";
}

std::string read_text(const std::filesystem::path& path) {
  // Not blocking, should the child have put a pipe in its place.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return {};
  std::string text(16 * 1024, '\0');
  std::size_t length = 0;
  for (;;) {
    ssize_t got = ::read(fd.get(), text.data() + length, text.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += static_cast<std::size_t>(got);
    if (length == CrashFile::kMaxBytes) break;
    if (length == text.size()) text.resize(std::min(2 * text.size(), CrashFile::kMaxBytes));
  }
  text.resize(length);
  return text;
}

std::optional<CrashFile> read_crash_file(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  const std::string_view told = crash_part(text);
  if (told.empty()) return std::nullopt;
  return parse_crash_file(told);
}

std::optional<Stacks> parse_stacks(std::string_view text) {
  const std::string thread = "\n" + std::string(words::kStall) + " ", last = "\n" + std::string(words::kStalled) + "\n";
  const std::string whole = "\n" + std::string(text);
  const std::size_t first = whole.find(thread), end = whole.find(last);
  const std::size_t complete = whole.rfind("\n" + std::string(words::kEnd) + "\n");
  if (first == std::string::npos || end == std::string::npos || complete == std::string::npos || complete < end)
    return std::nullopt;
  Stacks stacks;
  CrashFile before;
  take_interpreter(std::string_view(whole).substr(0, first), before);
  stacks.interpreter = std::move(before.interpreter);
  const std::string maps = whole.substr(end + last.size());
  for (std::size_t at = first; at < end;) {
    const std::size_t next = std::min(whole.find(thread, at + 1), end);
    stacks.threads.push_back(parse_crash_file(whole.substr(at, next - at) + "\n" + maps));
    at = next;
  }
  return stacks;
}

std::vector<std::string> plain_stack(const CrashFile& crash) {
  std::map<std::string_view, std::uint64_t> bases;
  for (const CrashFile::Mapping& mapping : crash.maps) bases.emplace(mapping.path, mapping.start - mapping.offset);
  std::vector<std::string> stack;
  for (std::uint64_t frame : crash.frames) {
    std::string text = hexadecimal(frame);
    for (const CrashFile::Mapping& mapping : crash.maps) {
      if (frame < mapping.start || frame >= mapping.end) continue;
      std::string_view name = std::string_view(mapping.path).substr(mapping.path.rfind('/') + 1);
      text = repair_utf8(name) + "+" + hexadecimal(frame - bases[mapping.path]);
      break;
    }
    stack.push_back(std::move(text));
  }
  if (!crash.cut.empty()) stack.push_back("(" + crash.cut + ")");
  return stack;
}

std::string crash_reason(const CrashFile& crash) {
  std::string reason;
  if (!crash.exception_type.empty()) {
    reason = "uncaught exception " + crash.exception_type;
    if (!crash.exception_text.empty()) reason += ": " + crash.exception_text;
  } else if (crash.sender != 0) {
    reason = "signal sent by process " + std::to_string(crash.sender);
  } else if (crash.code > 0 && (crash.signal == SIGSEGV || crash.signal == SIGBUS)) {
    reason = "at address " + hexadecimal(crash.address);
  }
  if (!reason.empty() && !crash.thread_name.empty()) reason += ", in thread " + crash.thread_name;
  return reason;
}

}  // namespace bulkhead::process
