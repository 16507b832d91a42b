// /bulkhead/snapshot and /bulkhead/history: what there is to see, once, as JSON.

#include <array>

#include "supervisor/http/routes.hpp"
#include "supervisor/observe/snapshot_json.hpp"

namespace bulkhead::http {
namespace {

void snapshot(Api& api, Exchange& exchange) {
  if (api.onlooker == nullptr) return exchange.send(unknown_path("bulkhead"));
  exchange.reply().header("Cache-Control", "no-store").raw(observe::to_json(api.onlooker->snapshot()));
  exchange.send();
}

void history(Api& api, Exchange& exchange) {
  if (api.onlooker == nullptr) return exchange.send(unknown_path("bulkhead"));
  const std::int64_t now_ms = api.clock.now().wall_ms;
  exchange.reply().header("Cache-Control", "no-store").raw(observe::to_json(api.onlooker->history(), now_ms));
  exchange.send();
}

constexpr std::array kRoutes{
    Route{.name = "bulkhead", .path = "snapshot", .get = true, .head = true, .watches = true, .handle = snapshot},
    Route{.name = "bulkhead", .path = "history", .get = true, .head = true, .watches = true, .handle = history},
};

}  // namespace

std::span<const Route> seen_routes() { return kRoutes; }

}  // namespace bulkhead::http
