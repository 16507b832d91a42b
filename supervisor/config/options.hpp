// The table of everything that can be set: one row makes the flag, the environment variable, the file's key, the line
// of the help and the line of `bulkhead check`.

#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/config/config.hpp"

namespace bulkhead::config {

enum class Group : std::uint8_t { Children, Jobs, Platform, Endpoint, Limits, State, Process, Talk };

struct Option {
  std::string_view name;   ///< the flag without its dashes, and the key in the file: "setup-timeout"
  std::string_view value;  ///< what stands for its value in the help: "DURATION"
  Group group;
  std::string_view help;    ///< one line; the default is added to it
  bool serve_only = false;  ///< not a flag of `run`; in a shared file or the environment it is checked all the same
  bool run_only = false;    ///< the same for `serve`
  bool flag = false;        ///< needs no value on the command line: its presence is "true"
  bool list = false;        ///< the flag may be repeated; in the environment separated by commas; an array in the file
  bool secret = false;      ///< environment only: an argument list is there for everybody to read

  /// Sets it from texts (one, unless `list`). The answer is empty, or says what is allowed: "must be 1 to 1024".
  std::string (*set)(Config&, const std::vector<std::string>& texts);
  /// As `check` and the help's defaults show it; never a secret.
  std::string (*show)(const Config&);

  /// "BULKHEAD_SETUP_TIMEOUT"
  std::string variable() const;
};

std::span<const Option> options();

/// The option or other name nearest to a mistyped one, or empty when none is near.
std::string_view nearest(std::string_view typed, std::span<const std::string_view> names);

}  // namespace bulkhead::config
