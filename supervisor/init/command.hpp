// Starts the command, again and again if need be, each time with what this process was given: signal mask and
// dispositions, working directory, descriptors, environment.
//
// A supervisor is given more, which outlives it: see channel.hpp.

#pragma once

#include <sys/types.h>

#include "supervisor/init/image.hpp"
#include "supervisor/init/options.hpp"

namespace bulkhead::init {

class Command {
 public:
  /// All that needs memory happens here. Blocks nothing, closes nothing.
  explicit Command(const Options& options);

  /// The pid of a new process that executes the command in a process group of its own; -1: fork failed. What stops it
  /// from being executed is told on standard error, and as exit code 127 (not found) or 126. `life` is what a supervisor
  /// is told of how it came to be.
  pid_t start(const Options& options, const Image& image, const char* life);

  /// Whether this supervisor has said that it is ready. Forgets what others have said.
  bool is_ready(pid_t supervisor) const;

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
  [[noreturn]] void become(const Options& options, const Image& image, const char* life, pid_t init);
  void open_channel();

  struct sigaction inherited_child_action_ {};  // of SIGCHLD, the one signal whose disposition matters to us
  pid_t own_group_;
  int directory_ = -1;
  int sockets_ = 0;            // of LISTEN_FDS, from 3 on
  int reports_[2] = {-1, -1};  // a pipe, for supervisors to read from
  // What supervisors leave to each other: a message holds the sockets that are in it, whoever dies. 0: in, 1: out.
  int listeners_[2] = {-1, -1};
  int connections_[2] = {-1, -1};
  int ready_[2] = {-1, -1};  // a pipe, for supervisors to write to
  bool has_terminal_ = false;
};

}  // namespace bulkhead::init
