// `bulkhead journal inspect|verify|backup`: an operator's look at the journal, without a supervisor.

#pragma once

#include "supervisor/config/config.hpp"

namespace bulkhead {

/// `arguments` are those behind the word "journal". The exit code: 0, 1 when verify found something, 2 for wrong usage, 71
/// when the file cannot be read or the copy cannot be written.
int journal_command(int argc, const char* const* argv, const config::Environment& environment);

}  // namespace bulkhead
