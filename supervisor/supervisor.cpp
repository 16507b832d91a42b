// The whole program on one page.
//
// Start: the state directory is locked and the journal opened (constructor); then, in run(), what the journal knew goes
// back to the core, the children are started, and last the doors are opened.
//
// End, on SIGTERM or SIGINT (drain -> stop_runs -> end -> close): no job is started any more, but clients may still ask;
// running jobs have the grace period to finish; after it, or at a second signal, they are told to stop and climb the
// ladder; when no outcome is open any more the children are ended, then webhooks on their way get a moment, then the
// connections; the journal writes what it has and is closed last, by the destructor. Each step has a deadline, so the
// end comes whatever a handler or a receiver does. On a platform there may be no next start: jobs that wait are run
// within the grace period too, those an open request delivers among them, and what is left then is answered. SIGQUIT
// skips the waiting: the children are made to write their stacks.
//
// Parts are declared in the order in which they depend on each other, and so destroyed in the reverse of it.

#include "supervisor/supervisor.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "supervisor/become_init.hpp"
#include "supervisor/fingerprint.hpp"
#include "supervisor/http/server.hpp"
#include "supervisor/job/dispatcher.hpp"
#include "supervisor/job_log.hpp"
#include "supervisor/journal/state_directory.hpp"
#include "supervisor/journal/store.hpp"
#include "supervisor/no_endpoint.hpp"
#include "supervisor/notices.hpp"
#include "supervisor/overview.hpp"
#include "supervisor/own_stack.hpp"
#include "supervisor/pool/pool.hpp"
#include "supervisor/process/launch.hpp"
#include "supervisor/reload.hpp"
#include "supervisor/service_report.hpp"
#include "supervisor/settings.hpp"
#include "supervisor/source/embedded_queue.hpp"
#include "supervisor/source/http_client.hpp"
#include "supervisor/source/runpod.hpp"
#include "supervisor/source/test_input.hpp"
#include "supervisor/source/webhooks.hpp"
#include "supervisor/state_line.hpp"

namespace bulkhead {
namespace {

namespace asio = boost::asio;
using SteadyTime = std::chrono::steady_clock::time_point;

class SystemClock final : public Clock {
 public:
  Instant now() const override {
    return {std::chrono::steady_clock::now(),
            std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
  }
};

/// How often an ending supervisor looks whether it may take its next step.
constexpr milliseconds kEndingStep{10};
/// For answers that are being written when everything else has ended, and for webhooks that are being sent.
constexpr milliseconds kLastAnswers{2'000};
constexpr milliseconds kLastWebhooks{5'000};
constexpr milliseconds kLastResults{10'000};

/// For people, to copy.
std::string name_of(const std::string& address) { return address.starts_with("unix:") ? address : "http://" + address; }

}  // namespace

struct Supervisor::Parts {
  Parts(config::Config config, Reread reread, JobsFrom from, observe::Log& log);
  int run();

 private:
  void recover();
  void make_queue();
  void make_platform(RunPodSettings settings);
  void poll_journal();
  void start_source();
  void let_go_of_sockets();
  void rearm();
  void tick();
  void await_signal();
  void signalled(int number);
  void reload();
  void apply(std::variant<config::Config, config::Exit> read);
  void stop_with_stacks();
  enum class Ending : std::uint8_t { No, Draining, Stopping, Closing, Delivering, Closed };
  void enter(Ending phase);
  std::string_view phase() const;
  http::Options http_options();
  std::optional<int> scale(int workers);
  void show_metrics();
  void drain(std::string_view why);
  bool nothing_left() const;
  void step_of_ending();
  void end(int code);
  void flush_results();
  void close();
  void pool_health(const std::string& reason, bool never_ready);
  void give_up(int code);
  HealthView health() const;
  ServiceReport::View service_view() const;
  double random() { return std::uniform_real_distribution<double>()(random_); }

  config::Config config_;
  Reread reread_;
  observe::Log& log_;
  SystemClock clock_;
  NoEndpoint no_endpoint_;
  asio::io_context io_{1};
  JobsFrom from_;
  std::optional<journal::StateDirectory> memory_lock_;  ///< where no journal holds the directory
  std::unique_ptr<journal::Store> journal_;
  bool journal_writable_ = true;  ///< as the log was last told
  std::mt19937_64 random_{std::random_device{}()};
  Dispatcher dispatcher_;
  Overview overview_{io_.get_executor(),
                     {.clock = clock_,
                      .dispatcher = dispatcher_,
                      .journal = *journal_,
                      .pool = pool_,
                      .queue = queue_,
                      .platform = platform_,
                      .lines = log_.lines(),
                      .phase = [this] { return phase(); },
                      .connections = [this] { return server_ ? server_->connections() : 0; },
                      .webhooks = [this] { return webhooks_ ? webhooks_->waiting() : 0; },
                      .log_lines_dropped = [this] { return log_.dropped(); },
                      .wanted = [this] { return std::pair(config_.workers, config_.spares); }}};
  JobLog job_log_{log_, clock_, dispatcher_};  ///< between dispatcher and source
  std::unique_ptr<pool::Pool> pool_;
  std::unique_ptr<HttpClient> outgoing_;
  std::unique_ptr<Webhooks> webhooks_;
  std::unique_ptr<EmbeddedQueue> queue_;
  std::unique_ptr<RunPod> platform_;
  std::unique_ptr<TestInput> test_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::Server> metrics_server_;
  asio::signal_set signals_{io_};
  asio::steady_timer alarm_{io_};
  SteadyTime alarm_at_ = SteadyTime::max();
  asio::steady_timer ending_{io_};
  ServiceReport service_{io_.get_executor(), [this] { return service_view(); }};
  Ending phase_ = Ending::No;
  SteadyTime grace_ends_;
  int exit_code_ = config::kOk;
};

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
  for (int signal : {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1}) signals_.add(signal);
  await_signal();
  open_for_signals();
  pool_ = std::make_unique<pool::Pool>(io_.get_executor(), settings::pool(config_, journal_->next_run()));
  pool_->set_ends([this](const ChildEnd& end) { overview_.child_ended(end); });
  dispatcher_.set_workers(*pool_);
  recover();
  for (const std::string& missing : process::missing_mechanisms()) log_.warn(missing);
  pool_->start(dispatcher_);
  if (!std::holds_alternative<TestJob>(from_)) overview_.start();
  show_metrics();
  start_source();
  if (!test_) service_.start();
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
    server_ = std::make_unique<http::Server>(io_, *queue_, clock_, http_options());
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
  options.steering = {.drain = [this] { drain("told to end over HTTP"); },
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

// ---- end -----------------------------------------------------------------------------------------------------------

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
  // A local test has nothing to read again: its terminal is gone.
  if (number == SIGHUP && !test_) return reload();
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
  if (!server_) return io_.stop();
  server_->drain([this] { io_.stop(); });
  ending_.expires_after(kLastAnswers);
  ending_.async_wait([this](boost::system::error_code error) {
    if (!error) io_.stop();
  });
}

// ---- reload --------------------------------------------------------------------------------------------------------

void Supervisor::Parts::reload() {
  if (phase_ != Ending::No) return log_.warn("told to read the configuration again (SIGHUP) while ending: ignored");
  service_.reloading();
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
  constexpr std::string_view kPhases[] = {"serving", "draining", "stopping", "closing", "delivering", "closed"};
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
          .phase = phase_ == Ending::No ? "" : "ending"};
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
