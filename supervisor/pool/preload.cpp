// One fork server at a time: launched, greeted, ready, ended, buried; then, unless it was given up, after a pause the next.
// Each of these happens once for each, and `bury` is the only way out, whoever ended it.

#include "supervisor/pool/preload.hpp"

#include <boost/asio/post.hpp>
#include <csignal>
#include <system_error>
#include <utility>
#include <variant>

#include "supervisor/pool/child_process.hpp"
#include "supervisor/pool/hidden_modules.hpp"
#include "supervisor/process/strays.hpp"

namespace bulkhead::pool {
namespace {

constexpr std::string_view kHook = "/bulkhead/_preload";
constexpr std::string_view kWithout = "children are started without it, one by one";

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "" : ",").append(name);
  return text;
}

}  // namespace

Preload::Preload(asio::any_io_executor executor, const Options& options, process::ScratchRoot& scratch,
                 Handlers handlers)
    : executor_(std::move(executor)),
      options_(options),
      scratch_root_(scratch),
      handlers_(std::move(handlers)),
      backoff_(options.backoff),
      timer_(executor_) {}

Preload::~Preload() { alive_.reset(); }

/// A child's, with the place where Python finds the hook in front.
process::SpawnPlan Preload::plan() {
  process::SpawnPlan plan = base_plan(options_);
  for (auto& [name, value] : plan.environment)
    if (name == "PYTHONPATH") value = value.substr(0, value.find(':')).append(kHook) + ':' + value;
  plan.environment.emplace_back(process::kForkServerVariable, joined(options_.preload));
  plan.cookie = cookie_;
  plan.scratch = scratch_.path();
  plan.stdout_fd = output_->stdout_fd();
  plan.stderr_fd = output_->stderr_fd();
  return plan;
}

void Preload::start() {
  if (!ignoring_flag(options_.command).empty()) {
    give_up(advice(options_.command, options_.environment));
    return decide();
  }
  launch();
}

void Preload::launch() {
  greeted_ = was_ready_ = false;
  reason_.clear();
  try {
    scratch_ = scratch_root_.make("preload");
    output_.emplace(executor_, [this](process::Stream, std::string_view line) { printed(line); });
    cookie_ = process::make_cookie(options_.cookie_prefix);
  } catch (const std::system_error& error) {
    reason_ = error.what();
    return buried();
  }
  auto guarded = [this](auto call) {
    return [call, this, alive = std::weak_ptr(alive_)](const auto&... arguments) {
      if (!alive.expired()) (this->*call)(arguments...);
    };
  };
  auto launched = process::ForkServer::launch(executor_, plan(),
                                              {.greeted = guarded(&Preload::greeted),
                                               .ready = guarded(&Preload::ready),
                                               .refused =
                                                   [this, alive = std::weak_ptr(alive_)](const std::string& reason) {
                                                     if (alive.expired()) return;
                                                     give_up(reason);
                                                     server_->process().signal_group(SIGKILL);
                                                   },
                                               .ended = guarded(&Preload::ended)});
  output_->start();
  if (auto* error = std::get_if<process::LaunchError>(&launched)) {
    if (error->is_transient())
      reason_ = error->text;
    else
      give_up(error->text);
    return buried();
  }
  server_ = std::move(std::get<std::unique_ptr<process::ForkServer>>(launched));
  timer_.expires_after(std::min(kGreetingTime, options_.setup_timeout));
  timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) timed_out();
  });
}

void Preload::greeted() {
  greeted_ = true;
  timer_.expires_after(options_.setup_timeout);
  timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) timed_out();
  });
}

void Preload::ready(const std::string& remark) {
  timer_.cancel();
  was_ready_ = true;
  if (!remark.empty() && !decided_) handlers_.say(remark);
  if (decided_) handlers_.say("the fork server is back");
  silent_ = false;
  decide();
}

/// What it prints before it serves is its own; forks have pipes of their own.
void Preload::printed(std::string_view line) {
  if (!silent_) handlers_.say(line);
  if (!greeted_ && server_ && sign_of(line) != Sign::None) {
    give_up(advice(options_.command, options_.environment));
    server_->process().signal_group(SIGKILL);
  }
}

// ---- the ways out --------------------------------------------------------------------------------------------------

void Preload::decide() {
  if (std::exchange(decided_, true)) return;
  asio::post(executor_, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) handlers_.decided();
  });
}

void Preload::give_up(const std::string& reason) {
  if (std::exchange(given_up_, true)) return;
  handlers_.say("no --preload " + joined(options_.preload) + ": " + reason + "; " + std::string(kWithout));
}

void Preload::timed_out() {
  if (greeted_)
    give_up("importing took longer than --setup-timeout");
  else
    give_up(
        "the command did not become a fork server. It must be a Python that sees its PYTHONPATH and runs its site "
        "module: "
        "write Python itself behind the --, without -I, -E and -S");
  server_->process().signal_group(SIGKILL);
}

void Preload::ended(const process::ExitStatus& status) {
  timer_.cancel();
  output_->drain();
  reason_ = "the fork server " + status.describe();
  if (!stopping_ && !greeted_ && status.how == process::ExitStatus::How::Exited)
    give_up("the command ended (" + status.describe() +
            ") without becoming a fork server. It must be a Python that sees its PYTHONPATH and runs its site module");
  // Its forks have a session and a cookie of their own, and are no strays of it.
  server_->process().signal_group(SIGKILL);
  process::end_strays(executor_, server_->process(), cookie_, options_.strays_time,
                      [this, alive = std::weak_ptr(alive_)](const process::StrayReport&) {
                        if (!alive.expired()) bury();
                      });
}

void Preload::bury() {
  server_->process().reap();
  server_.reset();
  output_->close();
  buried();
}

/// There is none. The next?
void Preload::buried() {
  scratch_.discard();
  if (stopping_) {
    if (stopped_) asio::post(executor_, std::exchange(stopped_, nullptr));
    return;
  }
  if (was_ready_) backoff_.succeeded();
  const milliseconds wait = backoff_.failed(std::uniform_real_distribution<>()(generator_));
  if (!given_up_) {
    if (!std::exchange(silent_, true)) handlers_.say(reason_ + "; until it is back, " + std::string(kWithout));
    timer_.expires_after(wait);
    timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
      if (!error && !alive.expired()) launch();
    });
  }
  decide();
}

void Preload::stop(std::function<void()> stopped) {
  stopping_ = true;
  timer_.cancel();
  if (!server_) {
    asio::post(executor_, std::move(stopped));
    return;
  }
  stopped_ = std::move(stopped);
  server_->process().signal_group(SIGKILL);
}

}  // namespace bulkhead::pool
