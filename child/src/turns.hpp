// Who receives: of the threads that wait for something from the supervisor, one at a time (the leader) waits on the socket
// itself, so that what it waits for costs no hop; the others wait their turn. When the leader leaves with what it wanted,
// another takes over. Nothing here touches the socket: who wakes up receives, under the session's mutex, and decides.
//
// An outside event loop is one more leader, that never leaves: descriptor() gives it an epoll set of its own.

#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "child/src/job.hpp"

namespace bulkhead::child {

/// Until when a call may wait: milliseconds from now, negative for ever.
class Deadline {
 public:
  explicit Deadline(int timeout_ms) : never_(timeout_ms < 0), now_(timeout_ms == 0) {
    if (timeout_ms > 0) at_ = Clock::now() + std::chrono::milliseconds(timeout_ms);
  }
  bool never() const { return never_; }
  bool passed() const { return now_ || (!never_ && Clock::now() >= at_); }
  Clock::time_point at() const { return at_; }

 private:
  bool never_;
  bool now_;
  Clock::time_point at_{};
};

/// An eventfd that is readable while it rings. Everybody who rings or hushes it holds the session's mutex.
class Bell {
 public:
  Bell();
  ~Bell();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;
  int fd() const { return fd_; }
  void ring();
  void hush();

 private:
  int fd_;
  bool ringing_ = false;
};

class Turns {
 public:
  Turns() = default;
  ~Turns();
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  enum class Woken { Maybe, BySignal };
  /// Waits until something may have happened, as the leader if there is none. `job`: what is waited for is an
  /// acknowledgement of this run, else it is an event. `link_fd` may be -1. Whoever stops waiting must call pass_on.
  Woken wait(std::unique_lock<std::mutex>& lock, const Job* job, const Deadline& deadline, int link_fd);
  /// The caller waits no more: another takes the lead; `events`: there are events that nobody has taken.
  void pass_on(bool events);

  /// There is an event: one of those who wait for one is woken, and the outside loop.
  void events_ready();
  /// No event is left for the outside loop.
  void events_taken();
  /// Something of this run was acknowledged.
  void acknowledged(const Job& job);
  void wake_all();

  bool led() const { return leader_ != nullptr; }
  bool nobody_waits() const { return first_ == nullptr; }
  /// Whether an outside loop was given the descriptor.
  bool outside() const { return epoll_ >= 0; }
  /// Readable while an event or `link_fd` is ready.
  int descriptor(int link_fd);
  /// The link was replaced; -1: there is none.
  void relink(int old_fd, int new_fd);

 private:
  struct Waiter {
    const Job* job;
    std::condition_variable woken;
    bool poked = false;
    Waiter* previous = nullptr;
    Waiter* next = nullptr;
  };

  void poke(Waiter& waiter);
  Woken lead(std::unique_lock<std::mutex>& lock, Waiter& self, const Deadline& deadline, int link_fd);

  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
  Waiter* leader_ = nullptr;
  int poked_ = 0;
  Bell leader_bell_;
  Bell outside_bell_;
  int epoll_ = -1;  ///< over the outside bell and the link, once somebody asked for it
};

}  // namespace bulkhead::child
