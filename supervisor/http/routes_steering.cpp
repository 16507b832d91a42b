// /bulkhead/drain and /bulkhead/scale: what a signal says to the supervisor, said over HTTP.

#include <array>

#include "supervisor/http/routes.hpp"
#include "supervisor/json/json_scan.hpp"

namespace bulkhead::http {
namespace {

constexpr std::int64_t kMostWorkers = 1024;  // as --workers

void drain(Api& api, Exchange& exchange) {
  if (!api.steering.drain) return exchange.send(unknown_path("bulkhead"));
  if (const std::string refusal = api.steering.drain(); !refusal.empty())
    return exchange.send(Problem{.status = 409, .code = "upgrading", .message = refusal, .retry_after = 1});
  exchange.reply().raw("{\"status\":\"draining\"}");
  exchange.send();
}

/// The value of the only member that a body has, or none after a refusal was sent.
std::optional<std::string_view> workers_in(Exchange& exchange) {
  const std::string_view body = exchange.body().bytes();
  JsonScanner scanner(body);
  std::string_view name, value;
  const bool read = !bad_utf8(body) && scanner.take('{') && scanner.peek() == '"' && scanner.string(name) &&
                    scanner.take(':') && scanner.value(value) && scanner.take('}') && scanner.at_end();
  if (read && name == "workers") return value;
  exchange.send(
      Problem{.code = "invalid_request", .message = "the body must be {\"workers\":N}, with N from 0 to 1024"});
  return std::nullopt;
}

void scale(Api& api, Exchange& exchange) {
  if (!api.steering.scale) return exchange.send(unknown_path("bulkhead"));
  const auto value = workers_in(exchange);
  if (!value) return;
  const auto workers = whole_number(*value);
  if (!workers || *workers < 0 || *workers > kMostWorkers)
    return exchange.send(Problem{.code = "invalid_request",
                                 .message = "workers must be a whole number from 0 to 1024",
                                 .limit = kMostWorkers,
                                 .got = workers});
  const auto before = api.steering.scale(static_cast<int>(*workers));
  if (!before)
    return exchange.send(
        Problem{.status = 409, .code = "draining", .message = "the supervisor is ending; scale the next one"});
  exchange.reply().raw("{\"workers\":").number(*workers).raw(",\"before\":").number(*before).raw("}");
  exchange.send();
}

constexpr std::array kRoutes{
    Route{.name = "bulkhead", .path = "drain", .post = true, .handle = drain},
    Route{.name = "bulkhead", .path = "scale", .post = true, .handle = scale},
};

}  // namespace

std::span<const Route> steering_routes() { return kRoutes; }

}  // namespace bulkhead::http
