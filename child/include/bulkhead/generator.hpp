// A coroutine that computes a sequence: `co_yield` hands out the next value, and the caller asks for one after another.
//
//     bulkhead::Generator<Json> handler(Job& job) {
//       for (auto& word : words(job.input())) co_yield word;
//     }

#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <optional>
#include <utility>

#include "bulkhead/json.hpp"

namespace bulkhead {

/// Runs only while next() runs, on the caller's thread. Destroying it while it is suspended destroys its local variables:
/// an abandoned stream cleans up after itself.
template <class T>
class [[nodiscard]] Generator {
 public:
  class promise_type {
   public:
    Generator get_return_object() { return Generator(Handle::from_promise(*this)); }
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
    /// Nothing to wait for in a generator that blocks: bulkhead::AsyncGenerator is the form that may co_await.
    template <class Awaited>
    void await_transform(Awaited&&) = delete;

   private:
    friend Generator;
    std::optional<T> value_;
    std::exception_ptr error_;
  };

  Generator(Generator&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Generator& operator=(Generator&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Generator() {
    if (handle_) handle_.destroy();
  }

  /// The next value, valid until the following call; nullptr at the end. An exception of the coroutine comes out here,
  /// and ends it.
  T* next() {
    if (!handle_ || handle_.done()) return nullptr;
    auto& promise = handle_.promise();
    promise.value_.reset();
    handle_.resume();
    if (promise.error_) std::rethrow_exception(std::exchange(promise.error_, nullptr));
    return handle_.done() ? nullptr : &*promise.value_;
  }

  /// For `for (auto& value : generator)`; once.
  class Iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = T;
    explicit Iterator(Generator& generator) : generator_(&generator), value_(generator.next()) {}
    T& operator*() const { return *value_; }
    Iterator& operator++() {
      value_ = generator_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return value_ == nullptr; }

   private:
    Generator* generator_;
    T* value_;
  };
  Iterator begin() { return Iterator(*this); }
  std::default_sentinel_t end() { return {}; }

 private:
  using Handle = std::coroutine_handle<promise_type>;
  explicit Generator(Handle handle) : handle_(handle) {}
  Handle handle_;
};

}  // namespace bulkhead
