// What a supervisor is made of, for the files that are its parts: supervisor.cpp has the start and the running, ending.cpp
// the end, renewal.cpp how it takes up another configuration and hands over to another program.
//
// Parts are declared in the order in which they depend on each other, and so destroyed in the reverse of it.

#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "supervisor/baton.hpp"
#include "supervisor/become_init.hpp"
#include "supervisor/http/server.hpp"
#include "supervisor/job/dispatcher.hpp"
#include "supervisor/job_log.hpp"
#include "supervisor/journal/state_directory.hpp"
#include "supervisor/journal/store.hpp"
#include "supervisor/no_endpoint.hpp"
#include "supervisor/overview.hpp"
#include "supervisor/pool/pool.hpp"
#include "supervisor/service_report.hpp"
#include "supervisor/source/embedded_queue.hpp"
#include "supervisor/source/http_client.hpp"
#include "supervisor/source/runpod.hpp"
#include "supervisor/source/test_input.hpp"
#include "supervisor/source/webhooks.hpp"
#include "supervisor/supervisor.hpp"
#include "supervisor/upgrade.hpp"

namespace bulkhead {

namespace asio = boost::asio;
using SteadyTime = std::chrono::steady_clock::time_point;

class SystemClock final : public Clock {
 public:
  Instant now() const override {
    return {std::chrono::steady_clock::now(),
            std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()};
  }
};

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
  void read_configuration_again();
  std::string no_upgrade() const;
  std::string listening() const;
  void hand_over();
  void hand_over_servers();
  void step_of_hand_over();
  [[noreturn]] void leave_to_the_next();
  std::vector<http::Held> of_addresses(const std::vector<std::string>& addresses);
  void let_go_of_other_sockets();
  void keep_sockets();
  void take_connections();
  void apply(std::variant<config::Config, config::Exit> read);
  void stop_with_stacks();
  enum class Ending : std::uint8_t { No, Draining, Stopping, Closing, Delivering, Closed, HandingOver };
  void enter(Ending phase);
  std::string_view phase() const;
  http::Options http_options();
  std::optional<int> scale(int workers);
  void show_metrics();
  void drain(std::string_view why);
  std::string drain_over_http();
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
  Baton baton_{init_channel()};
  std::vector<http::Held> held_;  ///< of the supervisor before this one, until the servers have them
  Upgrade upgrade_{io_.get_executor(),
                   {.obstacle = [this] { return no_upgrade(); },
                    .listening = [this] { return listening(); },
                    .hand_over = [this] { hand_over(); },
                    .say = [this](const std::string& line, bool bad) { bad ? log_.warn(line) : log_.info(line); }}};
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::Server> metrics_server_;
  asio::signal_set signals_{io_};
  asio::steady_timer alarm_{io_};
  SteadyTime alarm_at_ = SteadyTime::max();
  asio::steady_timer ending_{io_};
  ServiceReport service_{io_.get_executor(), [this] { return service_view(); }};
  Ending phase_ = Ending::No;
  SteadyTime grace_ends_;       ///< likewise of a hand-over, and of its first half
  bool webhooks_idle_ = false;  ///< handing over: none is being sent
  std::optional<int> serving_;  ///< handing over, in its second half: servers with something under way
  int exit_code_ = config::kOk;
};

}  // namespace bulkhead
