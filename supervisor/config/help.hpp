// The texts of --help.

#pragma once

#include <span>
#include <string>
#include <string_view>

#include "supervisor/config/config.hpp"

namespace bulkhead::config {

/// What the program's first argument can be.
struct Command {
  std::string_view name;
  std::string_view words;    ///< what stands behind it: "[options] ID"
  std::string_view summary;  ///< half a line
};
std::span<const Command> commands();

/// `bulkhead --help`: what there is, and how to start.
std::string program_help();

/// `bulkhead serve --help` and the like; `check` shows serve's options with its own head.
std::string subcommand_help(Subcommand subcommand, bool check);

}  // namespace bulkhead::config
