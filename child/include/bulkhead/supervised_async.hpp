// A handler of coroutines under a supervisor: one io_context on the main thread, any number of jobs at once.
//
// The library's descriptor is one more thing the io_context waits for. Each job is a coroutine of its own; a cancel fires
// its stop token and its cancellation slot, so that the operation it waits for ends with operation_aborted. The loop ends
// when the supervisor said stop (or is gone) and no job is left.
//
// Templates throughout, with nothing to vary: see AsyncDriver.

#pragma once

#include <exception>
#include <memory>
#include <stop_token>
#include <unordered_map>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "bulkhead/supervised.hpp"

namespace bulkhead::sdk {

/// Runs `context` until it is stopped, whatever coroutines a handler spawned beside its jobs may throw.
template <class Complain>
void run_context(boost::asio::io_context& context, Complain complain) {
  for (;;) {
    try {
      context.run();
      return;
    } catch (...) {
      const Description thrown = describe_current_exception();
      complain("a coroutine outside any job threw " + thrown.type + ": " + thrown.message);
    }
  }
}

template <class Lazy>
class AsyncLoop {
 public:
  explicit AsyncLoop(const Program& program) : program_(program), descriptor_(context_) {}

  /// The exit code.
  int run() {
    if (connection_.get() == nullptr) return 1;
    descriptor_.assign(bh_fd(connection_.get()));
    adjust_concurrency(true);
    boost::asio::co_spawn(context_, pump(), boost::asio::detached);
    run_context(context_, [&](const std::string& text) { connection_.log(Level::Error, text); });
    descriptor_.release();  // it belongs to the library
    connection_.close();
    return exit_code(lost_);
  }

 private:
  struct Running {
    Running(bh_job* handle, const Program& program, boost::asio::io_context& context)
        : outlet(handle, program, false),
          job(facts_of(handle), outlet, stop.get_token()),
          credit(context, boost::asio::steady_timer::time_point::max()) {}
    SupervisedOutlet outlet;
    std::stop_source stop;
    Job job;
    boost::asio::cancellation_signal cancel;
    boost::asio::steady_timer credit;
  };

  boost::asio::awaitable<void> pump() {
    while (take_events()) {
      boost::system::error_code error;
      co_await descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                      boost::asio::redirect_error(boost::asio::use_awaitable, error));
      if (error) break;
    }
  }

  /// All that is there; false when nothing more will come.
  bool take_events() {
    bh_event event{};
    for (;;) {
      const int status = bh_next(connection_.get(), 0, &event);
      if (status == BH_AGAIN) return true;
      if (status != BH_OK) {
        lost_ = status;
        // stop() may end a job at once, which takes it out of the table: go through a copy.
        for (const auto& [job, running] : std::unordered_map(running_)) stop(job);
        return end(), false;
      }
      switch (event.kind) {
        case BH_EVENT_JOB: start(event.job); break;
        case BH_EVENT_CANCEL: stop(event.job); break;
        case BH_EVENT_CREDIT:
          if (const auto found = running_.find(event.job); found != running_.end()) found->second->credit.cancel();
          break;
        case BH_EVENT_STOP:
          // It is given again whenever there is nothing else; what runs may still be cancelled or get credit.
          if (std::exchange(ending_, true)) return true;
          end();
          break;
      }
    }
  }

  void end() {
    ending_ = true;
    if (running_.empty()) context_.stop();
  }

  void start(bh_job* handle) {
    auto running = std::make_shared<Running>(handle, program_, context_);
    running_.emplace(handle, running);
    boost::asio::co_spawn(
        context_,
        program_.options.handler.run_async(
            running->job, Surroundings{program_.who, running->outlet, program_.options.return_aggregate_stream},
            running->credit),
        boost::asio::bind_cancellation_slot(
            running->cancel.slot(),
            [this, handle](std::exception_ptr error, Outcome outcome) { finish(handle, error, std::move(outcome)); }));
    if (bh_job_stopping(handle) != BH_RUNNING) stop(handle);
  }

  void stop(bh_job* handle) {
    const auto found = running_.find(handle);
    if (found == running_.end()) return;
    const std::shared_ptr<Running> running = found->second;  // a stop callback may end it
    running->stop.request_stop();
    running->cancel.emit(boost::asio::cancellation_type::all);
  }

  void finish(bh_job* handle, std::exception_ptr error, Outcome outcome) {
    const std::shared_ptr<Running> running = running_.at(handle);
    running_.erase(handle);
    if (error) {  // the coroutine was cancelled before its first step
      try {
        std::rethrow_exception(error);
      } catch (...) {
        outcome = failed_by_exception(program_.who);
      }
    }
    running->outlet.finish(std::move(outcome));
    adjust_concurrency(false);
    if (ending_) end();
  }

  void adjust_concurrency(bool first) {
    const int wanted =
        program_.concurrency(concurrency_, [&](const std::string& text) { connection_.log(Level::Error, text); });
    if (ending_ || (!first && wanted == concurrency_)) return;
    concurrency_ = wanted;
    bh_ready(connection_.get(), concurrency_);
  }

  const Program& program_;
  Connection connection_;
  boost::asio::io_context context_{1};
  boost::asio::posix::stream_descriptor descriptor_;
  std::unordered_map<bh_job*, std::shared_ptr<Running>> running_;
  int concurrency_ = 1;
  bool ending_ = false;
  int lost_ = BH_OK;
};

/// One job by itself, without a supervisor.
template <class Lazy>
Outcome run_alone(const Handler& handler, Job& job, const Surroundings& around) {
  boost::asio::io_context context(1);
  boost::asio::steady_timer credit(context);
  Outcome result;
  boost::asio::co_spawn(context, handler.run_async(job, around, credit), [&](std::exception_ptr, Outcome outcome) {
    result = std::move(outcome);
    context.stop();
  });
  run_context(context, [&](const std::string& text) { around.outlet.log(Level::Error, text); });
  return result;
}

template <class Lazy>
const AsyncDriver& async_driver() {
  static constexpr AsyncDriver kDriver{[](const Program& program) { return AsyncLoop<Lazy>(program).run(); },
                                       &run_alone<Lazy>};
  return kDriver;
}

}  // namespace bulkhead::sdk
