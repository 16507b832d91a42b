// A handler of every form, whose input says what to do: what a C++ program can give Bulkhead, to be looked at from the
// other end of the wire. See act() for the inputs.

#include <chrono>
#include <condition_variable>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <bulkhead/bulkhead.hpp>

namespace asio = boost::asio;
using asio::use_awaitable;
using bulkhead::Job, bulkhead::Json, bulkhead::Generator, bulkhead::AsyncGenerator;

namespace {

/// Where jobs of one process meet.
class Meetings {
 public:
  /// Waits until `count` jobs are here at the same time.
  void meet(std::int64_t count, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (++here_ >= count) complete_ = true;
    changed_.notify_all();
    changed_.wait(lock, stop, [&] { return complete_; });
    if (--here_ == 0) complete_ = false;
  }
  bool enter(std::int64_t count) {
    std::lock_guard lock(mutex_);
    if (++here_ >= count) complete_ = true;
    return complete_;
  }
  bool complete() {
    std::lock_guard lock(mutex_);
    return complete_;
  }
  void leave() {
    std::lock_guard lock(mutex_);
    if (--here_ == 0) complete_ = false;
  }
  void open(const std::string& gate) {
    std::lock_guard lock(mutex_);
    open_[gate] = true;
    changed_.notify_all();
  }
  void pass(const std::string& gate, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [&] { return open_[gate]; });
  }
  bool is_open(const std::string& gate) {
    std::lock_guard lock(mutex_);
    return open_[gate];
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, bool> open_;
  std::int64_t here_ = 0;
  bool complete_ = false;
};

struct World {
  Meetings meetings;
  std::mutex mutex;
  int concurrency = 1;
  int modifier_calls = 0;
};

/// Not a std::exception.
struct Strange {};

[[noreturn]] void throw_it(std::string_view what) {
  if (what == "int") throw 42;
  if (what == "string") throw std::string("a std::string");
  if (what == "literal") throw "a literal";
  if (what == "strange") throw Strange();
  if (what == "error") throw bulkhead::Error("plain");
  if (what == "error_object") throw bulkhead::Error({{"code", 7}});
  if (what == "error_refresh") throw bulkhead::Error("tired", true);
  if (what == "error_empty") throw bulkhead::Error("");
  if (what == "not_utf8") throw std::runtime_error("byte \xff");
  if (what == "nested") {
    try {
      throw std::out_of_range("the cause");
    } catch (...) {
      std::throw_with_nested(std::runtime_error("the effect"));
    }
  }
  throw std::runtime_error(std::string(what));
}

Json special(std::string_view what) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  if (what == "nan") return {{"scores", {1, {{"x", nan}}}}};
  if (what == "infinity") return -std::numeric_limits<double>::infinity();
  if (what == "nan_error") return {{"error", nan}};
  if (what == "bytes") return {{"blob", "\xff\xfe"}};
  if (what == "bytes_key") return {{"\xff", 1}};
  if (what == "deep") {
    Json value;
    for (int i = 0; i < 2000; ++i) value = boost::json::array{std::move(value)};
    return value;
  }
  if (what == "controls") return boost::json::string("\x01\x1f\"\\\n\t\x7f\0z", 9);
  if (what == "numbers") return {0.1, 1.0, 1e300, -0.5, std::numeric_limits<std::uint64_t>::max(), 5e-324};
  throw std::logic_error("unknown special value");
}

const Json* key(const Json& input, std::string_view name) {
  const auto* object = input.if_object();
  return object == nullptr ? nullptr : object->if_contains(name);
}

