// A real server on a real socket before a fake endpoint, and a client that can say anything.

#pragma once

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <future>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "supervisor/http/server.hpp"
#include "tests/http/fake_endpoint.hpp"

namespace bulkhead::http {

class FakeClock final : public Clock {
 public:
  std::atomic<std::int64_t> wall_ms{1'700'000'000'000};
  Instant now() const override { return {std::chrono::steady_clock::time_point(milliseconds(wall_ms)), wall_ms}; }
};

class Rig {
 public:
  explicit Rig(Limits limits = {}, Keys keys = {}, std::string address = "127.0.0.1:0",
               std::vector<RateLimit> rate_limits = {});
  ~Rig();

  /// Runs it on the server's thread and waits for it.
  template <class Action>
  auto on_thread(Action action) {
    std::packaged_task<decltype(action())()> task(std::move(action));
    auto result = task.get_future();
    boost::asio::post(io_, std::move(task));
    return result.get();
  }
  /// Waits until `condition`, asked on the server's thread, holds.
  template <class Condition>
  void wait_for(Condition condition) {
    for (int i = 0; i < 2000; ++i) {
      if (on_thread(condition)) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    FAIL() << "what was waited for did not happen in 10 s";
  }

  const std::string& address() const { return address_; }

 private:
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};

 public:
  FakeClock clock;
  FakeEndpoint endpoint;  ///< touched on the server's thread only
  std::unique_ptr<Server> server;

 private:
  std::string address_;
  std::thread thread_;
};

struct Response {
  int status = 0;                              ///< 0: the connection ended before one came
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;

  std::string header(const std::string& name) const {
    auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

class Client {
 public:
  explicit Client(const Rig& rig);
  ~Client();
  Client(const Client&) = delete;

  void send(std::string_view bytes);
  /// Sends what a closed connection lets through; false when it does not take all.
  bool try_send(std::string_view bytes);
  /// The next response; interim ones (1xx) are returned too. `head_only`: it was a HEAD.
  Response receive(bool head_only = false);
  /// The next chunk of a chunked answer; empty at its end.
  std::string receive_chunk();
  /// All that comes until the server closes.
  std::string receive_all();
  /// Whether the server has closed and nothing is left.
  bool at_end();
  /// Shuts down our side; the server's answer may still come.
  void half_close();
  /// Closes, at once and wholly.
  void close();
  /// Whether something to read came within a short while.
  bool readable(int milliseconds);

  Response post(const std::string& path, const std::string& body);
  Response get(const std::string& path);

 private:
  bool fill();

  int fd_ = -1;
  std::string buffer_;
};

std::string request(const std::string& method, const std::string& path, const std::string& body = "",
                    const std::string& headers = "");

/// The value of "id" in a body.
std::string id_of(const std::string& body);

}  // namespace bulkhead::http
