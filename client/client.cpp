// Each command is one function: it asks, prints, and turns what became of the job into the exit code. Standard output
// carries the answer and nothing else, each line of it the moment it is there; what is said to a person goes to standard
// error. From the first request on, Ctrl-C is taken by Interrupts, so that the last word can say what goes on without us.

#include "client/client.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>
#include <utility>

#include "client/endpoint.hpp"
#include "client/input.hpp"
#include "client/json_text.hpp"

namespace bulkhead::client {

using namespace std::chrono_literals;

namespace {

void say(const std::string& line) { std::fprintf(stderr, "bulkhead: %s\n", line.c_str()); }

int print(const Exit& exit) {
  std::fputs(exit.text.c_str(), exit.code == kOk ? stdout : stderr);
  return exit.code;
}

/// A line of the answer, at once: somebody may be reading along.
void print_line(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

int finish(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  say(std::string("standard output cannot be written: ") + std::strerror(errno));
  return kBroken;
}

int code_of(std::string_view status) {
  if (status == "FAILED") return kJobFailed;
  if (status == "CANCELLED" || status == "TIMED_OUT") return kJobStopped;
  return kOk;
}

/// What became of a job that did not end well, on one line where it can be.
void tell_end(std::string_view job, const std::string& status) {
  std::string id = plain(member(job, "id"));
  std::string error = plain(member(job, "error"));
  // The error is a text, and that text is an object when the handler threw or crashed.
  std::string type = plain(member(error, "error_type"));
  std::string message = plain(member(error, "error_message"));
  if (message.empty()) message = error;
  std::string what = (type.empty() ? "" : type + ": ") + message;
  say("job " + id + " is " + status + (what.empty() ? "" : ": " + what));
  if (status == "FAILED") say("all that is known of it: bulkhead status " + id);
}

/// Unlikely to be anybody else's: 128 random bits.
std::string random_key() {
  std::random_device random;
  std::string key = "cli-";
  for (int i = 0; i < 4; ++i) {
    std::array<char, 9> digits{};
    std::snprintf(digits.data(), digits.size(), "%08x", random());
    key += digits.data();
  }
  return key;
}

Clock::time_point deadline_of(const Options& options) {
  milliseconds usual = options.wait || options.stream ? milliseconds(24h) : milliseconds(1min);
  return Clock::now() + options.timeout.value_or(usual);
}

int submit(const Options& options) {
  std::string note;
  auto body = request_body(options, note);
  if (auto* exit = std::get_if<Exit>(&body)) return print(*exit);
  if (!note.empty()) say("note: " + note);

  Interrupts interrupts;  // not before: what is typed in may be given up like anywhere
  Endpoint endpoint(options, interrupts, deadline_of(options), say);
  std::string key = options.idempotency_key.empty() ? random_key() : options.idempotency_key;
  auto submitted = endpoint.submit(std::get<std::string>(body), key);
  if (auto* exit = std::get_if<Exit>(&submitted)) return print(*exit);
  const auto& id = std::get<std::string>(submitted);
  if (!options.wait && !options.stream) {
    print_line(id);
    return finish(kOk);
  }

  say("job " + id + " is submitted");
  bool chunks = false;
  auto print_chunk = [&](std::string_view chunk) {
    chunks = true;
    print_line(one_line(chunk));
  };
  auto ended = options.stream ? endpoint.follow(id, print_chunk) : endpoint.wait(id);
  if (auto* exit = std::get_if<Exit>(&ended)) return finish(print(*exit));
  const auto& job = std::get<std::string>(ended);
  std::string status = plain(member(job, "status"));
  if (status != "COMPLETED") tell_end(job, status);
  // With --stream the output is the chunks once more, or empty; a handler that does not stream has only this.
  std::string output = one_line(member(job, "output"));
  bool streamed = options.stream && (chunks || output == "[]");
  if (!output.empty() && !streamed) print_line(output);
  return finish(code_of(status));
}

int status(const Options& options) {
  Interrupts interrupts;
  Endpoint endpoint(options, interrupts, deadline_of(options), say);
  auto answer = options.wait ? endpoint.wait(options.id) : endpoint.ask(false, "/status/" + options.id);
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& job = std::get<std::string>(answer);
  print_line(one_line(job));
  return finish(code_of(plain(member(job, "status"))));
}

int cancel(const Options& options) {
  Interrupts interrupts;
  Endpoint endpoint(options, interrupts, deadline_of(options), say);
  auto answer = endpoint.ask(true, "/cancel/" + options.id);
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& state = std::get<std::string>(answer);
  std::string status = plain(member(state, "status"));
  if (status != "CANCELLED") say("job " + options.id + " had ended before: " + status);
  print_line(one_line(state));
  return finish(kOk);
}

int health(const Options& options) {
  Interrupts interrupts;
  Endpoint endpoint(options, interrupts, deadline_of(options), say);
  auto answer = endpoint.ask(false, "/health");
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& counts = std::get<std::string>(answer);
  print_line(one_line(counts));
  std::string_view ready = member(member(counts, "workers"), "ready");
  if (ready == "0") say("no handler process is ready");
  return finish(ready == "0" ? kJobFailed : kOk);
}

int dead(const Options& options) {
  Interrupts interrupts;
  Endpoint endpoint(options, interrupts, deadline_of(options), say);
  const bool changes = options.action != "list" && options.action != "show";
  std::string path = "/bulkhead/dead";
  if (options.action == "clear") path = "/bulkhead/quarantine/clear";
  if (!options.id.empty()) path += "/" + options.id;
  if (changes && !options.id.empty()) path += "/" + options.action;
  auto answer = endpoint.ask(changes, path);
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& body = std::get<std::string>(answer);
  if (options.action != "list") {
    print_line(one_line(body));
    return finish(kOk);
  }
  each_element(member(body, "dead"), [](std::string_view letter) { print_line(one_line(letter)); });
  return finish(kOk);
}

std::optional<Verb> verb_of(std::string_view word) {
  for (Verb verb : {Verb::Submit, Verb::Status, Verb::Cancel, Verb::Health, Verb::Dead}) {
    if (name_of(verb) == word) return verb;
  }
  return {};
}

}  // namespace

std::optional<int> run(int argc, const char* const* argv) {
  auto verb = argc > 1 ? verb_of(argv[1]) : std::nullopt;
  if (!verb) return {};
  auto parsed = parse(*verb, {argv + 2, argv + argc});
  if (auto* exit = std::get_if<Exit>(&parsed)) return finish(print(*exit));
  const auto& options = std::get<Options>(parsed);
  try {
    switch (*verb) {
      case Verb::Submit: return submit(options);
      case Verb::Status: return status(options);
      case Verb::Cancel: return cancel(options);
      case Verb::Health: return health(options);
      case Verb::Dead: return dead(options);
    }
  } catch (const std::exception& error) {
    say(error.what());
  }
  return kBroken;
}

}  // namespace bulkhead::client
