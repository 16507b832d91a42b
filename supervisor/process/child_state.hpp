// What a Child knows, on the heap: handlers hold it weakly, so that a Child can be moved and can go at any time.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "supervisor/process/descriptor.hpp"
#include "supervisor/process/launch.hpp"

namespace bulkhead::process {

/// The parent of a process that is not our child, which waits for it in our stead and keeps its zombie until it is told.
class OtherParent {
 public:
  virtual ~OtherParent() = default;
  /// The verdict on a process that has ended; Unknown where there is nobody left to say. `answer` is called once, from
  /// the executor, and never from within.
  virtual void ask(pid_t pid, std::function<void(const ExitStatus&)> answer) = 0;
  /// Its zombie may go.
  virtual void reap(pid_t pid) = 0;
  /// False once it is gone: zombies are not kept, so that a number may be a stranger's.
  virtual bool keeps_zombies() const = 0;
};

struct Child::State : std::enable_shared_from_this<Child::State> {
  State(asio::any_io_executor on, pid_t number);
  /// Of a process that `other` is the parent of, named by a descriptor of its own.
  State(asio::any_io_executor on, pid_t number, Descriptor pidfd, std::shared_ptr<OtherParent> other);

  void async_wait(ExitHandler on_exit);
  const std::optional<ExitStatus>& poll();
  bool has_ended();
  bool signal(int number);
  bool signal_group(int number);
  void reap();
  /// True as long as the numbers of process, group and session cannot be a stranger's.
  bool keeps_numbers() const { return !reaped && (!parent_ || parent_->keeps_zombies()); }
  /// What ~Child does.
  void end();

  asio::any_io_executor executor;
  const pid_t pid;
  const std::chrono::steady_clock::time_point launched;
  /// The supervisor's own peak when the child was made from it, in KiB: below it the child's peak is not known.
  const long floor_kib;
  std::optional<ExitStatus> status;
  bool reaped = false;

 private:
  void watch_pidfd();
  void watch_by_thread();
  void on_ended();
  void on_verdict(const ExitStatus& verdict, int looks);

  std::optional<asio::posix::stream_descriptor> pidfd_;  ///< empty where the system has none to give
  std::shared_ptr<OtherParent> parent_;                  ///< empty: it is our child
  std::optional<asio::steady_timer> look_again_;
  ExitHandler handler_;
  std::thread waiter_;
  /// Set when the waiter is left behind in a wait that may never end: it must not touch the executor then.
  std::shared_ptr<std::atomic<bool>> abandoned_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace bulkhead::process
