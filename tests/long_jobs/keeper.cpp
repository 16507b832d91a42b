// The same as keeper.py in C++: saves a checkpoint with every step, and notes in $LEDGER each one that was kept.

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
void note(const Job& job, const char* what, std::int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string line = job.id() + " " + std::to_string(job.attempt()) + " " + what + " " + std::to_string(step) +
                           " " + std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()) +
                           "\n";
  const int fd = open(std::getenv("LEDGER"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    throw std::runtime_error("the ledger cannot be written");
  close(fd);
}

Json handler(Job& job) {
  const auto& input = job.input().as_object();
  std::int64_t step = 0;
  if (const auto checkpoint = job.checkpoint()) step = checkpoint->as_object().at("step").as_int64();
  note(job, "begin", step);
  while (step < input.at("steps").as_int64()) {
    ++step;
    if (job.save_checkpoint(Json(boost::json::object{{"step", step}}))) note(job, "kept", step);
    std::this_thread::sleep_for(std::chrono::milliseconds(input.at("ms").as_int64()));
  }
  return step;
}

}  // namespace

int main(int argc, char** argv) { return bulkhead::start({.handler = handler}, argc, argv); }
