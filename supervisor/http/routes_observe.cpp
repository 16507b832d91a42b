// /metrics, /healthz/live and /healthz/ready: what there is to see, for programs that look on a schedule; and /openapi.json,
// what may be asked at all.

#include <array>

#include "supervisor/http/routes.hpp"
#include "supervisor/observe/metrics.hpp"

namespace bulkhead::http {

extern const std::string_view kOpenApi;  // openapi.json, its bytes

namespace {

void metrics(Api& api, Exchange& exchange) {
  if (api.onlooker == nullptr) return exchange.send(unknown_path("metrics"));
  exchange.reply().type(observe::kMetricsType).raw(observe::to_prometheus(api.onlooker->snapshot()));
  exchange.send();
}

void healthz(Api& api, Exchange& exchange) {
  const bool live = exchange.id() == "live";
  if (api.onlooker == nullptr || (!live && exchange.id() != "ready"))
    return exchange.send(Problem{
        .status = 404, .code = "unknown_path", .message = "there are /healthz/live and /healthz/ready, and no other"});
  observe::Readiness now;
  if (live) {
    now.ready = api.onlooker->alive();
    now.reason = "the event loop has been held up for long";
  } else {
    now = api.onlooker->readiness();
  }
  if (!now.ready)
    return exchange.send(Problem{.status = 503, .code = live ? "not_live" : "not_ready", .message = now.reason});
  exchange.reply().raw("{\"status\":").string(exchange.id()).raw("}");
  exchange.send();
}

void openapi(Api&, Exchange& exchange) {
  exchange.reply().raw(kOpenApi);
  exchange.send();
}

constexpr std::array kRoutes{
    Route{.name = "metrics", .get = true, .head = true, .watches = true, .handle = metrics},
    Route{.name = "openapi.json", .get = true, .head = true, .open = true, .handle = openapi},
    Route{
        .name = "healthz", .has_id = true, .get = true, .head = true, .open = true, .watches = true, .handle = healthz},
};

}  // namespace

std::span<const Route> observe_routes() { return kRoutes; }

}  // namespace bulkhead::http
