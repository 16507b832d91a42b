// What `bulkhead init` is told on its command line.
//
// The letters are those of tini and dumb-init, so that either can be replaced in an image without touching the rest of
// the line: what they have and this init does anyway (-s, -v, -w) is taken and does nothing.

#pragma once

#include <csignal>

namespace bulkhead::init {

/// Signals are 1 to 64.
inline constexpr int kSignals = 65;

struct Options {
  bool group = false;    ///< -g: signals go to the command's process group, not to it alone
  int death_signal = 0;  ///< -p: sent to this process when its parent dies; 0: none
  /// --grace: from SIGTERM to SIGKILL, and from the command's end to the SIGKILL of what it left. Milliseconds.
  long long grace = 10'000;
  bool success[256] = {};           ///< -e: exit codes that are reported as 0
  unsigned char rewrite[kSignals];  ///< -r: what is sent on instead of a signal; 0: nothing

  /// --supervise: the command is a Bulkhead supervisor, which is started again when a signal killed it, at most this
  /// often a minute; -1: any other command.
  int restarts = -1;
  bool supervise() const { return restarts >= 0; }
  /// --trial: a new supervisor that is not ready by then is taken back. Milliseconds.
  long long trial = 20'000;

  /// The mask the command shall have: the one this process was started with, or --mask, where whoever started it had
  /// to block signals on the way.
  sigset_t mask;

  char** command = nullptr;  ///< ends with a null pointer; never empty
};

/// Fills `options`, whose mask is set already. The answer is an exit code, with all said, or -1: go on.
int parse(int argc, char** argv, Options& options);

/// "TERM", "SIGTERM", "15", "RTMIN+1"; 0 for what is none.
int signal_number(const char* text);

}  // namespace bulkhead::init
