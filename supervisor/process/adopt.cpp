#include "supervisor/process/adopt.hpp"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <fstream>
#include <utility>

#include "supervisor/process/child_state.hpp"
#include "supervisor/process/process_table.hpp"

namespace bulkhead::process {
namespace {

using std::chrono::steady_clock;

/// The init reaps at once; it may have to wait for a processor first.
constexpr std::chrono::milliseconds kReportTime{1'000};
constexpr std::chrono::milliseconds kReportPause{2};

ExitStatus verdict_of(int status) {
  ExitStatus verdict;
  if (WIFSIGNALED(status)) {
    verdict.how = ExitStatus::How::Killed;
    verdict.signal = WTERMSIG(status);
    verdict.core_dumped = WCOREDUMP(status);
  } else {
    verdict.how = ExitStatus::How::Exited;
    verdict.code = WEXITSTATUS(status);
  }
  return verdict;
}

/// The init, as the parent of one process.
class Reaper final : public OtherParent, public std::enable_shared_from_this<Reaper> {
 public:
  Reaper(asio::any_io_executor executor, Identity process, std::shared_ptr<ReapReports> reports)
      : process_(std::move(process)), reports_(std::move(reports)), timer_(std::move(executor)) {}

  void ask(pid_t, std::function<void(const ExitStatus&)> answer) override {
    answer_ = std::move(answer);
    deadline_ =
        steady_clock::now() + (reports_ && reports_->available() ? kReportTime : steady_clock::duration::zero());
    look_after(std::chrono::milliseconds(0));
  }
  void reap(pid_t) override {}
  bool keeps_zombies() const override { return false; }

 private:
  void look_after(std::chrono::milliseconds pause) {
    timer_.expires_after(pause);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->look();
    });
  }
  void look() {
    const auto status = reports_ ? reports_->status_of(process_) : std::nullopt;
    if (!status && steady_clock::now() < deadline_) return look_after(kReportPause);
    std::exchange(answer_, nullptr)(status ? verdict_of(*status) : ExitStatus());
  }

  const Identity process_;
  const std::shared_ptr<ReapReports> reports_;
  asio::steady_timer timer_;
  std::function<void(const ExitStatus&)> answer_;
  steady_clock::time_point deadline_;
};

}  // namespace

std::string boot_id() {
  std::string id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), id);
  return id;
}

std::optional<Identity> identity_of(pid_t pid) {
  const auto facts = read_facts(pid);
  if (!facts) return std::nullopt;
  return Identity{pid, facts->start_time, boot_id()};
}

void ReapReports::read() {
  Record record;
  while (pipe_ && ::read(pipe_.get(), &record, sizeof record) == sizeof record) {
    if (records_.size() == kKept) records_.pop_front();
    records_.push_back(record);
  }
}

/// The number cannot be given to another process before this one was reaped: so of what was reaped after its start, the
/// first is it.
std::optional<int> ReapReports::status_of(const Identity& process) {
  read();
  const auto ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  const auto since = static_cast<std::int64_t>(process.start_time * (1'000'000'000 / ticks));
  const auto found = std::find_if(records_.begin(), records_.end(), [&](const Record& record) {
    return record.pid == process.pid && record.at_ns >= since;
  });
  if (found == records_.end()) return std::nullopt;
  return found->status;
}

std::optional<Adopted> adopt(asio::any_io_executor executor, const Identity& process,
                             std::shared_ptr<ReapReports> reports) {
  if (process.pid <= 1 || process.boot_id.empty() || process.boot_id != boot_id()) return std::nullopt;
  Descriptor descriptor(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!descriptor && errno != ESRCH) return std::nullopt;
  const bool gone = !descriptor || identity_of(process.pid) != process;
  if (gone)
    descriptor = Descriptor(::eventfd(1, EFD_CLOEXEC));  // readable for ever, as the descriptor of a dead one would be
  if (!descriptor) return std::nullopt;
  auto parent = std::make_shared<Reaper>(executor, process, std::move(reports));
  Child child(
      std::make_shared<Child::State>(std::move(executor), process.pid, std::move(descriptor), std::move(parent)));
  return Adopted{std::move(child), gone};
}

}  // namespace bulkhead::process
