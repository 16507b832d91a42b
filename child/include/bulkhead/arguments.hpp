// The flags of a handler program. They follow those RunPod's SDK gives a handler; everything else is the handler's own.

#pragma once

#include <cctype>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bulkhead/job.hpp"

namespace bulkhead::sdk {

inline constexpr char kUsage[] =
    R"(This program is a Bulkhead job handler.

To serve jobs, put a supervisor in front of it:
  bulkhead serve -- HANDLER [ARGUMENTS]

To try it on one job, run it directly, or with "bulkhead run --" in front, which survives crashes:
  HANDLER --test_input '{"input": {"prompt": "Hello"}}'
  HANDLER                        takes the job from test_input.json in the working directory

Flags:
  --test_input JSON      the job: an object with "input", and optionally "id" and other keys
  --test_output JSON     compare the result with this one, show the differences, exit 1 where there are any
  --rp_log_level LEVEL   DEBUG (default), INFO, WARN, ERROR or NOTSET; also by RUNPOD_LOG_LEVEL
  --help                 show this text

Exit code: 0 when the job succeeded, 1 when it failed or there was none, 2 for wrong flags.
Flags not listed here are left to the handler.
)";

struct Arguments {
  std::optional<std::string> test_input;
  std::optional<std::string> test_output;
  std::optional<std::string> log_level;
  bool help = false;
  bool serve_api = false;         ///< --rp_serve_api: the supervisor's work here
  std::vector<std::string> rest;  ///< not ours
  std::string error;              ///< what is wrong with a flag of ours; empty: nothing

  static Arguments parse(int argc, const char* const* argv) {
    Arguments arguments;
    for (int i = 1; i < argc && argv[i] != nullptr; ++i) arguments.take(argc, argv, i);
    return arguments;
  }

 private:
  /// The argument at `i`, and the following one where that is its value.
  void take(int argc, const char* const* argv, int& i) {
    const std::string_view argument = argv[i];
    const std::size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    std::optional<std::string>* value = name == "--test_input"     ? &test_input
                                        : name == "--test_output"  ? &test_output
                                        : name == "--rp_log_level" ? &log_level
                                                                   : nullptr;
    if (value != nullptr) {
      if (equals != argument.npos)
        *value = argument.substr(equals + 1);
      else if (i + 1 < argc && argv[i + 1] != nullptr)
        *value = argv[++i];
      else
        error = std::string(name) + " needs a value";
    } else if (argument == "--help" || argument == "-h") {
      help = true;
    } else if (argument == "--rp_serve_api") {
      serve_api = true;
    } else {
      rest.emplace_back(argument);
    }
  }
};

/// The threshold of a log. NOTSET is no logging at all: a level above the highest.
inline constexpr Level kLogNothing = static_cast<Level>(static_cast<int>(Level::Error) + 1);

inline std::optional<Level> level_of(std::string_view name) {
  std::string upper;
  for (const char c : name) upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (upper == "TRACE") return Level::Trace;
  if (upper == "DEBUG") return Level::Debug;
  if (upper == "INFO") return Level::Info;
  if (upper == "WARN" || upper == "WARNING") return Level::Warn;
  if (upper == "ERROR") return Level::Error;
  if (upper == "NOTSET") return kLogNothing;
  return std::nullopt;
}

/// From the flag, else the environment, else `otherwise`. Nothing where the name is unknown.
inline std::optional<Level> threshold(const Arguments& arguments, Level otherwise) {
  if (arguments.log_level) return level_of(*arguments.log_level);
  for (const char* name : {"RUNPOD_LOG_LEVEL", "RUNPOD_DEBUG_LEVEL"})
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return level_of(value);
  return otherwise;
}

}  // namespace bulkhead::sdk
