// A generator: streams a text word by word, as a language model would.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <sstream>
#include <stop_token>
#include <string>

#include <bulkhead/bulkhead.hpp>

using bulkhead::Job, bulkhead::Json;

namespace {

constexpr char kDefaultText[] = "The ship was divided into compartments, so that a leak in one would not sink her.";

/// Sleeps, but not through a stop. False when the job should stop.
bool sleep(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  if (time.count() > 0) never.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

bulkhead::Generator<Json> handler(Job& job) {
  std::string text = kDefaultText;
  std::chrono::milliseconds delay{0};
  std::int64_t repeat = 1;
  if (const auto* input = job.input().if_object()) {
    if (const Json* given = input->if_contains("text")) text = given->as_string();
    if (const Json* given = input->if_contains("delay_ms")) delay = std::chrono::milliseconds(given->as_int64());
    if (const Json* given = input->if_contains("repeat")) repeat = given->as_int64();
  }
  for (std::int64_t round = 0; round < repeat; ++round) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      if (!sleep(delay, job.stop_token())) co_return;
      co_yield word;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bulkhead::start({.handler = handler, .return_aggregate_stream = true}, argc, argv);
}