/// What does not wait: {"return": value}, {"special": name}, {"throw": name}, {"facts": 1}, {"checkpoint": value},
/// {"big": bytes}, {"open": gate}, {"concurrency": n}, {"log": text}, {"progress": value}.
Json act(Job& job, World& world) {
  const Json& input = job.input();
  if (const Json* value = key(input, "log")) {
    job.log(bulkhead::Level::Debug, "debug line");
    job.log(bulkhead::Level::Error, value->as_string());
  }
  if (const Json* value = key(input, "progress")) job.progress(*value);
  if (key(input, "bad_progress") != nullptr) job.progress(special("nan"));
  if (const Json* value = key(input, "concurrency")) {
    std::lock_guard lock(world.mutex);
    world.concurrency = value->to_number<int>();
  }
  if (const Json* value = key(input, "open")) world.meetings.open(std::string(value->as_string()));
  if (const Json* value = key(input, "throw")) throw_it(value->as_string());
  if (const Json* value = key(input, "special")) return special(value->as_string());
  if (const Json* value = key(input, "big")) return boost::json::string(value->to_number<std::size_t>(), 'x');
  if (const Json* value = key(input, "checkpoint")) {
    const bool durable = job.save_checkpoint(*value);
    return {{"durable", durable}};
  }
  if (key(input, "facts") != nullptr)
    return {{"id", job.id()},
            {"attempt", job.attempt()},
            {"raw", std::string(job.raw_input())},
            {"extra", job.extra()},
            {"checkpoint", job.checkpoint().value_or("none")},
            {"stop", static_cast<int>(job.stop_reason())}};
  const Json* value = key(input, "return");
  return value == nullptr ? Json("ok") : *value;
}

/// What waits: {"wait": "stop"}, {"hold": gate}, {"meet": count}; says {"progress": "waiting"} first.
Json standard(Job& job, World& world) {
  const Json& input = job.input();
  if (key(input, "wait") != nullptr) {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    job.progress("waiting");
    never.wait(lock, job.stop_token(), [] { return false; });
    return {{"stopped", static_cast<int>(job.stop_reason())}};
  }
  if (const Json* gate = key(input, "hold")) {
    job.progress("waiting");
    world.meetings.pass(std::string(gate->as_string()), job.stop_token());
  }
  if (const Json* count = key(input, "meet")) world.meetings.meet(count->as_int64(), job.stop_token());
  return act(job, world);
}

asio::awaitable<void> wait_as_asked(Job& job, World& world) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  const Json& input = job.input();
  auto tick = [&]() -> asio::awaitable<void> {
    timer.expires_after(std::chrono::milliseconds(1));
    co_await timer.async_wait(use_awaitable);
  };
  if (key(input, "wait") != nullptr) {
    job.progress("waiting");
    timer.expires_at(asio::steady_timer::time_point::max());
    co_await timer.async_wait(use_awaitable);
  }
  if (const Json* gate = key(input, "hold")) {
    job.progress("waiting");
    while (!world.meetings.is_open(std::string(gate->as_string()))) co_await tick();
  }
  if (const Json* count = key(input, "meet")) {
    world.meetings.enter(count->as_int64());
    while (!world.meetings.complete()) co_await tick();
    world.meetings.leave();
  }
}

asio::awaitable<Json> async(Job& job, World& world) {
  if (key(job.input(), "catch") != nullptr) {
    Json output;
    try {
      co_await wait_as_asked(job, world);
    } catch (const boost::system::system_error& error) {
      output = {{"caught", error.code() == asio::error::operation_aborted},
                {"stopped", static_cast<int>(job.stop_reason())},
                {"token", job.stop_token().stop_requested()}};
    }
    co_return output;
  }
  co_await wait_as_asked(job, world);
  co_return act(job, world);
}

/// Says when it is destroyed.
struct Farewell {
  Job& job;
  ~Farewell() { job.log(bulkhead::Level::Info, "farewell"); }
};

/// {"yield": [values], "then": what standard() takes}; {"count": n} yields 0 to n-1.
Generator<Json> generator(Job& job, World& world) {
  const Farewell farewell{job};
  if (const Json* values = key(job.input(), "yield"))
    for (const Json& value : values->as_array()) co_yield value;
  if (const Json* count = key(job.input(), "count"))
    for (std::int64_t i = 0; i < count->as_int64(); ++i) co_yield i;
  if (key(job.input(), "then") != nullptr) co_yield standard(job, world);
  if (const Json* what = key(job.input(), "throw")) throw_it(what->as_string());
  if (const Json* what = key(job.input(), "special")) co_yield special(what->as_string());
}

