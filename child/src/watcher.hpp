// The library's own thread, for what must go on whatever the handler does: receiving while nobody waits in bh_next,
// heartbeats, calls of on_stop, connecting, and ending a process whose supervisor is gone.
//
// It sleeps on a timer that others set under the session's mutex, on the link's monitor and, while it receives, on the
// link. A stream of tiny jobs never runs this thread: each puts the timer off. It is never switched off, for that is a
// system call and a costly one on a virtual machine; it rings once when the stream has ended, and then no more.

#pragma once

#include <poll.h>

#include <chrono>
#include <thread>

#include "child/src/job.hpp"

namespace bulkhead::child {

/// A timer of CLOCK_MONOTONIC that remembers what it was set to.
class Alarm {
 public:
  Alarm();
  ~Alarm();
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
  int fd() const { return fd_; }
  /// Rings at `at`, unless it rings earlier anyway.
  void ring_by(Clock::time_point at) {
    if (at < due_) set(at);
  }
  /// Rings somewhere between these two, and not earlier. Called again and again with moments that move on, it seldom
  /// is a system call, and never rings.
  void ring_between(Clock::time_point earliest, Clock::time_point latest) {
    if (due_ < earliest || due_ > latest) set(latest);
  }
  void set(Clock::time_point at);
  /// Takes the ring back; it is not set any more. Called by the watcher's thread, under the mutex.
  void consume();

  static constexpr Clock::time_point kNever = Clock::time_point::max();

 private:
  int fd_;
  Clock::time_point due_ = kNever;
};

/// What the thread is for.
class Watched {
 public:
  struct Descriptors {
    int monitor = -1;
    int link = -1;
  };
  /// One round: does what is due, says what to wait for next besides the alarm. False ends the thread.
  virtual bool watch(Descriptors& next) = 0;

 protected:
  ~Watched() = default;
};

class Watcher {
 public:
  Watcher(Watched& watched, const Alarm& alarm) : watched_(watched), alarm_(alarm) {}
  ~Watcher() { join(); }
  /// With all signals blocked but those of faults, so that none meant for the program runs there. Throws
  /// std::system_error.
  void start();
  /// Waits for the end of the thread: watch() must have been made to return false, and the alarm to ring.
  void join();

 private:
  void run();

  Watched& watched_;
  const Alarm& alarm_;
  std::thread thread_;
};

}  // namespace bulkhead::child
