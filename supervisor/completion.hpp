// `bulkhead completion bash|zsh|fish`: a script for the shell, made of the tables that also make the flags and the help.

#pragma once

namespace bulkhead {

/// `argv` are the words behind "completion". The exit code: 0, or 2 for wrong usage.
int completion_command(int argc, const char* const* argv);

}  // namespace bulkhead
