#include "supervisor/service_report.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

namespace bulkhead {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kUntilReady{50};
constexpr milliseconds kPeriod{1'000};
/// While it ends: asked for anew so often, for so long from then. A manager takes the last word.
constexpr milliseconds kExtendEvery{5'000};
constexpr milliseconds kExtendBy{30'000};

std::string monotonic_usec() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::to_string(now.tv_sec * 1'000'000LL + now.tv_nsec / 1'000);
}

}  // namespace

ServiceReport::ServiceReport(boost::asio::any_io_executor executor, std::function<View()> look)
    : look_(std::move(look)), timer_(std::move(executor)) {}

void ServiceReport::start() {
  if (manager_.listens()) tick();
}

void ServiceReport::took_over() {
  if (!manager_.listens() || !look_().ever_ready) return;
  // A reload that was asked for during the hand-over is over, too: the configuration was read since. systemd waits for both.
  manager_.tell("RELOADING=1\nMONOTONIC_USEC=" + monotonic_usec());
  ready_ = manager_.tell("READY=1");
}

void ServiceReport::reloading() {
  reloading_ = manager_.listens() && (ready_ || look_().ever_ready);
  if (reloading_) manager_.tell("RELOADING=1\nMONOTONIC_USEC=" + monotonic_usec());
}

void ServiceReport::reloaded() {
  if (std::exchange(reloading_, false)) ready_ = manager_.tell("READY=1");
}

void ServiceReport::stopping(milliseconds time) {
  if (std::exchange(stopping_, true) || !manager_.listens()) return;
  end_ = steady_clock::now() + time;
  stopping_told_ = manager_.tell("STOPPING=1");
  tick();
}

std::string ServiceReport::status(const View& view) const {
  return (view.phase.empty() ? "" : view.phase + ": ") + std::to_string(view.ready) + " of " +
         std::to_string(view.wanted) + " handler processes ready, " + std::to_string(view.running) + " jobs running, " +
         std::to_string(view.waiting) + " waiting";
}

void ServiceReport::tick() {
  const View view = look_();
  std::string text;
  const bool ready = ready_ || (!stopping_ && view.ready > 0);
  if (ready && !ready_) text += "READY=1\n";
  if (stopping_ && !stopping_told_) text += "STOPPING=1\n";
  std::string shown = status(view);
  if (shown != told_) text += "STATUS=" + shown + "\n";
  if (manager_.watchdog()) text += "WATCHDOG=1\n";
  const auto now = steady_clock::now();
  const bool extend = stopping_ && now < end_ && now - extended_ >= kExtendEvery;
  if (extend) text += "EXTEND_TIMEOUT_USEC=" + std::to_string(std::chrono::microseconds(kExtendBy).count()) + "\n";
  if (text.empty() || manager_.try_to_tell(text)) {
    ready_ = ready;
    stopping_told_ = stopping_;
    told_ = std::move(shown);
    if (extend) extended_ = now;
  }

  milliseconds wait = ready_ || stopping_ ? kPeriod : kUntilReady;
  if (auto watchdog = manager_.watchdog())
    wait = std::clamp(std::chrono::duration_cast<milliseconds>(*watchdog / 2), milliseconds(1), wait);
  timer_.expires_after(wait);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) tick();
  });
}

}  // namespace bulkhead
