// /cancel, /retry, /purge-queue, /requests and /health.

#include <array>

#include "supervisor/http/waiting.hpp"

namespace bulkhead::http {
namespace {

void cancel(Api& api, Exchange& exchange) {
  switch (api.endpoint.cancel(exchange.id())) {
    case Endpoint::CancelResult::Cancelled:
      // Not told before it would outlive us: else a client might see the job completed afterwards.
      return api.endpoint.when_durable([self = exchange.shared_from_this()] {
        if (!self->open()) return;
        write_state(self->reply(), self->id(), to_string(Status::Cancelled));
        self->send();
      });
    case Endpoint::CancelResult::Unknown:
    case Endpoint::CancelResult::AlreadyFinal: break;
  }
  // It ended before, if it ever was: say how, instead of claiming what did not happen.
  api.endpoint.status(exchange.id(), [&api, self = exchange.shared_from_this()](const JobView* view) {
    if (!self->open()) return;
    if (view == nullptr) return self->send(unknown_job(api, self->id()));
    write_state(self->reply(), view->id, to_string(view->status));
    self->send();
  });
}

void retry(Api& api, Exchange& exchange) {
  api.endpoint.retry(exchange.id(), [&api, self = exchange.shared_from_this()](std::optional<Accepted> accepted) {
    if (!self->open()) return;
    if (!accepted) return self->send(unknown_job(api, self->id()));
    if (accepted->refusal != Refusal::None) return self->send(refused(*accepted));
    write_state(self->reply(), self->id(), to_string(Status::InQueue));
    self->send();
  });
}

/// RunPod documents no shape: job objects without their outputs, oldest first.
void requests(Api& api, Exchange& exchange) {
  constexpr std::size_t kMost = 1000;
  api.endpoint.list(kMost, [&](std::span<const JobView> jobs) {
    std::int64_t now_ms = api.clock.now().wall_ms;
    Reply& reply = exchange.reply();
    reply.raw("{\"requests\":[");
    bool first = true;
    for (JobView job : jobs) {
      job.output = {};
      if (!std::exchange(first, false)) reply.raw(",");
      write_job(reply, job, now_ms);
    }
    reply.raw("]}");
  });
  exchange.send();
}

void purge_queue(Api& api, Exchange& exchange) {
  const auto removed = static_cast<std::int64_t>(api.endpoint.purge());
  api.endpoint.when_durable([self = exchange.shared_from_this(), removed] {
    if (!self->open()) return;
    self->reply().raw("{\"removed\":").number(removed).raw(",\"status\":\"completed\"}");
    self->send();
  });
}

void health(Api& api, Exchange& exchange) {
  write_health(exchange.reply(), api.endpoint.health());
  exchange.send();
}

constexpr std::array kRoutes{
    Route{.name = "cancel", .has_id = true, .post = true, .handle = cancel},
    Route{.name = "purge-queue", .post = true, .handle = purge_queue},
    Route{.name = "retry", .has_id = true, .post = true, .handle = retry},
    Route{.name = "requests", .get = true, .head = true, .handle = requests},
    Route{.name = "health", .get = true, .head = true, .handle = health},
};

}  // namespace

std::span<const Route> control_routes() { return kRoutes; }

}  // namespace bulkhead::http
