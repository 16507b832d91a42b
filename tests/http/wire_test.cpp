// HTTP itself, as hostile and as slow as it gets: framing, limits, pipelining, chunks, hang-ups, deadlines, shutdown.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/http/rig.hpp"

namespace bulkhead::http {
namespace {

using namespace std::string_literals;

const std::string kBody = R"({"input": {"n": 1}})";

std::string chunked(std::initializer_list<std::string> chunks, const std::string& trailer = "") {
  std::string text;
  for (const std::string& chunk : chunks) {
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", chunk.size());
    text += size + chunk + "\r\n";
  }
  return text + "0\r\n" + trailer + "\r\n";
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  while (times-- > 0) all += text;
  return all;
}

const std::string kChunkedHead = "POST /runsync HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

TEST(Wire, AConnectionIsKept) {
  Rig rig;
  Client client(rig);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(client.post("/runsync", kBody).status, 200);
  EXPECT_EQ(rig.on_thread([&] { return rig.server->connections(); }), 1U);
}

TEST(Wire, ConnectionCloseAndHttp10AreHonoured) {
  Rig rig;
  {
    Client client(rig);
    client.send(request("GET", "/health", "", "Connection: close\r\n"));
    Response response = client.receive();
    EXPECT_EQ(response.header("connection"), "close");
    EXPECT_TRUE(client.at_end());
  }
  {
    Client client(rig);
    client.send("GET /health HTTP/1.0\r\n\r\n");
    EXPECT_EQ(client.receive().header("connection"), "close");
    EXPECT_TRUE(client.at_end());
  }
  Client client(rig);
  for (int i = 0; i < 2; ++i) {
    client.send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(client.receive().header("connection"), "keep-alive");
  }
}

TEST(Wire, PipelinedRequestsAreAnsweredInTheirOrder) {
  Rig rig;
  Client client(rig);
  std::string all;
  for (int i = 0; i < 200; ++i) {
    all += request("POST", "/runsync", R"({"input":)" + std::to_string(i) + "}");
    if (i % 3 == 0) all += "\r\n";  // stray line ends between requests
  }
  client.send(all);
  for (int i = 0; i < 200; ++i) {
    EXPECT_NE(client.receive().body.find("\"output\":" + std::to_string(i) + ","), std::string::npos);
  }
}

TEST(Wire, APipelinedRequestWaitsForTheAnswerBeforeIt) {
  Rig rig;
  rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
  Client client(rig);
  client.send(request("POST", "/runsync", kBody) + request("GET", "/health"));
  rig.wait_for([&] { return rig.endpoint.waiters.size() == 1; });
  EXPECT_FALSE(client.readable(50));
  rig.on_thread([&] { rig.endpoint.finish(rig.endpoint.entries.begin()->first, Status::Completed, Payload::of("1")); });
  EXPECT_NE(client.receive().body.find("COMPLETED"), std::string::npos);
  EXPECT_NE(client.receive().body.find("workers"), std::string::npos);
}

TEST(Wire, ARequestMayArriveByteByByte) {
  Rig rig;
  Client client(rig);
  for (std::string text : {request("POST", "/runsync", kBody), kChunkedHead + chunked({"{\"in", "put\": 7}"})}) {
    for (char byte : text) client.send(std::string_view(&byte, 1));
    EXPECT_EQ(client.receive().status, 200);
  }
}

TEST(Wire, ChunkedBodiesArePutTogether) {
  Rig rig;
  Client client(rig);
  client.send(kChunkedHead + chunked({"{\"input\":", " {\"a\"", ": 1}}"}));
  EXPECT_NE(client.receive().body.find(R"("output":{"a": 1})"), std::string::npos);
  client.send(kChunkedHead + "5;ext=\"x\"\r\n{\"inp\r\n8\r\nut\":17}\n\r\n0\r\nAuthorization: x\r\n\r\n");
  EXPECT_NE(client.receive().body.find("\"output\":17"), std::string::npos);
  std::string large = "{\"input\":\"" + std::string(3'000'000, 'x') + "\"}";
  client.send(kChunkedHead + chunked({large.substr(0, 1'000'000), large.substr(1'000'000)}));
  EXPECT_NE(client.receive().body.find(std::string(3'000'000, 'x')), std::string::npos);
}

TEST(Wire, LargeBodiesAndResultsPass) {
  Rig rig;
  Client client(rig);
  std::string body = "{\"input\":\"" + std::string(19'000'000, 'x') + "\"}";
  client.send(request("POST", "/runsync", body));
  Response response = client.receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_GT(response.body.size(), 19'000'000U);
  EXPECT_EQ(client.get("/health").status, 200);
}

TEST(Wire, BodiesBeyondTheLimitAreRefusedAtOnce) {
  Rig rig(Limits{.run_body = 1000, .runsync_body = 2000});
  struct {
    const char* path;
    int limit;
  } rows[] = {{"/run", 1000}, {"/runsync", 2000}};
  for (auto& row : rows) {
    Client client(rig);
    std::string head = std::string("POST ") + row.path + " HTTP/1.1\r\nHost: x\r\nContent-Length: ";
    client.send(head + std::to_string(row.limit + 1) + "\r\n\r\n");  // and not a byte of the body
    Response response = client.receive();
    EXPECT_EQ(response.status, 413);
    EXPECT_NE(
        response.body.find("\"limit\":" + std::to_string(row.limit) + ",\"got\":" + std::to_string(row.limit + 1)),
        std::string::npos)
        << response.body;
  }
  Client exact(rig);
  EXPECT_EQ(exact.post("/run", "{\"input\":\"" + std::string(1000 - 12, 'x') + "\"}").status, 200);
  Client chunks(rig);
  chunks.send("POST /run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n" + std::string(500, ' ') +
              "\r\n1f5\r\n");
  Response response = chunks.receive();
  EXPECT_EQ(response.status, 413);
  EXPECT_NE(response.body.find("\"limit\":1000,\"got\":1001"), std::string::npos) << response.body;
  EXPECT_TRUE(chunks.at_end());
}

TEST(Wire, ARefusalIsReadByAClientThatIsStillSending) {
  Rig rig(Limits{.run_body = 1000});
  Client client(rig);
  client.send("POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n");
  client.try_send(std::string(5'000'000, 'x'));
  EXPECT_EQ(client.receive().status, 413);
}

TEST(Wire, ASmallRefusedBodyDoesNotCostTheConnection) {
  Rig rig;
  Client client(rig);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client.post("/nowhere", std::string(1000, 'x')).status, 404);
    EXPECT_EQ(client.post("/health", "{}").status, 405);
    EXPECT_EQ(client.post("/run", "{").status, 400);
  }
  EXPECT_EQ(client.get("/health").status, 200);
}

