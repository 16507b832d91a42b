// The texts of --help.

#pragma once

#include <string>

#include "supervisor/config/config.hpp"

namespace bulkhead::config {

/// `bulkhead --help`: what there is, and how to start.
std::string program_help();

/// `bulkhead serve --help` and the like; `check` shows serve's options with its own head.
std::string subcommand_help(Subcommand subcommand, bool check);

}  // namespace bulkhead::config
