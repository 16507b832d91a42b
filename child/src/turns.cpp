// Kept true: as long as anybody waits, there is a leader or somebody who was poked and will look again. A poked waiter
// either becomes the leader, waits on because another leads, or leaves and passes on.

#include "child/src/turns.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <system_error>

namespace bulkhead::child {
namespace {

int checked(int fd, const char* operation) {
  if (fd < 0) throw std::system_error(errno, std::generic_category(), operation);
  return fd;
}

timespec remaining(const Deadline& deadline) {
  const auto left = std::max(deadline.at() - Clock::now(), Clock::duration::zero());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  return {static_cast<time_t>(seconds.count()), static_cast<long>(std::chrono::nanoseconds(left - seconds).count())};
}

}  // namespace

Bell::Bell() : fd_(checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")) {}

Bell::~Bell() { close(fd_); }

void Bell::ring() {
  if (ringing_) return;
  const std::uint64_t one = 1;
  ringing_ = write(fd_, &one, sizeof one) == sizeof one;
}

void Bell::hush() {
  if (!ringing_) return;
  std::uint64_t count = 0;
  ringing_ = read(fd_, &count, sizeof count) != sizeof count;
}

Turns::~Turns() {
  if (epoll_ >= 0) close(epoll_);
}

Turns::Woken Turns::wait(std::unique_lock<std::mutex>& lock, const Job* job, const Deadline& deadline, int link_fd) {
  Waiter self{job, {}};
  self.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &self;
  last_ = &self;

  Woken woken = Woken::Maybe;
  if (leader_ == nullptr) {
    woken = lead(lock, self, deadline, link_fd);
  } else {
    const auto look = [&] { return self.poked || leader_ == nullptr; };
    if (deadline.never()) {
      self.woken.wait(lock, look);
    } else {
      self.woken.wait_until(lock, deadline.at(), look);
    }
  }

  if (self.poked) --poked_;
  (self.previous != nullptr ? self.previous->next : first_) = self.next;
  (self.next != nullptr ? self.next->previous : last_) = self.previous;
  return woken;
}

Turns::Woken Turns::lead(std::unique_lock<std::mutex>& lock, Waiter& self, const Deadline& deadline, int link_fd) {
  leader_ = &self;
  lock.unlock();
  pollfd ready[2] = {{leader_bell_.fd(), POLLIN, 0}, {link_fd, POLLIN, 0}};
  timespec timeout{};
  if (!deadline.never()) timeout = remaining(deadline);
  const int count = ppoll(ready, link_fd >= 0 ? 2 : 1, deadline.never() ? nullptr : &timeout, nullptr);
  const bool interrupted = count < 0 && errno == EINTR;
  lock.lock();
  leader_ = nullptr;
  leader_bell_.hush();
  return interrupted ? Woken::BySignal : Woken::Maybe;
}

void Turns::pass_on(bool events) {
  if (events) {
    events_ready();
  } else if (first_ != nullptr && leader_ == nullptr && poked_ == 0) {
    poke(*first_);
  }
}

void Turns::events_ready() {
  if (outside()) outside_bell_.ring();
  for (Waiter* waiter = first_; waiter != nullptr; waiter = waiter->next) {
    if (waiter->job == nullptr && waiter != leader_ && !waiter->poked) return poke(*waiter);
  }
  if (leader_ != nullptr && leader_->job == nullptr) return leader_bell_.ring();
  if (leader_ == nullptr && poked_ == 0 && first_ != nullptr) poke(*first_);
}

void Turns::events_taken() { outside_bell_.hush(); }

void Turns::acknowledged(const Job& job) {
  for (Waiter* waiter = first_; waiter != nullptr; waiter = waiter->next) {
    if (waiter->job == &job) poke(*waiter);
  }
}

void Turns::wake_all() {
  if (outside()) outside_bell_.ring();
  for (Waiter* waiter = first_; waiter != nullptr; waiter = waiter->next) poke(*waiter);
}

void Turns::poke(Waiter& waiter) {
  if (&waiter == leader_) return leader_bell_.ring();
  if (waiter.poked) return;
  waiter.poked = true;
  ++poked_;
  waiter.woken.notify_one();
}

int Turns::descriptor(int link_fd) {
  if (epoll_ >= 0) return epoll_;
  epoll_ = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  epoll_event bell{};
  bell.events = EPOLLIN;
  bell.data.fd = outside_bell_.fd();
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, outside_bell_.fd(), &bell) != 0) checked(-1, "epoll_ctl");
  relink(-1, link_fd);
  return epoll_;
}

void Turns::relink(int old_fd, int new_fd) {
  if (epoll_ >= 0) {
    if (old_fd >= 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, old_fd, nullptr);
    epoll_event link{};
    link.events = EPOLLIN;
    link.data.fd = new_fd;
    if (new_fd >= 0 && epoll_ctl(epoll_, EPOLL_CTL_ADD, new_fd, &link) != 0) checked(-1, "epoll_ctl");
  }
  if (leader_ != nullptr) leader_bell_.ring();
}

}  // namespace bulkhead::child
