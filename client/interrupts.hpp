// Ctrl-C as something to look at, so that a command can say what it leaves behind.

#pragma once

#include <csignal>

namespace bulkhead::client {

/// From its construction to its end, SIGINT and SIGTERM do not end this process; they are taken here. One at a time.
class Interrupts {
 public:
  /// Throws std::system_error.
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// Readable when there is one.
  int descriptor() const { return fd_; }
  /// The signal that has come, or 0; once come, it stays.
  int signal();

 private:
  int fd_ = -1;
  int signal_ = 0;
  sigset_t before_{};
};

}  // namespace bulkhead::client
