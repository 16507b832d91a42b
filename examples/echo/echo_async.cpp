// The same as a coroutine: up to 32 jobs at once in one process, or as many as the environment says.

#include <cstdlib>

#include <bulkhead/bulkhead.hpp>

boost::asio::awaitable<bulkhead::RawJson> handler(bulkhead::Job& job) {
  co_return bulkhead::RawJson{std::string(job.raw_input())};
}

int main(int argc, char** argv) {
  const char* given = std::getenv("ECHO_CONCURRENCY");
  const int concurrency = given == nullptr ? 32 : std::atoi(given);
  return bulkhead::start({.handler = handler, .concurrency_modifier = [=](int) { return concurrency; }}, argc, argv);
}
