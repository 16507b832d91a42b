// What is done with one job: submit, status, stream, cancel, retry, and purge with all that wait.
//
// Standard output carries the answer and nothing else, each line of it the moment it is there. From the first request on,
// Ctrl-C is taken by Interrupts, so that the last word can say what goes on without us.

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>

#include "client/console.hpp"
#include "client/endpoint.hpp"
#include "client/input.hpp"
#include "client/json_text.hpp"
#include "client/progress.hpp"
#include "client/tables.hpp"
#include "client/verbs.hpp"

namespace bulkhead::client {

using namespace std::chrono_literals;

namespace {

int code_of(std::string_view status) {
  return status == "FAILED" || status == "CANCELLED" || status == "TIMED_OUT" ? kJobFailed : kOk;
}

/// "WorkerCrash: handler process 7 was killed by SIGSEGV", or empty.
std::string error_of(std::string_view job) {
  std::string error = plain(member(job, "error"));
  // The error is a text, and that text is an object when the handler threw or crashed.
  std::string type = plain(member(error, "error_type"));
  std::string message = plain(member(error, "error_message"));
  if (message.empty()) message = error;
  return harmless((type.empty() ? "" : type + ": ") + message, 2'000);
}

/// What became of a job that did not end well, on one line where it can be.
void tell_end(std::string_view job, const std::string& status) {
  std::string id = plain(member(job, "id"));
  std::string what = error_of(job);
  say("job " + id + " is " + status + (what.empty() ? "" : ": " + what));
  if (status == "FAILED") say("all that is known of it: bulkhead status --json " + id);
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

/// An endpoint, and what is seen of its work meanwhile.
struct Visit {
  explicit Visit(const Options& options)
      : progress((options.wait && !options.stream) && on_terminal(STDERR_FILENO)),
        endpoint(options, interrupts, deadline_of(options), [this](const std::string& line) {
          progress.clear();
          say(line);
        }) {}

  /// The job once it has ended; how far it is can be seen, where somebody sits in front of it.
  std::variant<std::string, Exit> wait(const std::string& id) {
    if (!progress.shown()) return endpoint.wait(id);
    endpoint.look_beside({.every = 500ms, .look = [this] {
                            progress.draw();
                            return true;
                          }});
    progress.draw();
    auto job = endpoint.follow(id, {.chunk = [](std::string_view) {},
                                    .change =
                                        [this](std::string_view change) {
                                          progress.set(plain(member(change, "status")), member(change, "output"));
                                          progress.draw();
                                        }});
    progress.clear();
    return job;
  }

  Interrupts interrupts;
  ProgressLine progress;
  Endpoint endpoint;
};

/// Prints the chunks as they come, and then what the job came to.
int print_stream(Endpoint& endpoint, const std::string& id, std::uint32_t after) {
  bool chunks = after > 0;
  auto ended = endpoint.follow(id,
                               {.chunk =
                                    [&](std::string_view chunk) {
                                      chunks = true;
                                      print_line(one_line(chunk));
                                    },
                                .change = {}},
                               after);
  if (auto* exit = std::get_if<Exit>(&ended)) return finish(print(*exit));
  const auto& job = std::get<std::string>(ended);
  std::string status = plain(member(job, "status"));
  if (status != "COMPLETED") tell_end(job, status);
  // The output is the chunks once more, or empty; a handler that does not stream has only this.
  std::string output = one_line(member(job, "output"));
  if (!output.empty() && !chunks && output != "[]") print_line(output);
  return finish(code_of(status));
}

/// A job as a person reads it.
void print_job(std::string_view job) {
  Look look{in_colour(STDOUT_FILENO), 0};
  auto row = [&](std::string_view name, const std::string& value, Colour colour = Colour::Plain) {
    if (!value.empty())
      print_line(line_of({{std::string(name) + std::string(10 - name.size(), ' ')}, {value, colour}}, look));
  };
  auto time = [&](const char* name) {
    std::string ms = plain(member(job, name));
    return ms.empty() ? "" : readable_time(std::strtod(ms.c_str(), nullptr));
  };
  std::string status = plain(member(job, "status"));
  row("job", harmless(plain(member(job, "id"))));
  row("status", harmless(status), colour_of_status(status));
  row("waited", time("delayTime"));
  row("ran", time("executionTime"));
  row("worker", harmless(plain(member(job, "workerId"))));
  row("retries", plain(member(job, "retries")));
  row("error", error_of(job));
  bool running = status == "IN_PROGRESS" || status == "IN_QUEUE";
  row(running ? "progress" : "output", one_line(member(job, "output")));
  print_attempts(member(member(job, "bulkhead"), "attempts"));
}

/// What /cancel and /retry answer: an id and a status.
void print_state(const Options& options, std::string_view state, const std::string& status) {
  if (options.json) return print_line(one_line(state));
  Look look{in_colour(STDOUT_FILENO), 0};
  print_line(line_of({{"job " + options.id + " is "}, {harmless(status), colour_of_status(status)}}, look));
}

}  // namespace

void print_attempts(std::string_view attempts) {
  Table table(
      {{"TRY", Colour::Plain, true}, {"WORKER"}, {"BEGAN"}, {"RAN", Colour::Plain, true}, {"ENDED AS"}, {"ERROR"}});
  each_element(attempts, [&](std::string_view attempt) {
    auto number = [&](const char* name) { return std::strtoll(plain(member(attempt, name)).c_str(), nullptr, 10); };
    table.add({{plain(member(attempt, "attempt")), Colour::Plain, true},
               {harmless(plain(member(attempt, "worker_id")))},
               {time_of_day(number("started_at"), false)},
               {readable_time(static_cast<double>(number("ended_at") - number("started_at"))), Colour::Plain, true},
               {harmless(plain(member(attempt, "reason")))},
               {harmless(plain(member(attempt, "error_type")))}});
  });
  if (table.size() == 0) return;
  for (const std::string& line : table.lines({in_colour(STDOUT_FILENO), 0})) print_line(line);
}

int submit(const Options& options) {
  std::string note;
  auto body = request_body(options, note);
  if (auto* exit = std::get_if<Exit>(&body)) return print(*exit);
  if (!note.empty()) say("note: " + note);

  Visit visit(options);  // not before: what is typed in may be given up like anywhere
  std::string key = options.idempotency_key.empty() ? random_key() : options.idempotency_key;
  auto submitted = visit.endpoint.submit(std::get<std::string>(body), key);
  if (auto* exit = std::get_if<Exit>(&submitted)) return print(*exit);
  const auto& id = std::get<std::string>(submitted);
  if (!options.wait && !options.stream) {
    print_line(options.json ? "{\"id\":" + json_quoted(id) + "}" : id);
    return finish(kOk);
  }
  say("job " + id + " is submitted");
  if (options.stream) return print_stream(visit.endpoint, id, 0);

  auto ended = visit.wait(id);
  if (auto* exit = std::get_if<Exit>(&ended)) return finish(print(*exit));
  const auto& job = std::get<std::string>(ended);
  std::string status = plain(member(job, "status"));
  if (status != "COMPLETED") tell_end(job, status);
  std::string output = one_line(options.json ? std::string_view(job) : member(job, "output"));
  if (!output.empty()) print_line(output);
  return finish(code_of(status));
}

int status(const Options& options) {
  Visit visit(options);
  auto answer = options.wait ? visit.wait(options.id) : visit.endpoint.ask(false, "/status/" + options.id);
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& job = std::get<std::string>(answer);
  if (options.json) {
    print_line(one_line(job));
  } else {
    print_job(job);
  }
  return finish(code_of(plain(member(job, "status"))));
}

int stream(const Options& options) {
  Visit visit(options);
  return print_stream(visit.endpoint, options.id, options.after.value_or(0));
}

int cancel(const Options& options) {
  Visit visit(options);
  auto answer = visit.endpoint.ask(true, "/cancel/" + options.id);
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& state = std::get<std::string>(answer);
  std::string status = plain(member(state, "status"));
  if (status != "CANCELLED") say("job " + options.id + " had ended before: " + status);
  print_state(options, state, status);
  return finish(kOk);
}

int retry(const Options& options) {
  Visit visit(options);
  auto answer = visit.endpoint.ask(true, "/retry/" + options.id);
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& state = std::get<std::string>(answer);
  print_state(options, state, plain(member(state, "status")));
  return finish(kOk);
}

int purge(const Options& options) {
  Visit visit(options);
  auto answer = visit.endpoint.ask(true, "/purge-queue");
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& body = std::get<std::string>(answer);
  std::string removed = plain(member(body, "removed"));
  print_line(options.json     ? one_line(body)
             : removed == "1" ? "1 job that waited is cancelled"
                              : removed + " jobs that waited are cancelled");
  return finish(kOk);
}

}  // namespace bulkhead::client
