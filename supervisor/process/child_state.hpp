// What a Child knows, on the heap: handlers hold it weakly, so that a Child can be moved and can go at any time.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>

#include "supervisor/process/launch.hpp"

namespace bulkhead::process {

struct Child::State : std::enable_shared_from_this<Child::State> {
  State(asio::any_io_executor on, pid_t number);

  void async_wait(ExitHandler on_exit);
  const std::optional<ExitStatus>& poll();
  bool signal(int number);
  bool signal_group(int number);
  void reap();
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

  std::optional<asio::posix::stream_descriptor> pidfd_;  ///< empty where the system has none to give
  ExitHandler handler_;
  std::thread waiter_;
  /// Set when the waiter is left behind in a wait that may never end: it must not touch the executor then.
  std::shared_ptr<std::atomic<bool>> abandoned_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace bulkhead::process
