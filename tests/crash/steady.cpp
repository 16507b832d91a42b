// A handler at a steady pace, for tests that count: {"chunks": how many to stream, "every_ms": how far apart}. It leaves a line
// in $LEDGER for its start ("id attempt"), and prints and logs one with each chunk. {"then": "crash"}: it ends by SIGSEGV;
// {"hold": a file}: it comes to its end when the file is there. Its twin is steady.py.

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>

#include <bulkhead/bulkhead.hpp>

using bulkhead::Job, bulkhead::Json;

namespace {

/// One write: whole or not at all, even if the process is killed.
void note(const std::string& line) {
  const int fd = open(std::getenv("LEDGER"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    throw std::runtime_error("the ledger cannot be written");
  close(fd);
}

bulkhead::Generator<Json> handler(Job& job) {
  note(job.id() + " " + std::to_string(job.attempt()) + " " + std::to_string(getpid()) + "\n");
  const auto& input = job.input().as_object();
  const auto number = [&](const char* name) { return input.contains(name) ? input.at(name).as_int64() : 0; };
  const std::chrono::milliseconds every(number("every_ms"));
  auto next = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < number("chunks"); ++i) {
    std::this_thread::sleep_until(next += every);
    if (job.stop_token().stop_requested()) co_return;
    std::cout << "printed " << i << " of " << job.id() << std::endl;
    job.log(bulkhead::Level::Info, "logged " + std::to_string(i) + " of " + job.id());
    co_yield i;
  }
  if (const Json* hold = input.if_contains("hold"))
    while (!std::filesystem::exists(std::string(hold->as_string())) && !job.stop_token().stop_requested())
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (input.contains("then")) std::raise(SIGSEGV);
}

}  // namespace

int main(int argc, char** argv) {
  return bulkhead::start({.handler = handler, .return_aggregate_stream = true}, argc, argv);
}
