// A handler that leaves a line in the file $LEDGER for every start of a job ("id attempt"), so that a test can count how
// often each job ran, whatever died meanwhile. Input: {"chunks": how many to stream, "ms": how long to take}.

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
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
  note(job.id() + " " + std::to_string(job.attempt()) + "\n");
  const auto& input = job.input().as_object();
  if (const Json* ms = input.if_contains("ms")) std::this_thread::sleep_for(std::chrono::milliseconds(ms->as_int64()));
  const Json* chunks = input.if_contains("chunks");
  for (std::int64_t i = 0; chunks != nullptr && i < chunks->as_int64(); ++i) co_yield i;
}

}  // namespace

int main(int argc, char** argv) {
  return bulkhead::start({.handler = handler, .return_aggregate_stream = true}, argc, argv);
}
