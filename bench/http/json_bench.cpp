// Validating and cutting a body: our scanner beside what the libraries offer for the same purpose.

#include <simdjson.h>

#include <boost/json.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>

#include "supervisor/http/submission.hpp"

namespace {

volatile std::size_t g_sink;

/// Nanoseconds per call: the best of several rounds, because other programs disturb only upwards.
double measure(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  double best = 1e18;
  for (int round = 0; round < 7; ++round) {
    int calls = 0;
    auto begin = Clock::now();
    auto end = begin;
    do {
      call();
      ++calls;
      end = Clock::now();
    } while (end - begin < std::chrono::milliseconds(60));
    best = std::min(best, std::chrono::duration<double, std::nano>(end - begin).count() / calls);
  }
  return best;
}

void compare(const char* name, const std::string& body) {
  bulkhead::Policy policy;
  double ours = measure([&] { g_sink = std::get<0>(bulkhead::http::parse_submission(body, policy)).input.size(); });

  // A request's body has to be copied for simdjson, which reads beyond the end; a warm parser keeps its tape.
  simdjson::dom::parser parser;
  double dom = measure([&] {
    simdjson::padded_string padded(body);
    g_sink = parser.parse(padded).is_object();
  });
  double boost_json = measure([&] { g_sink = boost::json::parse(body).as_object().size(); });

  std::printf("%-22s %9zu bytes  ours %10.0f ns (%5.2f GB/s)  simdjson DOM %4.2fx  Boost.JSON %5.2fx\n", name,
              body.size(), ours, static_cast<double>(body.size()) / ours, dom / ours, boost_json / ours);
}

}  // namespace

int main() {
  compare("small prompt", R"({"input": {"prompt": "the quick brown fox jumps over the lazy dog", "n": 1}})");
  compare("chat", R"({"input": {"messages": [{"role": "system", "content": "You are helpful."}, {"role": "user",)"
                  R"("content": "Say \"hello\" in French, and in German \u00e9."}], "temperature": 0.7, "top_p": 1,)"
                  R"("max_tokens": 256, "stream": false}, "policy": {"executionTimeout": 60000}, "webhook":)"
                  R"("https://example.org/hook"})");
  compare("base64 image", "{\"input\": {\"image\": \"" + std::string(10 << 20, 'Q') + "\"}}");
  std::string numbers = "{\"input\": [0";
  for (int i = 1; i < 200'000; ++i) numbers += "," + std::to_string(i * 0.37);
  compare("numbers", numbers + "]}");
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "\xC3\xA9t\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC ";
  compare("text beyond ASCII", "{\"input\": \"" + text + "\"}");
}
