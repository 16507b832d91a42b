// What the journal's tests share: a directory that goes away, a loop to run the callbacks on, jobs to speak of.

#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "supervisor/journal/store.hpp"

namespace bulkhead::journal::testing {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    // In memory where there is such a place: these tests are not about the real disk, and wait for it often.
    std::filesystem::path parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
    std::string name = (parent / "bulkhead-journal-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// The event loop: sleeps until the journal wakes it.
class Loop {
 public:
  std::function<void()> waker() {
    return [this] {
      std::lock_guard lock(mutex_);
      woken_ = true;
      changed_.notify_one();
    };
  }

  /// Polls until `done` says so; false if that takes impossibly long.
  bool run(Store& store, const std::function<bool()>& done) {
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (;;) {
      store.poll();
      if (done()) return true;
      std::unique_lock lock(mutex_);
      if (!changed_.wait_until(lock, limit, [this] { return woken_; })) return false;
      woken_ = false;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
};

/// For what the journal does by itself when it is left alone: nothing announces it.
inline bool eventually(const std::function<bool()>& done) {
  auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!done()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

inline Payload payload(std::string text) { return Payload::of(std::move(text)); }

inline Job make_job(std::string id, std::string input = R"({"n":1})") {
  Job job;
  job.id = std::move(id);
  job.input = payload(std::move(input));
  job.submitted_ms = 1'700'000'000'000;
  return job;
}

inline Outcome completed(std::string output, std::int64_t finished_ms = 0) {
  Outcome outcome;
  outcome.status = Status::Completed;
  outcome.output = payload(std::move(output));
  outcome.attempts = 1;
  outcome.finished_ms = finished_ms;
  return outcome;
}

inline Outcome failed(std::string error, std::int64_t finished_ms = 0) {
  Outcome outcome;
  outcome.status = Status::Failed;
  outcome.error = payload(std::move(error));
  outcome.error_type = "WorkerLost";
  outcome.attempts = 1;
  outcome.finished_ms = finished_ms;
  return outcome;
}

/// A store and its loop, with each call made to wait for its answer.
class Session {
 public:
  explicit Session(Options options) : store_(open(std::move(options), loop_.waker())) {}

  Store& operator*() { return *store_; }
  Store* operator->() { return store_.get(); }
  Loop& loop() { return loop_; }

  std::error_code accept(const Job& job) {
    return wait([&](Journal::Written written) { store_->accept(job, std::move(written)); });
  }
  std::error_code start(const Job& job, RunNumber run, int attempt = 1, std::string worker = "worker-1") {
    return wait([&](Journal::Written written) { store_->start(job, run, attempt, worker, 1'000, std::move(written)); });
  }
  std::error_code finish(const Job& job, const Outcome& outcome) {
    return wait([&](Journal::Written written) { store_->finish(job, outcome, std::move(written)); });
  }
  std::error_code chunk(const Job& job, RunNumber run, std::uint32_t number, std::string text) {
    return wait([&](Journal::Written written) { store_->chunk(job, run, number, payload(text), std::move(written)); });
  }
  std::error_code checkpoint(const Job& job, RunNumber run, std::string text) {
    return wait([&](Journal::Written written) { store_->checkpoint(job, run, payload(text), std::move(written)); });
  }
  std::optional<Remembered> lookup(std::string_view id) {
    std::optional<std::optional<Remembered>> answer;
    store_->lookup(id, [&](std::optional<Remembered> found) { answer = std::move(found); });
    EXPECT_TRUE(loop_.run(*store_, [&] { return answer.has_value(); }));
    return answer.value_or(std::nullopt);
  }
  std::optional<Remembered> lookup_unsettled(std::string_view id) {
    std::optional<std::optional<Remembered>> answer;
    store_->lookup_unsettled(id, [&](std::optional<Remembered> found) { answer = std::move(found); });
    EXPECT_TRUE(loop_.run(*store_, [&] { return answer.has_value(); }));
    return answer.value_or(std::nullopt);
  }
  std::vector<StoredChunk> chunks(std::string_view id, std::uint32_t from = 0, std::size_t max_bytes = SIZE_MAX) {
    std::optional<std::vector<StoredChunk>> answer;
    store_->chunks(id, from, max_bytes, [&](std::vector<StoredChunk> found) { answer = std::move(found); });
    EXPECT_TRUE(loop_.run(*store_, [&] { return answer.has_value(); }));
    return answer.value_or(std::vector<StoredChunk>{});
  }
  std::vector<std::uint32_t> unread(std::string_view id, std::uint32_t after = 0) {
    std::optional<std::vector<std::uint32_t>> answer;
    store_->unread(id, after, SIZE_MAX, [&](std::vector<StoredChunk> found) {
      answer.emplace();
      for (const StoredChunk& chunk : found) answer->push_back(chunk.number);
    });
    EXPECT_TRUE(loop_.run(*store_, [&] { return answer.has_value(); }));
    return answer.value_or(std::vector<std::uint32_t>{});
  }
  /// Until everything queued has been written, the silent operations too.
  void drain() {
    EXPECT_TRUE(loop_.run(*store_, [&] { return store_->backlog() == 0; }));
  }
  bool run(const std::function<bool()>& done) { return loop_.run(*store_, done); }

 private:
  std::error_code wait(const std::function<void(Journal::Written)>& call) {
    std::optional<std::error_code> answer;
    call([&](std::error_code error) {
      EXPECT_FALSE(answer.has_value()) << "called back twice";
      answer = error;
    });
    EXPECT_TRUE(loop_.run(*store_, [&] { return answer.has_value(); }));
    return answer.value_or(std::make_error_code(std::errc::timed_out));
  }

  Loop loop_;
  std::unique_ptr<Store> store_;
};

}  // namespace bulkhead::journal::testing
