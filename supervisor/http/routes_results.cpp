// /status, /status-sync and /stream: what became of a job.

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include "supervisor/http/events.hpp"
#include "supervisor/http/waiting.hpp"

namespace bulkhead::http {
namespace {

constexpr int kReadAgain = 5;  // seconds

}  // namespace

std::optional<Problem> unreadable(const Api& api) {
  std::string why = api.unreadable ? api.unreadable() : "";
  if (why.empty()) return {};
  return Problem{.status = 503,
                 .code = "journal_unreadable",
                 .message = "what was asked for cannot be looked up now: " + why,
                 .retry_after = kReadAgain};
}

Problem unknown_job(const Api& api, std::string_view id) {
  if (auto problem = unreadable(api)) return *problem;
  return {.status = 404,
          .code = "unknown_job",
          .message = "no job " + std::string(id) + " is known here (any more); results are kept for a limited time"};
}

std::optional<milliseconds> wait_time(Exchange& exchange) {
  auto text = parameter(exchange.query(), "wait");
  if (!text) return milliseconds(90'000);
  if (auto wait = whole_number(*text)) return milliseconds(std::clamp<std::int64_t>(*wait, 1'000, 300'000));
  exchange.send(Problem{.code = "invalid_request", .message = "wait must be milliseconds, 1000 to 300000"});
  return {};
}

void answer_when_final(Api& api, Exchange& exchange, std::string_view id, milliseconds wait) {
  if (!exchange.open()) return;
  auto seen = [&api, self = exchange.shared_from_this(), id = std::string(id)](const JobView* view) {
    if (!self->open()) return;
    // Only a retention that is shorter than the wait makes a job unknown here.
    if (view == nullptr) return self->send(unknown_job(api, id));
    write_job(self->reply(), *view, api.clock.now().wall_ms);
    self->send();
  };
  exchange.waits_as(api.endpoint.wait(id, wait, std::move(seen)));
}

namespace {

void status(Api& api, Exchange& exchange) {
  if (auto text = parameter(exchange.query(), "ttl")) {
    auto ttl = whole_number(*text);
    if (!ttl || *ttl < 0) {
      return exchange.send(Problem{.code = "invalid_request", .message = "ttl must be milliseconds, at least 1000"});
    }
    api.endpoint.shorten(exchange.id(), milliseconds(std::clamp<std::int64_t>(*ttl, 1'000, 7 * 86'400'000LL)));
  }
  api.endpoint.status(exchange.id(), [&api, self = exchange.shared_from_this()](const JobView* view) {
    if (!self->open()) return;
    if (view == nullptr) return self->send(unknown_job(api, self->id()));
    write_job(self->reply(), *view, api.clock.now().wall_ms);
    self->send();
  });
}

void status_sync(Api& api, Exchange& exchange) {
  if (auto wait = wait_time(exchange)) answer_when_final(api, exchange, exchange.id(), *wait);
}

/// For a client that says how far it is: exact, whatever was cut off on the way.
void stream_after(Api& api, Exchange& exchange, std::string_view text, milliseconds wait) {
  auto after = whole_number(text);
  if (!after || *after < 0 || *after > std::numeric_limits<std::uint32_t>::max() - 1) {
    return exchange.send(
        Problem{.code = "invalid_request",
                .message = "after must be the number of a chunk, 0 to 4294967294: 0 gives all of them"});
  }
  auto seen = [&api, self = exchange.shared_from_this()](const JobView* view, const Endpoint::News& news) {
    if (!self->open()) return;
    if (view == nullptr) return self->send(unknown_job(api, self->id()));
    write_stream(self->reply(), *view, news.chunks, api.clock.now().wall_ms, news.position.chunk);
    self->send();
  };
  exchange.waits_as(
      api.endpoint.stream_after(exchange.id(), static_cast<std::uint32_t>(*after), wait, std::move(seen)));
}

void stream(Api& api, Exchange& exchange) {
  if (wants_events(exchange.head().accept)) return follow_as_events(api, exchange);
  milliseconds wait{0};
  if (auto text = parameter(exchange.query(), "wait"); text && *text != "0") {
    auto asked = wait_time(exchange);
    if (!asked) return;
    wait = *asked;
  }
  if (auto after = parameter(exchange.query(), "after")) return stream_after(api, exchange, *after, wait);
  auto seen = [&api, self = exchange.shared_from_this()](const JobView* view, std::vector<Payload> chunks) {
    if (!self->open()) return;
    if (view == nullptr) return self->send(unknown_job(api, self->id()));
    write_stream(self->reply(), *view, chunks, api.clock.now().wall_ms);
    self->send();
  };
  exchange.waits_as(api.endpoint.stream(exchange.id(), wait, std::move(seen)));
}

constexpr std::array kRoutes{
    Route{.name = "status", .has_id = true, .get = true, .post = true, .head = true, .handle = status},
    Route{.name = "status-sync", .has_id = true, .get = true, .post = true, .handle = status_sync},
    Route{.name = "stream", .has_id = true, .get = true, .post = true, .handle = stream},
};

}  // namespace

std::span<const Route> result_routes() { return kRoutes; }

}  // namespace bulkhead::http
