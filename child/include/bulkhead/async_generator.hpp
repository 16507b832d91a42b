// A coroutine that both waits and streams: `co_await` any Asio operation, `co_yield` the next value.
//
//     bulkhead::AsyncGenerator<Json> handler(Job& job) {
//       boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
//       for (int i = 0; i < 10; ++i) {
//         timer.expires_after(100ms);
//         co_await timer.async_wait(boost::asio::use_awaitable);
//         co_yield i;
//       }
//     }
//
// An Asio awaitable can be awaited only inside an Asio awaitable: it needs the frame of one to come back to. So the
// generator never waits itself. Each co_await leaves a Step behind and suspends; next(), which is an awaitable, performs
// the step and resumes the generator with its result. Executor, cancellation and error handling are therefore those of
// whoever awaits next(), as if the generator's body stood there.

#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "bulkhead/json.hpp"

namespace bulkhead {

namespace sdk {

/// Something a generator waits for, until next() has done it.
class Step {
 public:
  virtual boost::asio::awaitable<void> perform() = 0;
  void fail(std::exception_ptr error) { error_ = std::move(error); }

 protected:
  ~Step() = default;
  std::exception_ptr error_;
};

/// Calls `make()`, a coroutine function, and keeps what it gives. Lives in the generator's frame while that is suspended.
template <class Result, class Make>
class StepOf final : public Step {
 public:
  StepOf(Step*& pending, Make make) : pending_(pending), make_(std::move(make)) {}

  boost::asio::awaitable<void> perform() override {
    if constexpr (std::is_void_v<Result>) {
      co_await make_();
    } else {
      result_.emplace(co_await make_());
    }
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) noexcept { pending_ = this; }
  Result await_resume() {
    if (error_) std::rethrow_exception(error_);
    if constexpr (!std::is_void_v<Result>) return std::move(*result_);
  }

 private:
  struct Nothing {};
  Step*& pending_;
  Make make_;
  std::optional<std::conditional_t<std::is_void_v<Result>, Nothing, Result>> result_;
};

}  // namespace sdk

/// Destroying it while it is suspended destroys its local variables: an abandoned stream cleans up after itself.
template <class T>
class [[nodiscard]] AsyncGenerator {
 public:
  class promise_type {
   public:
    AsyncGenerator get_return_object() { return AsyncGenerator(Handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(T value) {
      value_.emplace(std::move(value));
      return {};
    }
    template <sdk::ConvertedJson U>
    requires(std::same_as<T, Json> && !std::convertible_to<U, T>) std::suspend_always yield_value(const U& value) {
      return yield_value(sdk::to_json(value));
    }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { error_ = std::current_exception(); }

    template <class Result>
    auto await_transform(boost::asio::awaitable<Result> awaitable) {
      return step<Result>([awaitable = std::move(awaitable)]() mutable { return std::move(awaitable); });
    }
    /// An operation without a completion token (boost::asio::deferred).
    template <class Operation>
    requires(boost::asio::is_async_operation<Operation>::value) auto await_transform(Operation&& operation) {
      return await_transform(std::forward<Operation>(operation)(boost::asio::use_awaitable));
    }

    // co_await boost::asio::this_coro::…: the questions and settings an awaitable's own body may use.
    auto await_transform(boost::asio::this_coro::executor_t tag) { return ask<boost::asio::any_io_executor>(tag); }
    auto await_transform(boost::asio::this_coro::cancellation_state_t tag) {
      return ask<boost::asio::cancellation_state>(tag);
    }
    auto await_transform(boost::asio::this_coro::throw_if_cancelled_0_t tag) { return ask<bool>(tag); }
    auto await_transform(boost::asio::this_coro::throw_if_cancelled_1_t tag) { return ask<void>(tag); }
    auto await_transform(boost::asio::this_coro::reset_cancellation_state_0_t tag) { return ask<void>(tag); }
    template <class Filter>
    auto await_transform(boost::asio::this_coro::reset_cancellation_state_1_t<Filter> tag) {
      return ask<void>(tag);
    }
    template <class In, class Out>
    auto await_transform(boost::asio::this_coro::reset_cancellation_state_2_t<In, Out> tag) {
      return ask<void>(tag);
    }

   private:
    friend AsyncGenerator;

    template <class Result, class Make>
    auto step(Make make) {
      return sdk::StepOf<Result, Make>(pending_, std::move(make));
    }
    template <class Result, class Tag>
    auto ask(const Tag& tag) {
      return step<Result>([asked = tag]() -> boost::asio::awaitable<Result> { co_return co_await asked; });
    }

    std::optional<T> value_;
    std::exception_ptr error_;
    sdk::Step* pending_ = nullptr;
  };

  AsyncGenerator(AsyncGenerator&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  AsyncGenerator& operator=(AsyncGenerator&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~AsyncGenerator() {
    if (handle_) handle_.destroy();
  }

  /// The next value, or nothing at the end. An exception of the generator comes out here, and ends it. It must not be
  /// awaited again before it came back.
  boost::asio::awaitable<std::optional<T>> next() {
    if (!handle_ || handle_.done()) co_return std::nullopt;
    auto& promise = handle_.promise();
    promise.value_.reset();
    handle_.resume();
    while (promise.pending_ != nullptr) {
      sdk::Step* step = std::exchange(promise.pending_, nullptr);
      try {
        co_await step->perform();
      } catch (...) {  // whatever the operation, or a cancel, throws is for the generator to see where it waits
        step->fail(std::current_exception());
      }
      handle_.resume();
    }
    if (promise.error_) std::rethrow_exception(std::exchange(promise.error_, nullptr));
    if (handle_.done()) co_return std::nullopt;
    co_return std::move(promise.value_);
  }

 private:
  using Handle = std::coroutine_handle<promise_type>;
  explicit AsyncGenerator(Handle handle) : handle_(handle) {}
  Handle handle_;
};

}  // namespace bulkhead
