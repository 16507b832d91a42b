// What happens at a fatal signal: the black box and the crash file (protocol/crash_file.hpp) are written, then whoever
// handled the signal before is called, then the process dies of the very signal it was struck by.
//
// State of the process, since signal handlers are: installed once, never taken back, so that a fault in a static
// destructor is recorded, too. In a forked child nothing is written, for it is not its black box. Everything bounded: a
// second fault while the stack is followed costs the rest of the stack, any other ends the process; and a handler that
// hangs for 5 s is ended by a timer.

#pragma once

#include <string>

#include "protocol/black_box.hpp"

namespace bulkhead::child::crash {

/// Catches SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP and std::terminate. `page` must stay mapped. With
/// an empty `file` only the black box is written. Throws std::system_error if the file cannot be opened.
void install(protocol::BlackBox* page, const std::string& file);

/// Gives the calling thread an alternate stack, unless it has one, so that running out of stack can be told. Cheap
/// when done already.
void guard_thread();

}  // namespace bulkhead::child::crash
