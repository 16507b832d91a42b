// /bulkhead/upgrade: the next program takes over, and nobody notices (docs/UPGRADE.md).

#include "supervisor/http/upgrades.hpp"

namespace bulkhead::http {
namespace {

void show(Reply& reply, const UpgradeView& view) {
  reply.raw("{\"version\":").string(view.version).raw(",\"pid\":").number(view.pid);
  reply.raw(",\"state\":").string(view.state).raw(",\"life\":").string(view.life);
  if (!view.reason.empty()) reply.raw(",\"reason\":").string(view.reason);
  if (!view.next.empty()) reply.raw(",\"next\":").string(view.next);
  reply.raw("}");
}

}  // namespace

void upgrade(Api& api, Exchange& exchange) {
  if (api.upgrades == nullptr) return exchange.send(unknown_path("bulkhead"));
  if (exchange.head().method != Method::Post) {
    show(exchange.reply(), api.upgrades->view());
    return exchange.send();
  }
  api.upgrades->ask([&api, self = exchange.shared_from_this()](const std::string& refusal) {
    if (!self->open()) return;
    if (!refusal.empty()) return self->send(Problem{.status = 409, .code = "upgrade_refused", .message = refusal});
    show(self->reply(202), api.upgrades->view());
    self->send();
  });
}

}  // namespace bulkhead::http
