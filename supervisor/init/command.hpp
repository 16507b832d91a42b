// Starts the command, again and again if need be, each time with what this process was given: signal mask and
// dispositions, working directory, descriptors, environment.

#pragma once

#include <sys/types.h>

#include "supervisor/init/options.hpp"

namespace bulkhead::init {

class Command {
 public:
  /// All that needs memory happens here. Blocks nothing, closes nothing.
  explicit Command(const Options& options);

  /// The pid of a new process that executes the command in a process group of its own; -1: fork failed. What stops it
  /// from being executed is told on standard error, and as exit code 127 (not found) or 126.
  pid_t start(const Options& options);

  /// For the supervisors of now and later: a process that was reaped.
  void report(pid_t pid, int status) const;

  /// The directory of the file system and the descriptors that the command shall not share with us are let go. Under
  /// supervision the sockets of LISTEN_FDS, and the directory, stay for the next one.
  void let_go(const Options& options);

  /// Makes the command's group the terminal's foreground group where ours is that. False: it is not.
  bool give_terminal_to(pid_t group);

  /// Whether the command's group was made the terminal's foreground group.
  bool has_terminal() const { return has_terminal_; }

 private:
  [[noreturn]] void become(const Options& options, pid_t init);

  struct sigaction inherited_child_action_ {};  // of SIGCHLD, the one signal whose disposition matters to us
  pid_t own_group_;
  int directory_ = -1;
  int sockets_ = 0;            // of LISTEN_FDS, from 3 on
  int reports_[2] = {-1, -1};  // a pipe, for supervisors to read from
  bool has_terminal_ = false;
};

}  // namespace bulkhead::init
