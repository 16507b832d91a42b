// Coroutines: many jobs at once in one process, each of which waits for many things at once.
//
// A job asks for `count` fetches of one HTTP resource, or for `count` timers, all at the same time. Nothing here blocks,
// so one thread serves all jobs; a cancelled job's operations end with operation_aborted by themselves.

#include <chrono>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <bulkhead/bulkhead.hpp>

namespace asio = boost::asio;
using asio::use_awaitable;
using bulkhead::Job, bulkhead::Json;

namespace {

constexpr int kJobsAtOnce = 64;
constexpr std::int64_t kMaxCount = 10'000;
constexpr std::size_t kMaxResponse = 1 << 20;
constexpr std::size_t kShown = 200;

struct Request {
  std::string host = "127.0.0.1";
  std::string port = "80";
  std::string path = "/";
  std::chrono::milliseconds sleep{0};
};

/// One GET, to the end of the connection.
asio::awaitable<Json> fetch(const Request& request) {
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::resolver resolver(executor);
  const auto endpoints = co_await resolver.async_resolve(request.host, request.port, use_awaitable);
  asio::ip::tcp::socket socket(executor);
  co_await socket.async_connect(*endpoints.begin(), use_awaitable);
  const std::string question = "GET " + request.path + " HTTP/1.0\r\nHost: " + request.host + "\r\n\r\n";
  co_await asio::async_write(socket, asio::buffer(question), use_awaitable);
  std::string answer;
  boost::system::error_code end;
  co_await asio::async_read(socket, asio::dynamic_buffer(answer, kMaxResponse),
                            asio::redirect_error(use_awaitable, end));
  if (end != asio::error::eof && end) throw boost::system::system_error(end, "reading " + request.path);

  const std::size_t space = answer.find(' ');
  const std::size_t blank = answer.find("\r\n\r\n");
  if (answer.compare(0, 5, "HTTP/") != 0 || space == answer.npos || blank == answer.npos)
    throw std::runtime_error("the answer from " + request.host + " is not HTTP");
  const std::string body = answer.substr(blank + 4);
  Json result{{"status", std::stoi(answer.substr(space + 1, 3))},
              {"bytes", body.size()},
              {"begins", bulkhead::valid_utf8(body.substr(0, kShown))}};
  co_return result;
}

asio::awaitable<Json> sleep(const Request& request) {
  asio::steady_timer timer(co_await asio::this_coro::executor, request.sleep);
  co_await timer.async_wait(use_awaitable);
  Json result{{"slept_ms", request.sleep.count()}};
  co_return result;
}

/// All at once. The first failure cancels the others and is thrown; so does a cancel of the job.
asio::awaitable<Json> at_once(std::size_t count, const Request& request, bool timers) {
  const auto executor = co_await asio::this_coro::executor;
  using Operation = decltype(asio::co_spawn(executor, fetch(request), asio::deferred));
  std::vector<Operation> operations;
  for (std::size_t i = 0; i < count; ++i)
    operations.push_back(asio::co_spawn(executor, timers ? sleep(request) : fetch(request), asio::deferred));
  auto [order, errors, values] = co_await asio::experimental::make_parallel_group(std::move(operations))
                                     .async_wait(asio::experimental::wait_for_one_error(), use_awaitable);
  for (const std::size_t i : order)
    if (errors[i]) std::rethrow_exception(errors[i]);
  Json results(boost::json::array(values.begin(), values.end()));
  co_return results;
}

asio::awaitable<Json> handler(Job& job) {
  Request request;
  std::int64_t count = 1;
  const auto& input = job.input().as_object();
  if (const Json* given = input.if_contains("host")) request.host = given->as_string();
  if (const Json* given = input.if_contains("port")) request.port = std::to_string(given->to_number<std::uint16_t>());
  if (const Json* given = input.if_contains("path")) request.path = given->as_string();
  if (const Json* given = input.if_contains("count")) count = given->as_int64();
  const Json* sleep_ms = input.if_contains("sleep_ms");
  if (sleep_ms != nullptr) request.sleep = std::chrono::milliseconds(sleep_ms->as_int64());
  if (count < 1 || count > kMaxCount) throw bulkhead::Error("count must be 1 to 10000");

  const auto began = std::chrono::steady_clock::now();
  Json results = co_await at_once(static_cast<std::size_t>(count), request, sleep_ms != nullptr);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  Json output{{"results", std::move(results)}, {"took_ms", took.count()}};
  co_return output;
}

}  // namespace

int main(int argc, char** argv) {
  return bulkhead::start({.handler = handler, .concurrency_modifier = [](int) { return kJobsAtOnce; }}, argc, argv);
}
