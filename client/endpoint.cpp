// Every operation is a loop of request and verdict. A verdict is the answer, the end, or "again": a connection that was
// lost, or an endpoint that has no room (429) or is just being started again (502, 503, 504). Between two attempts
// there is a pause that doubles, with jitter, so that the clients of one endpoint do not come back in step. What bounds
// it all: the deadline, and two minutes without any answer of use.

#include "client/endpoint.hpp"

#include <algorithm>
#include <charconv>

#include "client/console.hpp"
#include "client/events.hpp"
#include "client/json_text.hpp"

namespace bulkhead::client {

using namespace std::chrono_literals;
using std::chrono::duration_cast;

namespace {

constexpr auto kPatience = 2min;          // without an answer of use
constexpr milliseconds kFirstPause{100};  // doubled with every failure in a row
constexpr milliseconds kLongestPause{5'000};
constexpr milliseconds kLongPoll{20'000};  // well below the minute after which proxies, and we, give up a silence

/// The endpoint has the request, or a proxy before it, and cannot serve it now.
bool is_passing(long status) { return status == 429 || status == 502 || status == 503 || status == 504; }

/// What an answer says is wrong.
std::string complaint(const Answer& answer) {
  std::string_view error = member(answer.body, "error");
  std::string message = harmless(plain(error.starts_with('{') ? member(error, "message") : error));
  if (message.empty()) message = harmless(answer.body);
  return (message.empty() ? "" : message + " ") + "(HTTP " + std::to_string(answer.status) + ")";
}

}  // namespace

bool is_final(std::string_view status) {
  return status == "COMPLETED" || status == "FAILED" || status == "CANCELLED" || status == "TIMED_OUT";
}

Endpoint::Endpoint(const Options& options, Interrupts& interrupts, Clock::time_point deadline, Say say)
    : options_(options),
      interrupts_(interrupts),
      deadline_(deadline),
      say_(std::move(say)),
      connection_(options.address, options.api_key, interrupts),
      random_(std::random_device{}()),
      last_contact_(Clock::now()) {}

Exit Endpoint::explain(const Answer& answer) const {
  std::string text = "bulkhead: " + options_.address.shown + " says: " + complaint(answer) + "\n";
  std::string code = plain(member(member(answer.body, "error"), "code"));
  switch (answer.status) {
    case 400:
    case 413:
    case 422:
      return {kUsage,
              text + "bulkhead: `bulkhead " + std::string(name_of(options_.verb)) + " --help` says what it takes\n"};
    case 401:
    case 403:
      return {kKey, text + (options_.api_key.empty()
                                ? "bulkhead: set BULKHEAD_API_KEY, or give --api-key-file FILE\n"
                                : "bulkhead: BULKHEAD_API_KEY or --api-key-file must hold the key alone, without the "
                                  "name it has there\n")};
    case 404:
      // Others than ours have no code, but say that they looked for it.
      if (!options_.id.empty() && code != "unknown_path" && !member(answer.body, "error").empty()) {
        std::string list = options_.verb == Verb::Dead ? "dead list" : "ps";
        return {kUnknownJob, text + "bulkhead: `bulkhead " + list + "` shows those that are known\n"};
      }
      return {kNoAnswer,
              text + "bulkhead: is --url right? If it is, what runs there has no such path: an older Bulkhead?\n"};
    case 409:
      if (!options_.id.empty()) text += "bulkhead: `bulkhead status " + options_.id + "` says how it stands\n";
      return {kJobFailed, text};
    default: break;
  }
  if (answer.status >= 300 && answer.status < 400) {
    text += "bulkhead: redirects are not followed, for they would be shown the key; give the final --url\n";
  } else {
    text += "bulkhead: try again later; the endpoint's own log says more\n";
  }
  return {kNoAnswer, text};
}

Exit Endpoint::explain(const Lost& lost) const {
  std::string text = "bulkhead: no answer from " + options_.address.shown + ": " + harmless(lost.text) + "\n";
  if (lost.why == Lost::Why::Unreachable) {
    text += "bulkhead: is `bulkhead serve` running there? --url or BULKHEAD_URL says where the endpoint is\n";
  } else if (lost.why == Lost::Why::Deadline) {
    text += "bulkhead: it may be busy, or held up: give it longer with --timeout, or look at its log\n";
  } else if (lost.why == Lost::Why::Unsuited) {
    text += "bulkhead: does --url name an endpoint, with the right of http:// and https://?\n";
  }
  return {kNoAnswer, text};
}

/// The end of an operation that somebody, or the deadline, has ended.
Exit Endpoint::stop(const Lost& lost, const std::string& id) const {
  if (lost.why == Lost::Why::Left) return {};
  bool deadline = lost.why == Lost::Why::Deadline;
  int code = deadline ? (id.empty() ? kNoAnswer : kStillGoing) : kSignalled + interrupts_.signal();
  std::string text = deadline ? "--timeout is over" : "interrupted";
  if (!id.empty()) {
    std::string url = options_.address.shown == "http://127.0.0.1:8000" ? "" : " --url " + options_.address.shown;
    bool streamed = options_.stream || options_.verb == Verb::Stream;
    std::string back = streamed ? "stream" + (last_chunk_.empty() ? "" : " --after " + last_chunk_) : "status --wait";
    return {code, "bulkhead: " + text + "; job " + id + " goes on. To come back to it: bulkhead " + back + url + " " +
                      id + "\n"};
  }
  if (options_.verb == Verb::Submit) {
    text += "; whether the job was accepted is not known. Submit it with --idempotency-key KEY to be able to repeat it";
  }
  return {code, "bulkhead: " + text + "\n"};
}

std::variant<std::string, Exit> Endpoint::ask(bool post, const std::string& path, const std::string& body) {
  auto result = connection_.send({.post = post, .path = path, .body = body}, deadline_);
  if (auto* lost = std::get_if<Lost>(&result)) {
    if (lost->why == Lost::Why::Interrupted) return Exit{kSignalled + interrupts_.signal(), ""};
    if (lost->why == Lost::Why::Left) return Exit{};
    return explain(*lost);
  }
  auto& answer = std::get<Answer>(result);
  if (answer.status != 200 && answer.status != 202) return explain(answer);
  last_contact_ = Clock::now();
  // One of these is in every answer that an endpoint gives.
  for (const char* name :
       {"status", "jobs", "dead", "died_at", "dropped", "suspects_cleared", "phase", "workers", "life"})
    if (!member(answer.body, name).empty()) return std::move(answer.body);
  return Exit{kNoAnswer, "bulkhead: what answers at " + options_.address.shown +
                             " is not an endpoint: " + harmless(answer.body) + "\n"};
}

Exit Endpoint::read(const Request& request, const Connection::Take& take) {
  auto result = connection_.send(request, deadline_, take);
  if (auto* lost = std::get_if<Lost>(&result)) {
    if (lost->why == Lost::Why::Interrupted) return {kSignalled + interrupts_.signal(), ""};
    return lost->why == Lost::Why::Left ? Exit{} : explain(*lost);
  }
  const auto& answer = std::get<Answer>(result);
  return answer.status == 200 ? Exit{} : explain(answer);
}

Exit Endpoint::keep_reading(const std::function<Request()>& request, const Connection::Take& take) {
  for (;;) {
    auto result = connection_.send(request(), deadline_, [&](std::string_view bytes) {
      in_contact();
      take(bytes);
    });
    auto* lost = std::get_if<Lost>(&result);
    auto* answer = std::get_if<Answer>(&result);
    if (lost != nullptr && lost->why == Lost::Why::Deadline) return {};
    if (lost != nullptr && lost->why == Lost::Why::Interrupted) return {kSignalled + interrupts_.signal(), ""};
    if (answer != nullptr && answer->status == 200) result = Lost{.text = "the answer ended"};
    if (auto exit = try_again(result, "")) {
      bool left = interrupts_.signal() != 0 || Clock::now() >= deadline_;
      if (left) exit->text.clear();
      if (left && interrupts_.signal() == 0) exit->code = kOk;
      return std::move(*exit);
    }
  }
}

bool Endpoint::pause(milliseconds time) { return connection_.pause(time) && interrupts_.signal() == 0; }

void Endpoint::in_contact() {
  if (failures_ > 0) say_("in contact again with " + options_.address.shown);
  failures_ = 0;
  met_ = true;
  last_contact_ = Clock::now();
}

/// Pauses before the next attempt, or says why there is to be none.
std::optional<Exit> Endpoint::try_again(const std::variant<Answer, Lost>& result, const std::string& id) {
  const auto* lost = std::get_if<Lost>(&result);
  const auto* answer = std::get_if<Answer>(&result);
  met_ = met_ || lost == nullptr || lost->why == Lost::Why::Broken;
  if (lost != nullptr &&
      (lost->why == Lost::Why::Deadline || lost->why == Lost::Why::Interrupted || lost->why == Lost::Why::Left)) {
    return stop(*lost, id);
  }
  bool hopeless = lost != nullptr ? lost->why == Lost::Why::Unsuited : !is_passing(answer->status);
  // Where nothing has ever listened, most likely nothing is going to.
  if (lost != nullptr && lost->why == Lost::Why::Unreachable && !met_) return explain(*lost);
  auto now = Clock::now();
  if (hopeless || now - last_contact_ > kPatience) {
    Exit exit = lost != nullptr ? explain(*lost) : explain(*answer);
    if (!id.empty() && exit.code == kNoAnswer)
      exit.text += "bulkhead: job " + id + " may go on; `bulkhead status --wait " + id + "` asks for it again\n";
    return exit;
  }
  if (failures_ == 0) {
    std::string what = lost != nullptr ? "no answer: " + harmless(lost->text) : complaint(*answer);
    say_(options_.address.shown + ": " + what + "; trying again");
  }
  milliseconds longest = std::min(kLongestPause, kFirstPause * (1 << std::min(failures_++, 6)));
  milliseconds pause(std::uniform_int_distribution<std::int64_t>(longest.count() / 2, longest.count())(random_));
  if (answer != nullptr) pause += milliseconds(std::min(answer->retry_after_s, 30L) * 1000);
  if (!connection_.pause(std::min(pause, duration_cast<milliseconds>(deadline_ - now))))
    return stop({.why = Lost::Why::Left}, id);
  if (interrupts_.signal() != 0) return stop({.why = Lost::Why::Interrupted}, id);
  if (Clock::now() >= deadline_) return stop({.why = Lost::Why::Deadline}, id);
  return {};
}

std::variant<std::string, Exit> Endpoint::submit(const std::string& body, const std::string& idempotency_key) {
  Request request{.post = true, .path = "/run", .body = body, .headers = {"Idempotency-Key: " + idempotency_key}};
  for (;;) {
    auto result = connection_.send(request, deadline_);
    auto* answer = std::get_if<Answer>(&result);
    if (answer != nullptr && answer->status == 200) {
      in_contact();
      std::string id = plain(member(answer->body, "id"));
      if (!id.empty()) return id;
      return Exit{kNoAnswer, "bulkhead: what answers at " + options_.address.shown +
                                 " is not an endpoint: " + harmless(answer->body) + "\n"};
    }
    if (auto exit = try_again(result, "")) return std::move(*exit);
  }
}

std::variant<std::string, Exit> Endpoint::wait(const std::string& id) {
  for (;;) {
    auto asked = Clock::now();
    auto left = duration_cast<milliseconds>(deadline_ - asked);
    auto wait = std::clamp(left, milliseconds(1'000), kLongPoll);
    auto result = connection_.send({.path = "/status-sync/" + id + "?wait=" + std::to_string(wait.count())}, deadline_);
    auto* answer = std::get_if<Answer>(&result);
    if (answer == nullptr || answer->status != 200) {
      if (auto exit = try_again(result, id)) return std::move(*exit);
      continue;
    }
    in_contact();
    if (is_final(plain(member(answer->body, "status")))) return std::move(answer->body);
    // An endpoint that answers without waiting is not asked without end.
    if (Clock::now() - asked < 500ms) connection_.pause(std::min(left, milliseconds(1'000)));
    if (interrupts_.signal() != 0) return stop({.why = Lost::Why::Interrupted}, id);
  }
}

std::variant<std::string, Exit> Endpoint::follow(const std::string& id, const Hears& hears, std::uint32_t after) {
  std::string end;  // the job, once it has ended
  if (after > 0) last_chunk_ = std::to_string(after);
  bool heard = false;
  EventReader reader([&](const Event& event) {
    heard = true;
    if (event.name == "chunk") {
      if (!event.id.empty()) last_chunk_ = event.id;
      hears.chunk(member(event.data, "output"));
    } else if (event.name == "done") {
      end = event.data;
    } else if (hears.change) {
      hears.change(event.data);
    }
    in_contact();
  });
  for (;;) {
    Request request{.path = "/stream/" + id, .headers = {"Accept: text/event-stream"}};
    if (!last_chunk_.empty()) request.headers.push_back("Last-Event-ID: " + last_chunk_);
    reader.restart();
    auto result = connection_.send(request, deadline_, [&](std::string_view bytes) { reader.take(bytes); });
    if (!end.empty()) return end;
    auto* answer = std::get_if<Answer>(&result);
    // One that knows no events can still be asked for the end.
    if (answer != nullptr && answer->status == 200 && !heard && hears.change) return wait(id);
    // A stream that ends in order, but without the job's end, was ended by an endpoint that stops.
    if (answer != nullptr && answer->status == 200) result = Lost{.text = "the stream ended early"};
    if (auto exit = try_again(result, id)) return std::move(*exit);
  }
}

}  // namespace bulkhead::client
