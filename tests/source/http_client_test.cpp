// The client against real sockets: a server in the test that reads requests and answers what it is told to.

#include "supervisor/source/http_client.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>

#include "tests/source/server.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using testing::Server;

class HttpClientTest : public ::testing::Test {
 protected:
  void SetUp() override { setenv("no_proxy", "*", 1); }

  asio::io_context io;
  Server server{io};
  HttpClient client{io.get_executor(), 4};
  std::vector<HttpResult> results;

  HttpRequest to(const std::string& path) {
    HttpRequest request;
    request.url = server.url() + path;
    return request;
  }
  HttpClient::Number start(HttpRequest request) {
    return client.start(std::move(request), [this](HttpResult result) { results.push_back(std::move(result)); });
  }
  void run_until(const std::function<bool()>& there) {
    auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!there()) {
      io.run_one_for(1s);
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    }
  }
  HttpResult call(HttpRequest request) {
    results.clear();
    start(std::move(request));
    run_until([this] { return !results.empty(); });
    return results.empty() ? HttpResult() : results.front();
  }
};

TEST_F(HttpClientTest, GetsAnAnswerOverAKeptConnection) {
  for (int i = 0; i < 10; ++i) {
    HttpResult result = call(to("/x?y=1"));
    EXPECT_EQ(result.status, 200);
    EXPECT_EQ(result.error, "");
    EXPECT_EQ(result.body, "ok");
    EXPECT_FALSE(result.retry_after);
  }
  EXPECT_TRUE(server.requests.front().starts_with("GET /x?y=1 HTTP/1.1\r\n"));
  EXPECT_EQ(server.connections, 1);
}

TEST_F(HttpClientTest, SendsABodyInPieces) {
  std::string large(3'000'000, 'x');
  HttpRequest request = to("/post");
  request.method = "POST";
  request.headers = {"Content-Type: application/json", "X-Mine: 7"};
  request.body = {Payload::of("{\"a\":\""), Payload::of(large), Payload(), Payload::of("\"}")};
  EXPECT_EQ(call(std::move(request)).status, 200);
  const std::string& seen = server.requests.front();
  EXPECT_TRUE(seen.starts_with("POST /post HTTP/1.1\r\n"));
  EXPECT_NE(seen.find("\r\nX-Mine: 7\r\n"), std::string::npos);
  EXPECT_EQ(seen.find("Expect"), std::string::npos);
  EXPECT_TRUE(seen.ends_with("\r\n\r\n{\"a\":\"" + large + "\"}"));
}

TEST_F(HttpClientTest, KnowsOtherMethods) {
  for (std::string method : {"DELETE", "PUT", "POST"}) {
    HttpRequest request = to("/x");
    request.method = method;
    if (method == "PUT") request.body = {Payload::of("abc")};
    EXPECT_EQ(call(std::move(request)).status, 200);
    EXPECT_TRUE(server.requests.back().starts_with(method + " /x ")) << server.requests.back();
  }
  EXPECT_TRUE(server.requests[1].ends_with("\r\n\r\nabc"));
}

TEST_F(HttpClientTest, SaysStatusAndRetryAfter) {
  server.answer = [](const std::string&) {
    return "HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
  };
  HttpResult result = call(to("/"));
  EXPECT_EQ(result.status, 429);
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.retry_after, 7s);
}

TEST_F(HttpClientTest, FollowsRedirectsWithTheBodyWhenAskedTo) {
  server.answer = [](const std::string& request) -> std::string {
    if (request.starts_with("POST /b ")) return Server::ok("there");
    return "HTTP/1.1 303 See Other\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
  };
  HttpRequest request = to("/a");
  request.method = "POST";
  request.body = {Payload::of("body")};
  EXPECT_EQ(call(request).status, 303);
  request.redirects = 1;
  EXPECT_EQ(call(request).body, "there");
  EXPECT_TRUE(server.requests.back().ends_with("\r\n\r\nbody"));
}

