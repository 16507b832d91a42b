// The HTTP server alone, before an endpoint in memory: what HTTP costs when nothing else does.
//   bare_server [HOST:PORT]      then: wrk -t1 -c32 -d5 -s bench/http/runsync.lua http://127.0.0.1:8077/runsync

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <cstdio>

#include "supervisor/http/server.hpp"
#include "tests/http/fake_endpoint.hpp"

namespace {

struct SystemClock final : bulkhead::Clock {
  bulkhead::Instant now() const override {
    auto wall = std::chrono::system_clock::now().time_since_epoch();
    return {std::chrono::steady_clock::now(), std::chrono::duration_cast<bulkhead::milliseconds>(wall).count()};
  }
};

}  // namespace

int main(int argc, char** argv) {
  boost::asio::io_context io(1);
  bulkhead::http::FakeEndpoint endpoint;
  endpoint.remember = false;
  SystemClock clock;
  bulkhead::http::Server server(io, endpoint, clock, {.listen = {argc > 1 ? argv[1] : "127.0.0.1:8077"}});
  for (const std::string& address : server.listen()) std::printf("listening on %s\n", address.c_str());
  std::fflush(stdout);
  boost::asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([&](auto, int) { server.drain([&] { io.stop(); }); });
  io.run();
}
