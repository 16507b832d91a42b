// Reads what a child's fatal-signal handler wrote (protocol/crash_file.hpp) before it died.
//
// The writer was a crashing process: the text may be cut anywhere, or be nonsense. Whatever can be understood is taken.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::process {

struct CrashFile {
  struct Mapping {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    std::uint64_t offset = 0;  ///< in the file
    std::string path;
  };

  int signal = 0;  ///< 0: the handler did not get to say
  int code = 0;    ///< si_code
  std::uint64_t address = 0;
  int thread = 0;
  std::string thread_name;
  int sender = 0;                     ///< pid of the process that sent the signal; 0: it came of the child's own doing
  std::string exception_type;         ///< demangled, where an uncaught exception ended the process
  std::string exception_text;         ///< its what()
  std::string cut;                    ///< why the stack could not be followed to its end
  std::vector<std::uint64_t> frames;  ///< innermost first, at most kMaxFrames
  std::vector<Mapping> maps;          ///< those of files, at most kMaxMappings
  std::string maps_text;              ///< the maps as they were written
  bool complete = false;              ///< the handler reached its end
  std::vector<std::string> interpreter;  ///< lines behind the end: an interpreter's stacks, at most kMaxLines

  static constexpr std::size_t kMaxFrames = 64;
  static constexpr std::size_t kMaxMappings = 4096;
  static constexpr std::size_t kMaxLines = 200;
  static constexpr std::size_t kMaxBytes = 2 * 1024 * 1024;
};

CrashFile parse_crash_file(std::string_view text);

/// Where the threads of a living process are, as it wrote it when it was asked.
struct Stacks {
  std::vector<CrashFile> threads;  ///< the one that was asked first; each with all maps
  std::vector<std::string> interpreter;
};
/// Nothing before the process has written its last line.
std::optional<Stacks> parse_stacks(std::string_view text);

/// The file's text, at most kMaxBytes; empty if it is not there or holds nothing.
std::string read_text(const std::filesystem::path& path);

/// The same facts as text again, as far as a symboliser needs them: frames and maps.
std::string to_text(const CrashFile& crash);

/// Empty if the child died without a word; where its threads stood when it was asked is none. Reads at most kMaxBytes.
std::optional<CrashFile> read_crash_file(const std::filesystem::path& path);

/// The frames as far as the maps alone can tell, at once: "libfoo.so+0x1a2b", "0x7f…" where nothing is known.
std::vector<std::string> plain_stack(const CrashFile& crash);

/// What the file says about the reason beyond the signal, for the message of a crash record: "uncaught exception
/// std::runtime_error: no such model", "signal sent by process 4242", "at address 0x0", with the name of the thread
/// where it has one of its own. May be empty.
std::string crash_reason(const CrashFile& crash);

}  // namespace bulkhead::process
