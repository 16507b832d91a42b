// A user's handler of any of the four forms, behind two types: it blocks its thread, or it is a coroutine.

#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "bulkhead/async_generator.hpp"
#include "bulkhead/generator.hpp"
#include "bulkhead/job.hpp"
#include "bulkhead/outcome.hpp"

namespace bulkhead {

class Handler;

namespace sdk {

enum class Form { None, Standard, Generator, Async, AsyncGenerator };

template <class Result>
inline constexpr Form kForm = JsonLike<Result> ? Form::Standard : Form::None;
template <class T>
inline constexpr Form kForm<Generator<T>> = JsonLike<T> ? Form::Generator : Form::None;
template <class T>
inline constexpr Form kForm<boost::asio::awaitable<T>> = JsonLike<T> ? Form::Async : Form::None;
template <class T>
inline constexpr Form kForm<AsyncGenerator<T>> = JsonLike<T> ? Form::AsyncGenerator : Form::None;

template <class F>
constexpr Form form_of() {
  if constexpr (std::invocable<F&, Job&>)
    return kForm<std::remove_cvref_t<std::invoke_result_t<F&, Job&>>>;
  else
    return Form::None;
}

/// What a run is given besides its job.
struct Surroundings {
  const Identity& who;
  Outlet& outlet;
  bool aggregate;
};

// A handler whose type is forgotten is a pointer to it and a pointer to one of these, not a std::function: that would put
// four frames of the standard library between bulkhead and the handler, in every stack a crash leaves.
using BlockingRun = Outcome (*)(void* handler, Job&, const Surroundings&);
/// `credit` is cancelled when chunks may be sent again; it never expires.
using AsyncRun = boost::asio::awaitable<Outcome> (*)(void* handler, Job&, const Surroundings&,
                                                     boost::asio::steady_timer& credit);

struct Program;

/// What drives coroutines. Reached through pointers that only a coroutine handler sets, so that only a program with such
/// a handler has it instantiated: it is a large part of what compiling a handler costs. `Lazy` is always void.
struct AsyncDriver {
  int (*serve)(const Program& program);
  Outcome (*run_alone)(const Handler& handler, Job& job, const Surroundings& around);
};
template <class Lazy>
const AsyncDriver& async_driver();  // supervised_async.hpp

template <class F>
Outcome run_standard(F& handler, Job& job, const Surroundings& around) {
  try {
    return returned(handler(job));
  } catch (...) {
    return failed_by_exception(around.who);
  }
}

template <class F>
Outcome run_generator(F& handler, Job& job, const Surroundings& around) {
  Stream stream(around.who, around.aggregate);
  try {
    auto generator = handler(job);
    while (auto* chunk = generator.next()) {
      const std::optional<std::string> text = stream.take(std::move(*chunk));
      if (!text) break;
      if (const int status = around.outlet.chunk(*text, true); status != BH_OK) {
        stream.refuse(status, text->size(), job.stop_reason());
        break;
      }
    }
  } catch (...) {
    stream.fail();
  }
  return stream.outcome();
}

template <class F>
boost::asio::awaitable<Outcome> run_async(F& handler, Job& job, Surroundings around) {
  try {
    co_return returned(co_await handler(job));
  } catch (...) {
    co_return failed_by_exception(around.who);
  }
}

template <class F>
boost::asio::awaitable<Outcome> run_async_generator(F& handler, Job& job, Surroundings around,
                                                    boost::asio::steady_timer& credit) {
  Stream stream(around.who, around.aggregate);
  try {
    auto generator = handler(job);
    for (;;) {
      auto chunk = co_await generator.next();
      if (!chunk) break;
      const std::optional<std::string> text = stream.take(std::move(*chunk));
      if (!text) break;
      int status = around.outlet.chunk(*text, false);
      while (status == BH_AGAIN) {
        boost::system::error_code cancelled;  // by the credit that came; a cancelled job throws at the co_await itself
        co_await credit.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, cancelled));
        status = around.outlet.chunk(*text, false);
      }
      if (status != BH_OK) {
        stream.refuse(status, text->size(), job.stop_reason());
        break;
      }
    }
  } catch (...) {
    stream.fail();
  }
  co_return stream.outcome();
}

}  // namespace sdk

/// Any callable that takes a Job& and returns one of
///
///     T                            a value that has a JSON form (Json, RawJson, numbers, strings, containers …)
///     bulkhead::Generator<T>       streams what it yields
///     boost::asio::awaitable<T>    many jobs at once on one thread
///     bulkhead::AsyncGenerator<T>  the same, streaming
///
/// With a concurrency above 1 a blocking callable is called from several threads at once.
class Handler {
 public:
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, Handler>)
      Handler(F&& callable) {  // NOLINT(google-explicit-constructor): `.handler = f` is how it is written
    using Callable = std::decay_t<F>;
    constexpr sdk::Form kOwn = sdk::form_of<Callable>();
    static_assert(
        kOwn != sdk::Form::None,
        "bulkhead: a handler is called with (bulkhead::Job&) and returns a value with a JSON form (such as "
        "bulkhead::Json), bulkhead::Generator<T>, boost::asio::awaitable<T> or bulkhead::AsyncGenerator<T> of "
        "such a value");
    streams_ = kOwn == sdk::Form::Generator || kOwn == sdk::Form::AsyncGenerator;
    if constexpr (kOwn == sdk::Form::Async || kOwn == sdk::Form::AsyncGenerator) driver_ = &sdk::async_driver<void>();
    callable_ = std::make_shared<Callable>(std::forward<F>(callable));
    if constexpr (kOwn == sdk::Form::Standard)
      blocking_ = [](void* held, Job& job, const sdk::Surroundings& around) {
        return sdk::run_standard(*static_cast<Callable*>(held), job, around);
      };
    else if constexpr (kOwn == sdk::Form::Generator)
      blocking_ = [](void* held, Job& job, const sdk::Surroundings& around) {
        return sdk::run_generator(*static_cast<Callable*>(held), job, around);
      };
    else if constexpr (kOwn == sdk::Form::Async)
      async_ = [](void* held, Job& job, const sdk::Surroundings& around, boost::asio::steady_timer&) {
        return sdk::run_async(*static_cast<Callable*>(held), job, around);
      };
    else if constexpr (kOwn == sdk::Form::AsyncGenerator)
      async_ = [](void* held, Job& job, const sdk::Surroundings& around, boost::asio::steady_timer& credit) {
        return sdk::run_async_generator(*static_cast<Callable*>(held), job, around, credit);
      };
  }

  bool streams() const { return streams_; }
  /// Set for a coroutine, which is then run by run_async(), driven by this; else there is run().
  const sdk::AsyncDriver* driver() const { return driver_; }
  sdk::Outcome run(Job& job, const sdk::Surroundings& around) const { return blocking_(callable_.get(), job, around); }
  boost::asio::awaitable<sdk::Outcome> run_async(Job& job, const sdk::Surroundings& around,
                                                 boost::asio::steady_timer& credit) const {
    return async_(callable_.get(), job, around, credit);
  }

 private:
  std::shared_ptr<void> callable_;  // shared, so that Handlers can be copied even where callables cannot
  bool streams_ = false;
  sdk::BlockingRun blocking_ = nullptr;
  sdk::AsyncRun async_ = nullptr;
  const sdk::AsyncDriver* driver_ = nullptr;
};

}  // namespace bulkhead
