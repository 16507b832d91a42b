#include "child/src/watcher.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "child/src/crash_handler.hpp"

namespace bulkhead::child {

Alarm::Alarm() : fd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "timerfd_create");
}

Alarm::~Alarm() { close(fd_); }

void Alarm::set(Clock::time_point at) {
  itimerspec when{};
  if (at != kNever) {
    // steady_clock is CLOCK_MONOTONIC; a moment of zero would switch the timer off.
    const auto since = std::max(at.time_since_epoch(), Clock::duration(1));
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    when.it_value = {static_cast<time_t>(seconds.count()),
                     static_cast<long>(std::chrono::nanoseconds(since - seconds).count())};
  }
  timerfd_settime(fd_, TFD_TIMER_ABSTIME, &when, nullptr);
  due_ = at;
}

void Alarm::consume() {
  std::uint64_t rings = 0;
  if (read(fd_, &rings, sizeof rings) == sizeof rings) due_ = kNever;
}

void Watcher::start() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP}) sigdelset(&all, fault);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Watcher::join() {
  if (thread_.joinable()) thread_.join();
}

void Watcher::run() {
  pthread_setname_np(pthread_self(), "bulkhead");
  crash::guard_thread();
  Watched::Descriptors next;
  while (watched_.watch(next)) {
    // A descriptor of -1 is passed over.
    pollfd ready[] = {{alarm_.fd(), POLLIN, 0}, {next.monitor, POLLIN, 0}, {next.link, POLLIN, 0}};
    poll(ready, 3, -1);
  }
}

}  // namespace bulkhead::child