TEST_F(HttpClientTest, NothingButHttpIsSpoken) {
  for (std::string url : {"file:///etc/hostname", "ftp://127.0.0.1/", "http://", ""}) {
    HttpRequest request;
    request.url = url;
    HttpResult result = call(std::move(request));
    EXPECT_TRUE(result.hopeless) << url;
    EXPECT_NE(result.error, "") << url;
  }
  server.answer = [](const std::string&) {
    return "HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\nContent-Length: 0\r\n\r\n";
  };
  HttpRequest request = to("/");
  request.redirects = 3;
  HttpResult result = call(std::move(request));
  EXPECT_NE(result.error, "");
  EXPECT_EQ(result.body, "");
  EXPECT_FALSE(result.hopeless);
}

TEST_F(HttpClientTest, ARefusedConnectionIsAnError) {
  tcp::acceptor taken(io, {asio::ip::address_v4::loopback(), 0}, false);
  std::uint16_t port = taken.local_endpoint().port();
  taken.close();
  HttpRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(port);
  HttpResult result = call(std::move(request));
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.error, "");
  EXPECT_FALSE(result.hopeless);
}

TEST_F(HttpClientTest, ATimeOutEndsACall) {
  server.answer = [](const std::string&) { return ""; };
  HttpRequest request = to("/");
  request.timeout = 100ms;
  HttpResult result = call(std::move(request));
  EXPECT_EQ(result.status, 0);
  EXPECT_NE(result.error, "");
}

TEST_F(HttpClientTest, AStatusIsKnownThoughTheRestNeverComes) {
  server.answer = [](const std::string&) {
    return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc";
  };
  HttpResult result = call(to("/"));
  EXPECT_EQ(result.status, 200);
  EXPECT_EQ(result.body, "abc");
  EXPECT_NE(result.error, "");
}

TEST_F(HttpClientTest, ALongAnswerIsCutOff) {
  server.answer = [](const std::string&) { return Server::ok(std::string(1 << 20, 'x')); };
  HttpRequest request = to("/");
  request.response_max = 1000;
  HttpResult result = call(std::move(request));
  EXPECT_EQ(result.status, 200);
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.body, std::string(1000, 'x'));
}

TEST_F(HttpClientTest, OnlySoManyAreUnderWay) {
  std::string held;
  server.answer = [&](const std::string&) { return held; };
  for (int i = 0; i < 10; ++i) start(to("/"));
  EXPECT_EQ(client.open(), 10U);
  run_until([&] { return server.requests.size() == 4; });
  for (int i = 0; i < 100; ++i) io.poll();
  EXPECT_EQ(server.requests.size(), 4U);
}

TEST_F(HttpClientTest, ACancelledCallIsNotToldAndMakesRoom) {
  server.answer = [](const std::string& request) { return request.starts_with("GET /hang") ? "" : Server::ok("ok"); };
  std::vector<HttpClient::Number> hanging;
  for (int i = 0; i < 4; ++i) hanging.push_back(start(to("/hang")));
  HttpClient::Number waiting = start(to("/never"));
  start(to("/waits"));
  run_until([&] { return server.requests.size() == 4; });
  client.cancel(waiting);
  client.cancel(hanging[1]);
  client.cancel(hanging[1]);
  run_until([&] { return !results.empty(); });
  EXPECT_EQ(results.front().status, 200);
  EXPECT_TRUE(server.requests.back().starts_with("GET /waits"));
  EXPECT_EQ(client.open(), 3U);
}

TEST_F(HttpClientTest, WhoIsToldMayStartAndCancelOthers) {
  HttpClient::Number other = 0;
  int told = 0;
  auto tell = [&](HttpResult) {
    ++told;
    client.cancel(other);
    if (told < 50) other = client.start(to("/next"), [&](HttpResult) { ++told; });
    if (told < 50) start(to("/more"));
  };
  for (int i = 0; i < 4; ++i) client.start(to("/first"), tell);
  run_until([&] { return told >= 4 && results.size() >= 4; });
}

TEST_F(HttpClientTest, ADestroyedClientCallsNobody) {
  server.answer = [](const std::string&) { return ""; };
  auto passing = std::make_unique<HttpClient>(io.get_executor(), 4);
  for (int i = 0; i < 8; ++i) passing->start(to("/"), [](HttpResult) { FAIL(); });
  run_until([&] { return server.requests.size() == 4; });
  passing.reset();
  for (int i = 0; i < 100; ++i) io.poll();
}

}  // namespace
}  // namespace bulkhead