AsyncGenerator<Json> async_generator(Job& job, World& world) {
  const Farewell farewell{job};
  asio::steady_timer timer(co_await asio::this_coro::executor);
  if (const Json* values = key(job.input(), "yield"))
    for (const Json& value : values->as_array()) {
      timer.expires_after(std::chrono::milliseconds(0));
      co_await timer.async_wait(use_awaitable);
      co_yield value;
    }
  if (const Json* count = key(job.input(), "count"))
    for (std::int64_t i = 0; i < count->as_int64(); ++i) co_yield i;
  if (key(job.input(), "then") != nullptr) {
    co_await wait_as_asked(job, world);
    Json value = co_await async(job, world);
    co_yield value;
  }
  if (const Json* what = key(job.input(), "throw")) throw_it(what->as_string());
  if (const Json* what = key(job.input(), "special")) co_yield special(what->as_string());
}

/// All that may be awaited in an asynchronous generator, each with the value it gave.
AsyncGenerator<Json> awaiting(Job&) {
  const auto executor = co_await asio::this_coro::executor;
  co_yield executor == executor;
  const auto state = co_await asio::this_coro::cancellation_state;
  co_yield state.cancelled() == asio::cancellation_type::none;
  co_yield co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  co_yield co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::reset_cancellation_state();
  co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
  co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation(),
                                                     asio::enable_terminal_cancellation());
  co_await asio::post(executor, use_awaitable);
  asio::steady_timer timer(executor, std::chrono::milliseconds(0));
  co_await timer.async_wait(asio::deferred);
  auto number = []() -> asio::awaitable<int> { co_return 7; };
  co_yield co_await number();
  auto failure = []() -> asio::awaitable<int> {
    throw std::runtime_error("caught inside");
    co_return 0;
  };
  std::string caught;
  try {
    co_await failure();
  } catch (const std::runtime_error& error) {
    caught = error.what();
  }
  co_yield caught;
}

Generator<int> counting(Job&) {
  for (int i = 0; i < 3; ++i) co_yield i;
}

AsyncGenerator<std::string> spelling(Job&) {
  co_yield std::string("a");
  co_yield std::string("b");
}

struct Functor {
  std::unique_ptr<int> only_movable = std::make_unique<int>(5);
  int operator()(Job&) const { return *only_movable; }
};

std::optional<bulkhead::Handler> handler_of(const std::string& form, World& world) {
  if (form == "standard") return [&world](Job& job) { return standard(job, world); };
  if (form == "generator") return [&world](Job& job) { return generator(job, world); };
  if (form == "async") return [&world](Job& job) { return async(job, world); };
  if (form == "async_generator") return [&world](Job& job) { return async_generator(job, world); };
  if (form == "awaiting") return awaiting;
  if (form == "counting") return counting;
  if (form == "spelling") return spelling;
  if (form == "functor") return Functor();
  if (form == "string") return [](Job&) { return std::string("text"); };
  if (form == "vector") return [](Job&) { return std::vector<double>{1, 2.5}; };
  if (form == "map") return [](const Job&) { return std::map<std::string, bool>{{"yes", true}}; };
  if (form == "optional") return [](Job&) { return std::optional<int>(); };
  if (form == "raw") return [](Job& job) { return bulkhead::RawJson{std::string(job.raw_input())}; };
  if (form == "raw_broken") return [](Job&) { return bulkhead::RawJson{"{oops"}; };
  if (form == "async_string") return [](Job&) -> asio::awaitable<std::string> { co_return "text"; };
  return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  World world;
  std::string form = "standard";
  bool aggregate = false, refresh = false, broken_modifier = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--form" && i + 1 < argc) form = argv[++i];
    if (argument == "--concurrency" && i + 1 < argc) world.concurrency = std::atoi(argv[++i]);
    aggregate |= argument == "--aggregate";
    refresh |= argument == "--refresh";
    broken_modifier |= argument == "--broken_modifier";
  }
  auto handler = handler_of(form, world);
  if (!handler) return 2;
  return bulkhead::start({.handler = *handler,
                          .return_aggregate_stream = aggregate,
                          .refresh_worker = refresh,
                          .concurrency_modifier =
                              [&](int) {
                                if (broken_modifier) throw std::runtime_error("no idea");
                                std::lock_guard lock(world.mutex);
                                return world.concurrency;
                              }},
                         argc, argv);
}
