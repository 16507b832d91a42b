// The supervisor's own stack: for SIGQUIT, and when it crashes itself or is ended by a watchdog's SIGABRT.

#pragma once

#include <string>

namespace bulkhead {

/// Where the caller is, one line a frame, each behind an end of line: "\n  module(+offset)".
std::string own_stack();

/// From here on a fatal signal (SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL) first writes the stack to standard error, and
/// then ends the process as it would have. Signals that somebody else handles already are left alone.
void write_stack_at_crash();

}  // namespace bulkhead
