// The job a handler is given, and the outlet through which what it says leaves.

#pragma once

#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "bulkhead/bulkhead.h"
#include "bulkhead/json.hpp"

namespace bulkhead {

enum class Level { Trace = BH_TRACE, Debug = BH_DEBUG, Info = BH_INFO, Warn = BH_WARN, Error = BH_ERROR };

/// Why a job should stop; Running while it need not.
enum class StopReason {
  Running = BH_RUNNING,
  Cancel = BH_STOP_CANCEL,    ///< a client cancelled it
  Timeout = BH_STOP_TIMEOUT,  ///< its executionTimeout passed
  Drain = BH_STOP_DRAIN       ///< the worker is being shut down: save a checkpoint, it may go on elsewhere
};

namespace sdk {

/// To whom a run talks: the supervisor, or the terminal of somebody who tests a handler. Codes are bh_status.
class Outlet {
 public:
  virtual ~Outlet() = default;
  virtual void log(Level level, std::string_view text) = 0;
  virtual void progress(std::string_view json) = 0;
  /// True when it is durable or, in a coroutine, on its way.
  virtual bool save_checkpoint(std::string_view data) = 0;
  virtual StopReason stop_reason() const = 0;
  /// One streamed output. BH_AGAIN, only where `wait` is false: no credit yet, nothing was sent.
  virtual int chunk(std::string_view json, bool wait) = 0;
};

/// What is known of a run when it starts. Views outlive the run.
struct Facts {
  std::string_view id;
  std::string_view input;
  std::string_view extra;
  std::optional<std::string_view> checkpoint;
  int attempt = 1;
};

}  // namespace sdk

/// One run of one job. Valid until the handler returned (a coroutine: until it ended). Its members may be called from any
/// thread the handler uses.
class Job {
 public:
  Job(const sdk::Facts& facts, sdk::Outlet& outlet, std::stop_token stop)
      : facts_(facts), id_(facts.id), outlet_(outlet), stop_(std::move(stop)) {}
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  const std::string& id() const { return id_; }

  /// The job's `input`, parsed at the first call. Throws NotJson for the few texts the supervisor accepts and Boost.JSON
  /// does not, such as unpaired surrogates; a number beyond 64 bits becomes a double. raw_input() has the text itself.
  const Json& input() {
    std::call_once(parsed_input_, [this] { input_ = sdk::parse(facts_.input, "input"); });
    return input_;
  }
  /// The bytes of the job's `input`, one JSON value. Lives as long as the job.
  std::string_view raw_input() const { return facts_.input; }

  /// 1 for the first; higher when earlier ones crashed, timed out or were lost.
  int attempt() const { return facts_.attempt; }

  /// Further top-level keys of the job (webhook, s3Config, policy …); empty when there are none.
  const boost::json::object& extra() {
    std::call_once(parsed_extra_, [this] {
      if (!facts_.extra.empty()) extra_ = sdk::parse(facts_.extra, "the job's further keys").as_object();
    });
    return extra_;
  }

  /// The request's, as W3C's Trace Context has it: "00-4bf9…-00f0…-01"; empty when it had none.
  std::string_view traceparent() {
    const Json* value = extra().if_contains("traceparent");
    if (value == nullptr || !value->is_string()) return {};
    return {value->get_string().data(), value->get_string().size()};
  }

  /// Shown to clients as the output of the job while it runs. The newest replaces earlier ones, and what comes too fast
  /// or cannot be sent is left out: progress never holds a job up and never fails it.
  void progress(const Json& value) {
    std::string text;
    try {
      sdk::Writer(text).write(value, "progress");
    } catch (const NotJson& error) {
      return outlet_.log(Level::Warn, std::string("progress left out: ") + error.what());
    }
    outlet_.progress(text);
  }

  template <sdk::ConvertedJson T>
  void progress(const T& value) {
    progress(sdk::to_json(value));
  }

  /// A line of log that belongs to this job. (stdout and stderr are kept too; which job they belong to is known only
  /// while one job runs at a time.)
  void log(Level level, std::string_view text) { outlet_.log(level, text); }

  /// Fires on cancel, timeout and drain. std::stop_callbacks run on another thread than the handler, except in
  /// coroutines, where the pending co_await ends with boost::asio::error::operation_aborted besides.
  std::stop_token stop_token() const { return stop_; }
  StopReason stop_reason() const { return outlet_.stop_reason(); }

  /// What an earlier attempt of this job saved last; of another attempt, never of this one.
  std::optional<Json> checkpoint() const {
    if (facts_.checkpoint) return sdk::parse(*facts_.checkpoint, "the checkpoint");
    return std::nullopt;
  }
  std::optional<std::string_view> raw_checkpoint() const { return facts_.checkpoint; }

  /// Keeps `value` for a later attempt of this job, in place of the one before. A blocking handler waits until it is
  /// durable; a coroutine goes on at once, while it is on its way. False where it cannot be kept any more (the job was
  /// cancelled, the supervisor is gone). Throws NotJson, and std::length_error when it is larger than the supervisor accepts.
  bool save_checkpoint(const Json& value) { return save_raw_checkpoint(sdk::to_text(value, "checkpoint")); }
  /// The same for bytes of any kind, to be read by raw_checkpoint().
  bool save_raw_checkpoint(std::string_view data) { return outlet_.save_checkpoint(data); }

 private:
  const sdk::Facts facts_;
  const std::string id_;
  sdk::Outlet& outlet_;
  const std::stop_token stop_;
  std::once_flag parsed_input_, parsed_extra_;
  Json input_;
  boost::json::object extra_;
};

}  // namespace bulkhead