TEST(Wire, ExpectContinue) {
  Rig rig(Limits{.run_body = 1000});
  Client client(rig);
  client.send("POST /run HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
  EXPECT_EQ(client.receive().status, 100);
  client.send("{\"input\":1}");
  EXPECT_EQ(client.receive().status, 200);
  client.send("POST /run HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n{\"input\":1}");
  EXPECT_EQ(client.receive().status, 200);  // the body was there: no need to ask for it
  client.send("POST /run HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(client.receive().status, 413);
  EXPECT_TRUE(client.at_end());
  Client other(rig);
  other.send("POST /run HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 11\r\n\r\n{\"input\":1}");
  EXPECT_EQ(other.receive().status, 417);
}

struct Malformed {
  const char* what;
  std::string text;
  int status;
};

TEST(Wire, MalformedRequestsAreRefused) {
  const std::string head = "POST /run HTTP/1.1\r\nHost: x\r\n";
  const Malformed rows[] = {
      {"no version", "GET /health\r\n\r\n", 400},
      {"HTTP/0.9", "GET /health HTTP/0.9\r\n\r\n", 400},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
      {"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s + std::string(40, 'x') + "\r\n\r\n", 400},
      {"only spaces", "     \r\n\r\n", 400},
      {"no method", " /health HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"control in target", "GET /he\x01lth HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"space in target", "GET /he alth HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"bare LF", "GET /health HTTP/1.1\nHost: x\n\n", 400},
      {"no Host", "GET /health HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
      {"Host with a space", "GET /health HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {"Host with a path", "GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"Host with a user", "GET /health HTTP/1.1\r\nHost: me@a\r\n\r\n", 400},
      {"Host that is no text", "GET /health HTTP/1.1\r\nHost: \xFF\r\n\r\n", 400},
      {"Host of HTTP/1.0 too", "GET /health HTTP/1.0\r\nHost: a\\b\r\n\r\n", 400},
      {"folded into Host", "GET /health HTTP/1.1\r\nHost: x\r\n Authorization: y\r\n\r\n", 400},
      {"chunked in HTTP/1.0",
       "POST /run HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"field without colon", "GET /health HTTP/1.1\r\nHost x\r\n\r\n", 400},
      {"space before colon", "GET /health HTTP/1.1\r\nHost : x\r\n\r\n", 400},
      {"empty field name", "GET /health HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400},
      {"NUL in field", "GET /health HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"s, 400},
      {"negative length", head + "Content-Length: -1\r\n\r\n", 400},
      {"length not a number", head + "Content-Length: ten\r\n\r\n", 400},
      {"length with plus", head + "Content-Length: +5\r\n\r\n", 400},
      {"length in hex", head + "Content-Length: 0x10\r\n\r\n", 400},
      {"length beyond 64 bits", head + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {"huge length", head + "Content-Length: 18446744073709551615\r\n\r\n", 413},
      {"two lengths", head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
      {"length and chunked", head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"chunked and length", head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
      {"chunked twice", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"gzip, chunked", head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"gzip", head + "Transfer-Encoding: gzip\r\n\r\n", 501},
      {"chunked, identity", head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501},
      {"chunk size not hex", kChunkedHead + "xyz\r\n", 400},
      {"chunk size negative", kChunkedHead + "-5\r\nhello\r\n", 400},
      {"chunk size overflow", kChunkedHead + "fffffffffffffffff\r\n", 400},
      {"chunk size huge", kChunkedHead + "ffffffffffffffff\r\n", 413},
      {"chunk longer than said", kChunkedHead + "3\r\nhello\r\n0\r\n\r\n", 400},
      {"endless chunk extension", kChunkedHead + "5;" + std::string(20'000, 'a'), 431},
      {"chunk extension too large", kChunkedHead + "5;" + std::string(20'000, 'a') + "\r\nhello\r\n0\r\n\r\n", 431},
      {"trailer too large", kChunkedHead + chunked({kBody}, "A: " + std::string(20'000, 'a') + "\r\n"), 431},
      {"trailer of many fields", kChunkedHead + chunked({kBody}, repeated("A: b\r\n", 3'000)), 431},
      {"header too large", "GET /health HTTP/1.1\r\nHost: x\r\nA: " + std::string(20'000, 'a') + "\r\n\r\n", 431},
      {"target too large", "GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
      {"endless target", "GET /" + std::string(100'000, 'a'), 431},
  };
  Rig rig;
  for (const Malformed& row : rows) {
    SCOPED_TRACE(row.what);
    Client client(rig);
    client.send(row.text);
    Response response = client.receive();
    EXPECT_EQ(response.status, row.status) << response.body;
    EXPECT_TRUE(response.body.starts_with("{\"error\":{\"code\":\"")) << response.body;
    EXPECT_EQ(response.header("connection"), "close");
    EXPECT_TRUE(client.at_end());
  }
  rig.wait_for([&] { return rig.server->connections() == 0; });
  EXPECT_EQ(rig.on_thread([&] { return rig.endpoint.entries.size(); }), 0U);
}

TEST(Wire, EveryFormOfHostIsTaken) {
  Rig rig;
  Client client(rig);
  for (std::string host : {"", "x", "localhost:8000", "127.0.0.1:80", "[::1]:8000", "a-b_c.local", "%C3%A9.local"}) {
    client.send("GET /health HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    EXPECT_EQ(client.receive().status, 200) << host;
  }
}

TEST(Wire, ManySmallFieldsTooAreAHeader) {
  Rig rig;
  Client client(rig);
  client.send("GET /health HTTP/1.1\r\nHost: x\r\n");
  for (int i = 0; i < 20'000 && !client.readable(0); ++i) {
    if (!client.try_send("A: b\r\n")) break;
  }
  EXPECT_EQ(client.receive().status, 431);
}

TEST(Wire, AChunkedTrailerSaysNothing) {
  Keys keys;
  keys.add("me", "secret");
  Rig rig({}, std::move(keys));
  Client client(rig);
  client.send(kChunkedHead + chunked({kBody}, "Authorization: Bearer secret\r\n"));
  EXPECT_EQ(client.receive().status, 401);
}

TEST(Wire, ASlowRequestGets408) {
  Rig rig(Limits{.request = milliseconds(100)});
  for (std::string begun : {"POST /run HT", "POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{\"in"}) {
    Client client(rig);
    client.send(begun);
    Response response = client.receive();
    EXPECT_EQ(response.status, 408);
    EXPECT_NE(response.body.find("\"limit\":100"), std::string::npos);
    EXPECT_TRUE(client.at_end());
  }
}

TEST(Wire, AConnectionThatSaysNothingIsClosed) {
  Rig rig(Limits{.request = milliseconds(100), .idle = milliseconds(100)});
  Client silent(rig);
  EXPECT_TRUE(silent.at_end());
  Client idle(rig);
  EXPECT_EQ(idle.get("/health").status, 200);
  EXPECT_TRUE(idle.at_end());
}

TEST(Wire, AClientThatDoesNotReadIsLetGo) {
  Rig rig(Limits{.request = milliseconds(100)});
  rig.on_thread([&] { rig.endpoint.health_view = {}; });
  Client client(rig);
  std::string body = "{\"input\":\"" + std::string(15'000'000, 'x') + "\"}";
  client.try_send(request("POST", "/runsync", body));
  rig.wait_for([&] { return rig.server->connections() == 0; });
}

TEST(Wire, AWaitIsGivenUpWhenTheClientHangsUp) {
  for (const char* address : {"127.0.0.1:0", "unix:/tmp/bulkhead-http-test.sock"}) {
    SCOPED_TRACE(address);
    Rig rig({}, {}, address);
    rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
    Client client(rig);
    client.send(request("POST", "/runsync", kBody));
    rig.wait_for([&] { return rig.endpoint.waiters.size() == 1; });
    client.close();
    rig.wait_for([&] { return rig.endpoint.stopped == 1 && rig.server->connections() == 0; });
  }
}

TEST(Wire, AClientThatClosedOnlyItsSideGetsItsAnswer) {
  Rig rig;
  rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
  Client client(rig);
  client.send(request("POST", "/runsync", kBody));
  client.half_close();
  EXPECT_EQ(client.receive().status, 100);  // how the server finds out that it is still there
  rig.on_thread([&] { rig.endpoint.finish(rig.endpoint.entries.begin()->first, Status::Completed, Payload::of("1")); });
  EXPECT_EQ(client.receive().status, 200);
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(rig.on_thread([&] { return rig.endpoint.stopped; }), 0);
}

TEST(Wire, ClosingOnesSideBehindPipelinedRequestsLosesNone) {
  Rig rig;
  Client client(rig);
  client.send(request("POST", "/runsync", kBody) + request("GET", "/health") + request("GET", "/health"));
  client.half_close();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.receive().status, 200);
  EXPECT_TRUE(client.at_end());
}

TEST(Wire, ClosingInTheMiddleOfARequestIs400) {
  Rig rig;
  for (std::string begun : {"POST /run HT", "POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{\"in",
                            "POST /run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"}) {
    Client client(rig);
    client.send(begun);
    client.half_close();
    EXPECT_EQ(client.receive().status, 400);
    EXPECT_TRUE(client.at_end());
  }
}

TEST(Wire, TooManyConnectionsAreToldSo) {
  Rig rig(Limits{.connections = 2});
  auto first = std::make_unique<Client>(rig);
  Client second(rig);
  EXPECT_EQ(first->get("/health").status, 200);
  EXPECT_EQ(second.get("/health").status, 200);
  {
    Client third(rig);
    Response response = third.get("/health");
    EXPECT_EQ(response.status, 429);
    EXPECT_NE(response.body.find("\"limit\":2"), std::string::npos);
    EXPECT_TRUE(third.at_end());
  }
  first.reset();
  rig.wait_for([&] { return rig.server->connections() == 1; });
  Client fourth(rig);
  EXPECT_EQ(fourth.get("/health").status, 200);
}

TEST(Wire, DrainingAnswersWhatIsUnderWayAndEnds) {
  Rig rig;
  rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
  Client idle(rig);
  EXPECT_EQ(idle.get("/health").status, 200);
  Client waiting(rig);
  waiting.send(request("POST", "/runsync", kBody));
  rig.wait_for([&] { return rig.endpoint.waiters.size() == 1; });
  std::promise<void> drained;
  rig.on_thread([&] { rig.server->drain([&] { drained.set_value(); }); });
  EXPECT_TRUE(idle.at_end());
  rig.on_thread([&] { rig.endpoint.finish(rig.endpoint.entries.begin()->first, Status::Completed, Payload::of("1")); });
  Response response = waiting.receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("connection"), "close");
  waiting.close();
  drained.get_future().wait();
}

TEST(Wire, StoppingEndsEverythingAtOnce) {
  Rig rig;
  rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
  Client client(rig);
  client.send(request("POST", "/runsync", kBody));
  rig.wait_for([&] { return rig.endpoint.waiters.size() == 1; });
  rig.on_thread([&] { rig.server->stop(); });
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(rig.on_thread([&] { return rig.endpoint.stopped; }), 1);
}

TEST(Wire, AnAnswerThatComesAfterTheServerWentIsHarmless) {
  Rig rig;
  rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
  Client client(rig);
  client.send(request("POST", "/runsync", kBody));
  rig.wait_for([&] { return rig.endpoint.waiters.size() == 1; });
  rig.on_thread([&] {
    auto waiters = rig.endpoint.waiters;  // as an endpoint that had the answer already under way
    rig.server.reset();
    for (auto& [number, waiter] : waiters) waiter.second(nullptr);
  });
}

TEST(Wire, AStaleUnixSocketIsReplacedAndALiveOneIsNot) {
  std::string path = "/tmp/bulkhead-http-stale.sock";
  auto first = std::make_unique<Rig>(Limits{}, Keys{}, "unix:" + path);
  EXPECT_THROW(Rig(Limits{}, Keys{}, "unix:" + path), std::system_error);
  Client client(*first);
  EXPECT_EQ(client.get("/health").status, 200);
  std::filesystem::rename(path, path + ".kept");
  first.reset();
  EXPECT_TRUE(std::filesystem::exists(path + ".kept"));  // dead: nobody listens any more
  std::filesystem::rename(path + ".kept", path);
  Rig second({}, {}, "unix:" + path);
  Client again(second);
  EXPECT_EQ(again.get("/health").status, 200);
}

TEST(Wire, AnInheritedSocketIsServed) {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof where;
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&where), size), 0);
  EXPECT_THROW(Rig({}, {}, "fd:" + std::to_string(fd)), std::system_error);  // nobody listens on it
  ASSERT_EQ(::listen(fd, 5), 0);
  ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&where), &size), 0);
  Rig rig({}, {}, "fd:" + std::to_string(fd));
  int client = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&where), sizeof where), 0);
  std::string text = request("GET", "/health");
  ASSERT_EQ(::send(client, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  char answer[16] = {};
  EXPECT_GT(::recv(client, answer, sizeof answer - 1, 0), 0);
  EXPECT_TRUE(std::string(answer).starts_with("HTTP/1.1 200 "));
  ::close(client);
}

TEST(Wire, WithoutKeysOnlyThisMachineIsListenedTo) {
  EXPECT_THROW(Rig({}, {}, "0.0.0.0:0"), std::system_error);
  EXPECT_THROW(Rig({}, {}, "[::]:0"), std::system_error);
  Keys keys;
  keys.add("me", "secret");
  Rig rig({}, std::move(keys), "0.0.0.0:0");
  Client client(rig);
  EXPECT_EQ(client.get("/health").status, 401);
}

TEST(Wire, AnAddressInUseIsNamed) {
  Rig rig;
  try {
    Rig second({}, {}, rig.address());
    FAIL();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code().value(), EADDRINUSE);
    EXPECT_NE(std::string(error.what()).find(rig.address()), std::string::npos);
  }
}

}  // namespace
}  // namespace bulkhead::http
