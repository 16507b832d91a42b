// The whole program on one page.
//
// Start: the state directory is locked and the journal opened (constructor); then, in run(), what the journal knew goes
// back to the core, the children are started, and last the doors are opened.

#include "supervisor/supervisor.hpp"

#include <boost/asio/post.hpp>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "supervisor/fingerprint.hpp"
#include "supervisor/notices.hpp"
#include "supervisor/own_stack.hpp"
#include "supervisor/parts.hpp"
#include "supervisor/process/launch.hpp"
#include "supervisor/settings.hpp"

namespace bulkhead {
namespace {

/// For people, to copy.
std::string name_of(const std::string& address) { return address.starts_with("unix:") ? address : "http://" + address; }

}  // namespace

Supervisor::Supervisor(config::Config config, Reread reread, JobsFrom from, observe::Log& log)
    : parts_(std::make_unique<Parts>(std::move(config), std::move(reread), std::move(from), log)) {}
Supervisor::~Supervisor() = default;
int Supervisor::run() { return parts_->run(); }

Supervisor::Parts::Parts(config::Config config, Reread reread, JobsFrom from, observe::Log& log)
    : config_(std::move(config)),
      reread_(std::move(reread)),
      log_(log),
      from_(std::move(from)),
      journal_(journal::open(settings::journal(config_), [this] { asio::post(io_, [this] { poll_journal(); }); })),
      dispatcher_(settings::dispatcher(config_), clock_, *journal_, journal_->next_run(), [this] { return random(); }) {
  if (config_.durability == config::Durability::Memory) memory_lock_.emplace(config_.state_dir);
  dispatcher_.set_alarm([this] { rearm(); });
  dispatcher_.set_log([this](const LogLine& line, const Job* job, int attempt) {
    if (!test_) log_.child(line, job, attempt);
  });
  dispatcher_.set_pool_health(
      [this](const std::string& reason, bool never_ready) { pool_health(reason, never_ready); });
}

// ---- start ---------------------------------------------------------------------------------------------------------

int Supervisor::Parts::run() {
  write_stack_at_crash();
  for (int signal : {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2}) signals_.add(signal);
  await_signal();
  open_for_signals();
  pool_ = std::make_unique<pool::Pool>(io_.get_executor(), settings::pool(config_, journal_->next_run()));
  pool_->set_ends([this](const ChildEnd& end) { overview_.child_ended(end); });
  dispatcher_.set_workers(*pool_);
  recover();
  for (const std::string& missing : process::missing_mechanisms()) log_.warn(missing);
  pool_->start(dispatcher_);
  if (!std::holds_alternative<TestJob>(from_)) overview_.start();
  held_ = baton_.listeners();
  let_go_of_other_sockets();
  show_metrics();
  start_source();
  keep_sockets();
  take_connections();
  upgrade_.serving();
  if (!test_) service_.start();
  if (init_channel() && init_channel()->life != "first") service_.took_over();
  io_.run();
  return exit_code_;
}

void Supervisor::Parts::recover() {
  if (std::holds_alternative<TestJob>(from_)) return;
  if (auto* settings = std::get_if<RunPodSettings>(&from_))
    make_platform(std::move(*settings));
  else
    make_queue();
  dispatcher_.set_fingerprints(fingerprint, [command = config_.command] { return build_of(command); });
  dispatcher_.recover_suspects(journal_->suspects());
  auto known = journal_->recover();
  if (!known.empty()) log_.info(std::to_string(known.size()) + " jobs taken up from the journal");
  for (const Recovered& job : known) queue_ ? queue_->recovered(job) : platform_->recovered(job);
  dispatcher_.recover(
      std::move(known),
      [this](RunNumber run, std::string_view child) { return pool_->predecessor().never_entered(run, child); },
      [this](const Recovered& job) { return pool_->claim(job, clock_.now()); });
}

void Supervisor::Parts::make_queue() {
  queue_ = std::make_unique<EmbeddedQueue>(settings::queue(config_), clock_, job_log_, *journal_,
                                           [this] { return health(); });
  queue_->set_alarm([this] { rearm(); });
  job_log_.set_source(*queue_);
  dispatcher_.set_source(job_log_);
  auto webhooks = settings::webhooks(config_);
  outgoing_ = std::make_unique<HttpClient>(io_.get_executor(), static_cast<std::size_t>(webhooks.limits.at_once));
  webhooks_ =
      std::make_unique<Webhooks>(std::move(webhooks), clock_, *journal_, *outgoing_, [this] { return random(); });
  webhooks_->set_alarm([this] { rearm(); });
  webhooks_->set_notice([this](const WebhookNotice& notice) { tell(log_, notice); });
  queue_->set_webhooks(*webhooks_);
}

void Supervisor::Parts::make_platform(RunPodSettings settings) {
  for (const std::string& remark : settings.remarks) log_.warn(remark);
  platform_ = std::make_unique<RunPod>(io_.get_executor(), settings::runpod(config_, std::move(settings)), clock_,
                                       job_log_, *journal_,
                                       RunPod::Asks{.room = [this] { return dispatcher_.room(); },
                                                    .job_in_progress =
                                                        [this] {
                                                          auto counts = dispatcher_.counts();
                                                          return counts.running + counts.queued > 0;
                                                        },
                                                    .random = [this] { return random(); },
                                                    .notices = [this](const auto& told) { tell(log_, told); }});
  job_log_.set_source(*platform_);
  dispatcher_.set_source(job_log_);
}

void Supervisor::Parts::start_source() {
  if (queue_) {
    http::Options options = http_options();
    options.held = of_addresses(options.listen);
    server_ = std::make_unique<http::Server>(io_, *queue_, clock_, std::move(options));
    for (const std::string& address : server_->listen()) log_.info("listening on " + name_of(address));
    return let_go_of_sockets();
  }
  if (platform_) {
    log_.info("taking jobs from " + platform_->host() + " as worker " + platform_->platform().worker_id);
    if (auto unfit = judge_fitness(platform_->platform().fitness)) {
      log_.error("this machine is not fit to take jobs: " + unfit->reason);
      return platform_->unhealthy(unfit->check, unfit->reason, [this] { give_up(config::kBroken); });
    }
    return platform_->start();
  }
  test_ = std::make_unique<TestInput>(std::get<TestJob>(std::move(from_)), stdout, [this](int code) {
    exit_code_ = code;
    drain("the job is over");
  });
  dispatcher_.set_source(*test_);
  test_->submit_to(dispatcher_);
}

http::Options Supervisor::Parts::http_options() {
  http::Options options = settings::http(config_);
  options.onlooker = &overview_;
  options.upgrades = &upgrade_;
  options.unreadable = [this] { return std::string(journal_->unreadable()); };
  options.steering = {.drain = [this] { return drain_over_http(); },
                      .scale = [this](int workers) { return scale(workers); }};
  return options;
}

/// Apart from the endpoint, or where there is none.
void Supervisor::Parts::show_metrics() {
  if (config_.metrics_listen.empty()) return;
  http::Options options = http_options();
  options.listen = config_.metrics_listen;
  options.inherited.clear();
  options.watching_only = true;
  options.upgrades = nullptr;
  options.held = of_addresses(options.listen);
  metrics_server_ = std::make_unique<http::Server>(io_, no_endpoint_, clock_, std::move(options));
  for (const std::string& address : metrics_server_->listen()) log_.info("metrics on " + name_of(address));
}

/// Handed over, and of no address we were told: who connects there would wait for ever.
void Supervisor::Parts::let_go_of_sockets() {
  const auto unused = server_->unused();
  if (unused.empty()) return;
  const bool ours = !settings::sockets_are_somebody_s();
  for (const auto& [socket, name] : unused) {
    log_.warn(name + " was handed over, and `listen` does not name it: " +
              (ours ? "connections are refused from now on"
                    : "who connects waits in vain; leave `listen` out, or stop the unit that holds the socket"));
    if (ours) http::Server::close_for_good(socket);
  }
  if (ours) service_.keep(server_->inherited_in_use(), settings::kKeptName);
}

// ---- time ----------------------------------------------------------------------------------------------------------

void Supervisor::Parts::rearm() {
  auto earliest = dispatcher_.wake_at();
  auto consider = [&](std::optional<SteadyTime> other) {
    if (other && (!earliest || *other < *earliest)) earliest = other;
  };
  if (queue_) consider(queue_->wake_at());
  if (webhooks_) consider(webhooks_->wake_at());
  if (!earliest || *earliest >= alarm_at_) return;
  alarm_at_ = *earliest;
  alarm_.expires_at(alarm_at_);
  alarm_.async_wait([this](boost::system::error_code error) {
    if (!error) tick();
  });
}

void Supervisor::Parts::tick() {
  alarm_at_ = SteadyTime::max();
  dispatcher_.tick();
  if (queue_) queue_->tick();
  if (webhooks_) webhooks_->tick();
  rearm();
}

// ---- health --------------------------------------------------------------------------------------------------------

void Supervisor::Parts::pool_health(const std::string& reason, bool never_ready) {
  constexpr observe::About kHealth{.kind = observe::Kind::Unhealthy};
  if (reason.empty()) return log_.write(observe::Severity::Info, "children become ready again", kHealth);
  log_.write(observe::Severity::Error, reason, kHealth);
  auto told = [this, never_ready] {
    if (never_ready) give_up(config::kNeverReady);
  };
  if (platform_) return platform_->unhealthy("handler", reason, told);
  told();
}

/// There is nothing to run jobs with: the end, without any grace.
void Supervisor::Parts::give_up(int code) {
  if (phase_ != Ending::No) return;
  enter(Ending::Closing);
  if (platform_) platform_->drain();
  dispatcher_.drain();
  if (platform_) dispatcher_.stop_all();
  exit_code_ = code;
  pool_->stop(milliseconds(0), [this] { end(exit_code_); });
}

void Supervisor::Parts::enter(Ending phase) {
  phase_ = phase;
  overview_.happened();
}

std::string_view Supervisor::Parts::phase() const {
  constexpr std::string_view kPhases[] = {"serving",    "draining", "stopping",    "closing",
                                          "delivering", "closed",   "handing over"};
  return kPhases[static_cast<std::size_t>(phase_)];
}

void Supervisor::Parts::poll_journal() {
  journal_->poll();
  journal::Health health = journal_->health();
  if (health.writable == journal_writable_) return;
  journal_writable_ = health.writable;
  if (health.writable) return log_.info("the journal is written again: jobs are accepted");
  log_.error(health.text +
             "; until it can, new jobs are refused, running ones finish, and their results wait in memory");
}

ServiceReport::View Supervisor::Parts::service_view() const {
  const HealthView seen = health();
  return {.ready = seen.workers.ready,
          .wanted = config_.workers + config_.spares,
          .running = seen.jobs.in_progress,
          .waiting = seen.jobs.in_queue,
          .ever_ready = pool_->ever_ready(),
          .phase = phase_ == Ending::No            ? ""
                   : phase_ == Ending::HandingOver ? "handing over"
                                                   : "ending"};
}

HealthView Supervisor::Parts::health() const {
  HealthView view;
  auto counts = dispatcher_.counts();
  view.jobs = {.completed = counts.completed,
               .failed = counts.failed + counts.timed_out,
               .in_progress = counts.running,
               .in_queue = counts.queued,
               .retried = counts.retried};
  for (const pool::WorkerView& worker : pool_->snapshot()) {
    using pool::WorkerState;
    if (worker.state == WorkerState::Launching || worker.state == WorkerState::SettingUp) ++view.workers.initializing;
    if (worker.state != WorkerState::Ready && worker.state != WorkerState::Spare) continue;
    ++view.workers.ready;
    ++(worker.runs.empty() ? view.workers.idle : view.workers.running);
  }
  view.workers.unhealthy = pool_->backing_off();
  return view;
}

}  // namespace bulkhead
