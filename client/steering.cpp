// What changes an endpoint as a whole: drain, scale; and its dead letters.

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "client/console.hpp"
#include "client/endpoint.hpp"
#include "client/json_text.hpp"
#include "client/tables.hpp"
#include "client/verbs.hpp"

namespace bulkhead::client {
namespace {

void print_letters(std::string_view body) {
  Table table({{"JOB"}, {"DIED"}, {"ERROR"}, {"WORKER"}, {"TRIES", Colour::Plain, true}});
  each_element(member(body, "dead"), [&](std::string_view letter) {
    std::size_t tries = 0;
    each_element(member(letter, "attempts"), [&](std::string_view) { ++tries; });
    std::int64_t died = std::strtoll(plain(member(letter, "died_at")).c_str(), nullptr, 10);
    table.add({{harmless(plain(member(letter, "id")))},
               {date_and_time(died)},
               {harmless(plain(member(letter, "error_type"))), Colour::Bad},
               {harmless(plain(member(letter, "worker_id")))},
               {std::to_string(tries), Colour::Plain, true}});
  });
  for (const std::string& line : table.lines({in_colour(STDOUT_FILENO), 0})) print_line(line);
}

/// All that is known of one, the stacks of its crashes last.
void print_letter(std::string_view letter) {
  auto row = [](std::string_view name, const std::string& value) {
    if (!value.empty()) print_line(std::string(name) + std::string(10 - name.size(), ' ') + value);
  };
  constexpr std::size_t kLongest = 10'000;
  std::string_view error = member(letter, "error");
  row("job", harmless(plain(member(letter, "id"))));
  row("died", date_and_time(std::strtoll(plain(member(letter, "died_at")).c_str(), nullptr, 10)));
  row("worker", harmless(plain(member(letter, "worker_id"))));
  row("error", harmless(plain(member(letter, "error_type")) + ": " + plain(member(error, "error_message")), kLongest));
  row("input", harmless(one_line(member(letter, "input")), kLongest));
  print_attempts(member(letter, "attempts"));
  each_element(member(letter, "crashes"), [&](std::string_view crash) {
    print_line("attempt " + plain(member(crash, "attempt")) + ": " +
               harmless(plain(member(crash, "error_message")), kLongest));
    each_element(member(crash, "stack"),
                 [&](std::string_view frame) { print_line("    " + harmless(plain(frame), kLongest)); });
  });
}

/// Runs one request; what it answers, or nothing, with the code.
std::variant<std::string, Exit> once(const Options& options, bool post, const std::string& path,
                                     const std::string& body = "") {
  Interrupts interrupts;
  Endpoint endpoint(options, interrupts, deadline_of(options), say);
  return endpoint.ask(post, path, body);
}

}  // namespace

int drain(const Options& options) {
  auto answer = once(options, true, "/bulkhead/drain");
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  print_line(options.json
                 ? one_line(std::get<std::string>(answer))
                 : "draining: no new jobs are taken; it ends when those that run have ended, or --grace is over");
  return finish(kOk);
}

int scale(const Options& options) {
  auto answer = once(options, true, "/bulkhead/scale", "{\"workers\":" + std::to_string(options.workers) + "}");
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& body = std::get<std::string>(answer);
  print_line(options.json ? one_line(body)
                          : plain(member(body, "workers")) + " handler processes are wanted (" +
                                plain(member(body, "before")) + " before)");
  return finish(kOk);
}

/// Between two supervisors nobody answers for a moment, which is no failure.
int upgrade(const Options& options) {
  Interrupts interrupts;
  const auto deadline = deadline_of(options);
  Endpoint endpoint(options, interrupts, deadline, say);
  auto before = endpoint.ask(false, "/bulkhead/upgrade");
  if (auto* exit = std::get_if<Exit>(&before)) return print(*exit);
  const std::string pid(member(std::get<std::string>(before), "pid"));
  auto asked = endpoint.ask(true, "/bulkhead/upgrade");
  if (auto* exit = std::get_if<Exit>(&asked)) return print(*exit);
  say("it hands over to version " + harmless(plain(member(std::get<std::string>(asked), "next"))));
  for (bool told = false; Clock::now() < deadline; endpoint.pause(milliseconds(100))) {
    if (interrupts.signal() != 0) return kSignalled + interrupts.signal();
    auto now = endpoint.ask(false, "/bulkhead/upgrade");
    const auto* view = std::get_if<std::string>(&now);
    if (view == nullptr || member(*view, "pid") == pid) continue;
    const std::string life = plain(member(*view, "life"));
    if (life == "trial") {
      if (!std::exchange(told, true)) say("it has taken over, and is on trial");
      continue;
    }
    const std::string version = harmless(plain(member(*view, "version")));
    const std::string reason = harmless(plain(member(*view, "reason")));
    if (options.json) print_line(one_line(*view));
    if (life == "back") {
      say("the new program was no good (" + reason + "): version " + version + " is back");
      return finish(kJobFailed);
    }
    if (!options.json) print_line("version " + version + " serves, as process " + std::string(member(*view, "pid")));
    return finish(kOk);
  }
  say("--timeout is over, and nothing is decided");
  return kStillGoing;
}

int dead(const Options& options) {
  const bool changes = options.action != "list" && options.action != "show";
  std::string path = "/bulkhead/dead";
  if (options.action == "clear") path = "/bulkhead/quarantine/clear";
  if (!options.id.empty()) path += "/" + options.id;
  if (changes && !options.id.empty()) path += "/" + options.action;
  auto answer = once(options, changes, path);
  if (auto* exit = std::get_if<Exit>(&answer)) return print(*exit);
  const auto& body = std::get<std::string>(answer);
  if (options.action == "list" && options.json) {
    each_element(member(body, "dead"), [](std::string_view letter) { print_line(one_line(letter)); });
  } else if (options.action == "list") {
    print_letters(body);
  } else if (options.json) {
    print_line(one_line(body));
  } else if (options.action == "show") {
    print_letter(body);
  } else if (options.action == "retry") {
    print_line("job " + options.id + " is " + plain(member(body, "status")) + " again");
  } else if (options.action == "drop") {
    print_line("the dead letter of job " + options.id + " is forgotten");
  } else {
    print_line(plain(member(body, "suspects_cleared")) + " inputs are out of quarantine");
  }
  return finish(kOk);
}

}  // namespace bulkhead::client
