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
  std::vector<std::uint64_t> frames;  ///< innermost first, at most kMaxFrames
  std::vector<Mapping> maps;          ///< executable ones and those beside them, at most kMaxMappings
  std::string maps_text;              ///< the maps as they were written
  bool complete = false;              ///< the handler reached its end

  static constexpr std::size_t kMaxFrames = 64;
  static constexpr std::size_t kMaxMappings = 4096;
  static constexpr std::size_t kMaxBytes = 2 * 1024 * 1024;
};

CrashFile parse_crash_file(std::string_view text);

/// Empty if the file is not there or holds nothing: the child died without a word. Reads at most kMaxBytes.
std::optional<CrashFile> read_crash_file(const std::filesystem::path& path);

/// The frames as far as the maps alone can tell, at once: "libfoo.so+0x1a2b", "0x7f…" where nothing is known.
std::vector<std::string> plain_stack(const CrashFile& crash);

}  // namespace bulkhead::process
