// The controlling terminal, if there is one: the command has it while it runs, so that ^C and ^Z are its own, and job
// control of a shell below and of the shell above both work.

#pragma once

#include <sys/types.h>

namespace bulkhead::init {

/// Makes `group` the terminal's foreground group, if `from` is that now: who was started in the background stays
/// there. True if it is the foreground group now. SIGTTOU must be blocked.
bool give_terminal(pid_t from, pid_t group);

}  // namespace bulkhead::init
