// How a running supervisor becomes another one: by another configuration (SIGHUP), or by another program.
//
// The hand-over ends by _exit, with every child at its work. That the next supervisor finds everything is not arranged here:
// it finds it after any death (docs/decisions/0005). What is done before is for clients, and to do nothing twice:
//
//   first    what is on its way out arrives (webhooks, results, takes of a platform); clients are served as ever
//   then     no job is started; long polls are answered with the state they would see, streams of events are ended; each
//            connection is kept for the next supervisor when nothing is under way on it; new ones wait in the listeners' queues
//   last     the connections are left to the next supervisor, the journal is written, and the process ends
//
// Each half has a deadline. A signal to end cuts them short: the init hands it to the next supervisor.

#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "supervisor/init/channel.hpp"
#include "supervisor/parts.hpp"
#include "supervisor/reload.hpp"
#include "supervisor/settings.hpp"

namespace bulkhead {
namespace {

/// Whose connections they are, for the next supervisor: never to be changed.
constexpr std::string_view kEndpoint = "endpoint";
constexpr std::string_view kMetrics = "metrics";

constexpr milliseconds kStep{5};
/// For what is on its way to others.
constexpr milliseconds kOutgoingTime{5'000};
/// For requests that are arriving or being answered.
constexpr milliseconds kAnswersTime{10'000};

}  // namespace

// ---- another configuration -------------------------------------------------------------------------------------------

/// Where another program was installed, an operator's reload means that one.
void Supervisor::Parts::reload() {
  if (phase_ != Ending::No) return log_.warn("told to read the configuration again (SIGHUP) while ending: ignored");
  service_.reloading();
  if (upgrade_.another_is_installed()) {
    // Of a hand-over the next supervisor tells the service manager.
    return upgrade_.ask([this](const std::string& refusal) {
      if (!refusal.empty() && phase_ == Ending::No) read_configuration_again();
    });
  }
  read_configuration_again();
}

void Supervisor::Parts::read_configuration_again() {
  apply(reread_());
  service_.reloaded();
}

void Supervisor::Parts::apply(std::variant<config::Config, config::Exit> read) {
  using observe::Severity;
  constexpr observe::About kReload{.kind = observe::Kind::Reloaded};
  auto refused = [&](const std::string& why) {
    log_.write(Severity::Error, "the configuration stays as it was: " + why, kReload);
  };
  if (auto* wrong = std::get_if<config::Exit>(&read))
    return refused(wrong->text.substr(0, wrong->text.find('\n')) +
                   "; a supervisor that starts anew, after a crash too, will refuse it and exit");
  Reload plan = plan_reload(config_, std::get<config::Config>(read));
  try {
    if (server_) server_->reconfigure(settings::http(plan.config));
    if (metrics_server_) metrics_server_->reconfigure(settings::http(plan.config));
  } catch (const std::system_error& error) {
    return refused(error.what());
  }
  config_ = std::move(plan.config);
  dispatcher_.set_options(settings::dispatcher(config_));
  log_.set_threshold(static_cast<observe::Severity>(config_.log_level));
  pool_->resize(config_.workers, config_.spares);
  if (platform_) platform_->set_policy(settings::platform_policy(config_));
  if (!plan.needs_restart.empty())
    log_.write(Severity::Warn, "changed, but only a restart takes it up: " + plan.needs_restart, kReload);
  log_.write(Severity::Info,
             "the configuration was read again" + (plan.changed.empty() ? "" : "; changed: " + plan.changed), kReload);
}

/// Until the configuration is read again.
std::optional<int> Supervisor::Parts::scale(int workers) {
  if (phase_ != Ending::No) return std::nullopt;
  const int before = std::exchange(config_.workers, workers);
  pool_->resize(config_.workers, config_.spares);
  log_.write(observe::Severity::Info,
             "told over HTTP to have " + std::to_string(workers) + " workers, not " + std::to_string(before),
             {.kind = observe::Kind::Reloaded});
  overview_.happened();
  return before;
}

// ---- another program -------------------------------------------------------------------------------------------------

std::string Supervisor::Parts::no_upgrade() const {
  if (phase_ != Ending::No) return "the supervisor is ending";
  if (test_) return "this is a local test";
  if (!init_channel()) {
    if (init_above() != 0)
      return "the init above is older than this, and does not know how: restart the service or container once";
    return "there is no init above this supervisor that would start the next one (init = \"never\", or none is "
           "installed): "
           "end it, which lets running jobs finish, and start the new one";
  }
  if (config_.durability == config::Durability::Memory)
    return "with --durability memory the jobs live in this process: end it, which lets running ones finish, and start "
           "the "
           "new one";
  if (const journal::Health health = journal_->health(); !health.writable || health.unsaved > 0)
    return "the journal cannot be written, and what waits for the disk would be lost with this process: " + health.text;
  if (config_.orphan_timeout.count() == 0)
    return "with --orphan-timeout 0 handler processes end with their supervisor: end it, which lets running jobs "
           "finish, "
           "and start the new one";
  return {};
}

void Supervisor::Parts::hand_over() {
  if (phase_ != Ending::No) return;
  enter(Ending::HandingOver);
  grace_ends_ = clock_.now().mono + (platform_ ? std::max(config_.grace, kOutgoingTime) : kOutgoingTime);
  webhooks_idle_ = webhooks_ == nullptr;
  if (webhooks_) webhooks_->drain([this] { webhooks_idle_ = true; });
  if (platform_) platform_->drain();
  step_of_hand_over();
}

void Supervisor::Parts::step_of_hand_over() {
  if (phase_ != Ending::HandingOver) return;
  const bool late = clock_.now().mono >= grace_ends_;
  const bool outgoing = !webhooks_idle_ || (platform_ && (platform_->taking() || platform_->unsent() > 0));
  if (!serving_) {
    if (!outgoing || late) hand_over_servers();
  } else if (*serving_ == 0 || late) {
    leave_to_the_next();
  }
  ending_.expires_after(kStep);
  ending_.async_wait([this](boost::system::error_code error) {
    if (!error) step_of_hand_over();
  });
}

void Supervisor::Parts::hand_over_servers() {
  grace_ends_ = clock_.now().mono + kAnswersTime;
  serving_ = 0;
  dispatcher_.hold();
  for (http::Server* server : {server_.get(), metrics_server_.get()}) {
    if (server == nullptr) continue;
    ++*serving_;
    server->hand_over([this] { --*serving_; });
  }
  if (queue_) queue_->come_again();
}

void Supervisor::Parts::leave_to_the_next() {
  if (*serving_ > 0)
    log_.warn("requests that had not arrived in time, or were not answered, are cut off by the upgrade");
  std::size_t lost = 0;
  if (server_) lost += baton_.pass(kEndpoint, server_->handed_over());
  if (metrics_server_) lost += baton_.pass(kMetrics, metrics_server_->handed_over());
  if (lost > 0) log_.warn(std::to_string(lost) + " idle connections could not be handed over and are closed");
  journal_.reset();  // writes what is queued
  log_.flush();
  _exit(init::kHandedOver);
}

/// In the words of a probe (kListening).
std::string Supervisor::Parts::listening() const {
  std::string lines;
  auto add = [&](std::string_view whose, const http::Server* server) {
    if (server == nullptr) return;
    for (const std::string& address : server->addresses()) lines.append(whose).append(" ").append(address).append("\n");
  };
  add(kEndpoint, server_.get());
  add(kMetrics, metrics_server_.get());
  return lines;
}

/// Of addresses that are not asked for any more: they would be in the way of those that are, as 127.0.0.1 is of 0.0.0.0.
void Supervisor::Parts::let_go_of_other_sockets() {
  std::vector<std::string> wanted = config_.listen;
  wanted.insert(wanted.end(), config_.metrics_listen.begin(), config_.metrics_listen.end());
  std::vector<http::Held> kept = of_addresses(wanted);
  const std::vector<http::Held> others = std::exchange(held_, std::move(kept));
  if (others.empty()) return;
  for (const http::Held& held : others) ::close(held.socket);
  baton_.keep(held_);
}

/// For the next one, whatever becomes of this.
void Supervisor::Parts::keep_sockets() {
  for (const http::Held& held : std::exchange(held_, {})) ::close(held.socket);
  std::vector<http::Held> own;
  for (const http::Server* server : {server_.get(), metrics_server_.get()})
    if (server != nullptr)
      for (http::Held& held : server->own_sockets()) own.push_back(std::move(held));
  if (init_channel() && !baton_.keep(own))
    log_.warn("the init cannot keep the sockets: clients are refused while one supervisor follows another");
}

std::vector<http::Held> Supervisor::Parts::of_addresses(const std::vector<std::string>& addresses) {
  const auto others = std::stable_partition(held_.begin(), held_.end(), [&](const http::Held& held) {
    return std::find(addresses.begin(), addresses.end(), held.address) == addresses.end();
  });
  std::vector<http::Held> found(others, held_.end());
  held_.erase(others, held_.end());
  return found;
}

void Supervisor::Parts::take_connections() {
  for (const auto& [whose, connection] : baton_.passed()) {
    http::Server* server = whose == kEndpoint ? server_.get() : whose == kMetrics ? metrics_server_.get() : nullptr;
    if (server != nullptr)
      server->take_over(connection);
    else
      ::close(connection);
  }
}

}  // namespace bulkhead
