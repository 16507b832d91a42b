// End, on SIGTERM or SIGINT (drain -> stop_runs -> end -> close): no job is started any more, but clients may still ask;
// running jobs have the grace period to finish; after it, or at a second signal, they are told to stop and climb the
// ladder; when no outcome is open any more the children are ended, then webhooks on their way get a moment, then the
// connections; the journal writes what it has and is closed last, by the destructor. Each step has a deadline, so the
// end comes whatever a handler or a receiver does. On a platform there may be no next start: jobs that wait are run
// within the grace period too, those an open request delivers among them, and what is left then is answered. SIGQUIT
// skips the waiting: the children are made to write their stacks.

#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <string_view>
#include <utility>

#include "supervisor/own_stack.hpp"
#include "supervisor/parts.hpp"
#include "supervisor/settings.hpp"
#include "supervisor/state_line.hpp"

namespace bulkhead {
namespace {

/// How often an ending supervisor looks whether it may take its next step.
constexpr milliseconds kEndingStep{10};
/// For answers that are being written when everything else has ended, and for webhooks that are being sent.
constexpr milliseconds kLastAnswers{2'000};
constexpr milliseconds kLastWebhooks{5'000};
constexpr milliseconds kLastResults{10'000};

}  // namespace

void Supervisor::Parts::await_signal() {
  signals_.async_wait([this](boost::system::error_code error, int number) {
    if (error) return;
    signalled(number);
    await_signal();
  });
}

void Supervisor::Parts::signalled(int number) {
  if (number == SIGUSR1) return log_.raw(state_line(overview_.snapshot()));
  if (number == SIGQUIT) return stop_with_stacks();
  if (number == SIGUSR2) return upgrade_.ask([](const std::string&) {});
  // A local test has nothing to read again: its terminal is gone.
  if (number == SIGHUP && !test_) return reload();
  // The next supervisor is told, too, and ends in order.
  if (phase_ == Ending::HandingOver) {
    grace_ends_ = clock_.now().mono;
    return;
  }
  if (phase_ == Ending::No)
    drain(number == SIGINT ? "interrupted" : "told to end");
  else if (phase_ == Ending::Delivering)
    close();
  else
    grace_ends_ = clock_.now().mono;
}

/// At once, but not without a word: what was running is reported as crashed, with its stack.
void Supervisor::Parts::stop_with_stacks() {
  if (phase_ == Ending::Delivering) return close();
  if (phase_ == Ending::Closed) return;
  log_.error("told to stop at once (SIGQUIT): the state and the stacks of everything follow");
  log_.raw(state_line(overview_.snapshot()));
  log_.error("the supervisor's stack:" + own_stack());
  const bool stopping = phase_ == Ending::Closing;
  enter(Ending::Closing);
  exit_code_ = 128 + SIGQUIT;
  ending_.cancel();
  if (platform_) platform_->drain();
  dispatcher_.drain();
  pool_->dump();
  if (!stopping) pool_->stop(milliseconds(0), [this] { close(); });
}

void Supervisor::Parts::drain(std::string_view why) {
  if (phase_ != Ending::No) return;
  enter(Ending::Draining);
  grace_ends_ = clock_.now().mono + config_.grace;
  if (platform_)
    platform_->drain();
  else
    dispatcher_.drain();
  std::size_t running = platform_ ? dispatcher_.open() : dispatcher_.unfinished();
  if (test_ && running == 0) dispatcher_.stop_all();  // it waits for its next attempt, and shall be told of
  if (!test_)
    log_.write(observe::Severity::Info,
               std::string(why) + ": " + std::to_string(running) + " running jobs" +
                   (platform_ && platform_->taking() ? ", and what the open request for jobs brings," : "") +
                   " may finish within " + std::to_string(config_.grace.count() / 1000) +
                   " s; another signal cuts that short",
               {.kind = observe::Kind::Ending});
  // Not before: the next supervisor below the same init could not bind what a service manager holds.
  if (server_ && !settings::sockets_are_somebody_s()) service_.keep(server_->sockets(), settings::kKeptName);
  if (!test_) service_.stopping(config_.grace + config_.cancel_grace + 2 * config_.term_grace + kLastResults);
  step_of_ending();
}

/// Unlike a signal it does not come through the init, which would take our end for a failure of the upgrade.
std::string Supervisor::Parts::drain_over_http() {
  if (phase_ == Ending::HandingOver) return "an upgrade is under way: ask again, and the next supervisor will end";
  if (phase_ == Ending::No && upgrade_.view().life == "trial")
    return "an upgrade is on trial, and its end would bring the version before it back: ask again when the trial is "
           "over "
           "(GET /bulkhead/upgrade), or send SIGTERM to the init";
  drain("told to end over HTTP");
  return {};
}

bool Supervisor::Parts::nothing_left() const {
  return platform_ ? !platform_->taking() && dispatcher_.open() == 0 : dispatcher_.unfinished() == 0;
}

void Supervisor::Parts::step_of_ending() {
  if (phase_ == Ending::Closing) return;
  if (nothing_left()) {
    enter(Ending::Closing);
    dispatcher_.drain();
    return pool_->stop(milliseconds(0), [this] { end(exit_code_); });
  }
  if (phase_ == Ending::Draining && clock_.now().mono >= grace_ends_) {
    enter(Ending::Stopping);
    std::size_t left = platform_ ? dispatcher_.open() : dispatcher_.unfinished();
    if (left > 0) log_.warn(std::to_string(left) + " jobs did not finish in time and are stopped");
    dispatcher_.drain();
    if (platform_) {
      platform_->stop_taking();
      dispatcher_.stop_all();
    } else {
      dispatcher_.stop_runs();
    }
  }
  ending_.expires_after(kEndingStep);
  ending_.async_wait([this](boost::system::error_code error) {
    if (!error) step_of_ending();
  });
}

void Supervisor::Parts::end(int code) {
  if (exit_code_ == 128 + SIGQUIT) return close();
  exit_code_ = code;
  if (platform_) return flush_results();
  if (!server_) return io_.stop();
  if (webhooks_->waiting() == 0) return close();
  // The doors stay open meanwhile: a receiver may ask for the job's status before it answers.
  enter(Ending::Delivering);
  webhooks_->drain([this] { close(); });
  ending_.expires_after(kLastWebhooks);
  ending_.async_wait([this](boost::system::error_code error) {
    if (!error) close();
  });
}

void Supervisor::Parts::flush_results() {
  enter(Ending::Delivering);
  ending_.expires_at(std::max(grace_ends_, clock_.now().mono + kLastResults));
  ending_.async_wait([this](boost::system::error_code error) {
    if (!error) close();
  });
  platform_->flush([this] { close(); });
}

void Supervisor::Parts::close() {
  if (phase_ == Ending::Closed) return;
  enter(Ending::Closed);
  std::size_t left = platform_ ? platform_->unsent() : webhooks_ ? webhooks_->waiting() : 0;
  if (left > 0)
    log_.warn(std::to_string(left) + (platform_ ? " results" : " webhooks") +
              (config_.durability == config::Durability::Memory
                   ? " were not delivered and are lost with --durability memory"
                   : " are left for the next start to deliver"));
  baton_.drop();
  if (!server_) return io_.stop();
  // The init has them as long as this process's end takes, and nobody accepts.
  if (!service_.managed())
    for (const http::Held& held : server_->own_sockets()) ::shutdown(held.socket, SHUT_RDWR);
  server_->drain([this] { io_.stop(); });
  ending_.expires_after(kLastAnswers);
  ending_.async_wait([this](boost::system::error_code error) {
    if (!error) io_.stop();
  });
}

}  // namespace bulkhead
