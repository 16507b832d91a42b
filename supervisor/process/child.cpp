// Child: the verdict is taken with WNOWAIT, which leaves the zombie, and reap() takes the zombie. waitid is called for
// this one pid only, so that nobody else's children are touched; should somebody else have taken ours, the status is
// Unknown, and the pid is treated as a stranger's from then on.
//
// The end of the child is seen through its pidfd. Without pidfd_open (old kernel, strict filter, no descriptor left) a
// thread waits in waitid instead. It is joined before the zombie is given back, so the number it waits for is never a
// stranger's.
//
// A process with another parent is signalled through its pidfd alone, and its verdict is asked for when that says it has
// ended. Where the parent is gone, newer kernels still tell by the pidfd how it ended.

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <utility>

#include "supervisor/process/child_state.hpp"

namespace bulkhead::process {
namespace {

std::chrono::microseconds to_duration(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

long own_peak_kib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// The system call, because glibc's waitid has no rusage.
int wait_for(pid_t pid, int options, siginfo_t& info, rusage* usage) {
  for (;;) {
    info.si_pid = 0;
    if (::syscall(SYS_waitid, P_PID, pid, &info, options, usage) == 0) return 0;
    if (errno != EINTR) return errno;
  }
}

// <linux/pidfd.h> of Linux 6.15, for whoever is older.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroup;
  std::uint32_t ids[11];
  std::int32_t exit_code;
};
constexpr unsigned long kPidfdGetInfo = _IOWR(0xFF, 11, PidfdInfo);
constexpr std::uint64_t kPidfdInfoExit = 1 << 3;
/// For init to reap it, before which the kernel does not tell: so many looks, so far apart.
constexpr int kLooks = 50;
constexpr std::chrono::milliseconds kBetweenLooks{10};

/// How a process ended that somebody else reaps; Unknown if the kernel does not tell, empty if not yet.
std::optional<ExitStatus> status_from(int pidfd) {
  ExitStatus verdict;
  PidfdInfo info{};
  info.mask = kPidfdInfoExit;
  if (::ioctl(pidfd, kPidfdGetInfo, &info) < 0) return verdict;
  if ((info.mask & kPidfdInfoExit) == 0) return std::nullopt;
  if (WIFSIGNALED(info.exit_code)) {
    verdict.how = ExitStatus::How::Killed;
    verdict.signal = WTERMSIG(info.exit_code);
    verdict.core_dumped = WCOREDUMP(info.exit_code);
  } else {
    verdict.how = ExitStatus::How::Exited;
    verdict.code = WEXITSTATUS(info.exit_code);
  }
  return verdict;
}

}  // namespace

Child::State::State(asio::any_io_executor on, pid_t number)
    : executor(std::move(on)), pid(number), launched(std::chrono::steady_clock::now()), floor_kib(own_peak_kib()) {
  int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return;
  boost::system::error_code error;
  pidfd_.emplace(executor);
  if (pidfd_->assign(fd, error)) {
    ::close(fd);
    pidfd_.reset();
  }
}

Child::State::State(asio::any_io_executor on, pid_t number, Descriptor pidfd, std::shared_ptr<OtherParent> other)
    : executor(std::move(on)),
      pid(number),
      launched(std::chrono::steady_clock::now()),
      floor_kib(0),
      pidfd_(std::in_place, executor, pidfd.get()),
      parent_(std::move(other)) {
  pidfd.release();
}

void Child::State::async_wait(ExitHandler on_exit) {
  assert(!handler_ && !reaped);
  handler_ = std::move(on_exit);
  if (pidfd_)
    watch_pidfd();
  else
    watch_by_thread();
}

void Child::State::watch_pidfd() {
  pidfd_->async_wait(asio::posix::descriptor_base::wait_read,
                     [weak = weak_from_this()](const boost::system::error_code& error) {
                       if (error) return;
                       if (auto self = weak.lock()) self->on_ended();
                     });
}

void Child::State::watch_by_thread() {
  waiter_ = std::thread([weak = weak_from_this(), executor = executor, pid = pid, abandoned = abandoned_] {
    siginfo_t info{};
    wait_for(pid, WEXITED | WNOWAIT, info, nullptr);
    if (abandoned->load()) return;
    asio::post(executor, [weak] {
      if (auto self = weak.lock()) self->on_ended();
    });
  });
}

void Child::State::on_ended() {
  if (!handler_) return;
  if (parent_)
    return parent_->ask(pid, [weak = weak_from_this()](const ExitStatus& verdict) {
      if (auto self = weak.lock()) self->on_verdict(verdict, kLooks);
    });
  if (!poll()) return watch_pidfd();  // a thread's word is final, so this was the pidfd's
  // The handler may let go of everything but what stands here.
  ExitHandler handler = std::exchange(handler_, nullptr);
  ExitStatus verdict = *status;
  handler(verdict);
}

/// Of the other parent.
void Child::State::on_verdict(const ExitStatus& verdict, int looks) {
  if (!handler_) return;
  status = verdict.how == ExitStatus::How::Unknown ? status_from(pidfd_->native_handle()) : verdict;
  if (!status && looks > 0) {
    look_again_.emplace(executor, kBetweenLooks);
    return look_again_->async_wait([weak = weak_from_this(), verdict, looks](const boost::system::error_code& error) {
      auto self = weak.lock();
      if (!error && self) self->on_verdict(verdict, looks - 1);
    });
  }
  if (!status) status = verdict;
  ExitHandler handler = std::exchange(handler_, nullptr);
  handler(ExitStatus(*status));
}

bool Child::State::has_ended() {
  if (!parent_ || status || reaped) return poll().has_value();
  pollfd look{pidfd_->native_handle(), POLLIN, 0};
  return ::poll(&look, 1, 0) > 0;
}

const std::optional<ExitStatus>& Child::State::poll() {
  if (status || parent_) return status;
  siginfo_t info{};
  rusage usage{};
  if (wait_for(pid, WEXITED | WNOHANG | WNOWAIT, info, &usage) != 0) {
    status.emplace();
    reaped = true;
    return status;
  }
  if (info.si_pid == 0) return status;
  ExitStatus& verdict = status.emplace();
  if (info.si_code == CLD_EXITED) {
    verdict.how = ExitStatus::How::Exited;
    verdict.code = info.si_status;
  } else {
    verdict.how = ExitStatus::How::Killed;
    verdict.signal = info.si_status;
    verdict.core_dumped = info.si_code == CLD_DUMPED;
  }
  verdict.peak_rss_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  verdict.peak_rss_is_bound = usage.ru_maxrss <= floor_kib;
  verdict.user_time = to_duration(usage.ru_utime);
  verdict.system_time = to_duration(usage.ru_stime);
  return status;
}

bool Child::State::signal(int number) {
  if (reaped || poll() || (parent_ && has_ended())) return false;
  if (pidfd_ && ::syscall(SYS_pidfd_send_signal, pidfd_->native_handle(), number, nullptr, 0) == 0) return true;
  if (parent_) return false;
  // Not reaped by us, and by nobody else: the number is the child's.
  return ::kill(pid, number) == 0;
}

bool Child::State::signal_group(int number) {
  poll();
  if (!keeps_numbers()) return false;
  assert(pid > 1);
  return ::kill(-pid, number) == 0;
}

void Child::State::reap() {
  if (reaped) return;
  [[maybe_unused]] bool ended = poll().has_value();
  assert(ended);
  if (reaped) return;
  if (waiter_.joinable()) waiter_.join();
  siginfo_t info{};
  if (parent_)
    parent_->reap(pid);
  else
    wait_for(pid, WEXITED, info, nullptr);
  reaped = true;
  pidfd_.reset();
}

void Child::State::end() {
  handler_ = nullptr;
  if (parent_) signal(SIGKILL);
  if (!reaped) signal_group(SIGKILL);
  // A killed process is gone within a millisecond or so, unless it waits in the kernel.
  auto limit = std::chrono::steady_clock::now() + Child::kLastWait;
  for (long pause = 50'000; !has_ended() && !reaped && std::chrono::steady_clock::now() < limit;
       pause = std::min(pause * 2, 5'000'000L)) {
    timespec time{0, pause};
    ::nanosleep(&time, nullptr);
  }
  if (parent_ && !reaped) {
    parent_->reap(pid);  // should it live on, it is kept until then
  } else if (poll()) {
    reap();
  } else if (waiter_.joinable()) {
    abandoned_->store(true);
    waiter_.detach();
  }
  if (waiter_.joinable()) waiter_.join();
  pidfd_.reset();
}

Child::Child(std::shared_ptr<State> state) : state_(std::move(state)) {}
Child::Child(Child&&) noexcept = default;
Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    if (state_) state_->end();
    state_ = std::move(other.state_);
  }
  return *this;
}
Child::~Child() {
  if (state_) state_->end();
}

pid_t Child::pid() const { return state_->pid; }
std::chrono::steady_clock::time_point Child::launched() const { return state_->launched; }
void Child::async_wait(ExitHandler handler) { state_->async_wait(std::move(handler)); }
const std::optional<ExitStatus>& Child::poll() { return state_->poll(); }
bool Child::has_ended() { return state_->has_ended(); }
bool Child::signal(int number) { return state_->signal(number); }
bool Child::signal_group(int number) { return state_->signal_group(number); }
void Child::reap() { state_->reap(); }
bool Child::reaped() const { return state_->reaped; }

}  // namespace bulkhead::process
