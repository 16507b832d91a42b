// /bulkhead/events: the snapshot and the history as server-sent events.
//
//   event: history    data: as /bulkhead/history     at the start, and when an interval has closed
//   event: snapshot   data: as /bulkhead/snapshot    at the start, every second, and soon after something has happened
//
// The texts are made once for all readers (observe/feed.hpp), and a reader holds a reference to them. One that has not taken
// the last event yet is passed over: it gets what is there when it comes back, and nothing is queued for it.

#include <array>
#include <utility>

#include "supervisor/http/routes.hpp"
#include "supervisor/observe/feed.hpp"

namespace bulkhead::http {
namespace {

class Watcher : public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(observe::Feed& feed, Exchange& exchange) : feed_(feed), exchange_(exchange.shared_from_this()) {}

  void begin() {
    exchange_->when_gone([self = shared_from_this()] { self->leave(); });
    exchange_->reply();
    exchange_->begin_pieces(kEndlessEvents);
    number_ = feed_.join([self = shared_from_this()](const observe::Feed::Texts& texts) { self->tell(texts); });
    if (gone_) feed_.leave(number_);
  }

 private:
  void tell(const observe::Feed::Texts& texts) {
    if (sending_ || gone_) return;
    Reply& reply = exchange_->reply();
    if (std::exchange(interval_, texts.interval) != texts.interval)
      reply.raw("event: history\ndata: ").payload(texts.history).raw("\n\n");
    reply.raw("event: snapshot\ndata: ").payload(texts.snapshot).raw("\n\n");
    sending_ = true;
    exchange_->send_events([self = shared_from_this()] { self->sending_ = false; });
  }

  void leave() {
    gone_ = true;
    feed_.leave(number_);
  }

  observe::Feed& feed_;
  std::shared_ptr<Exchange> exchange_;
  std::uint64_t number_ = 0;
  std::uint64_t interval_ = 0;  ///< of the history that was told
  bool sending_ = false;
  bool gone_ = false;
};

void events(Api& api, Exchange& exchange) {
  if (api.onlooker == nullptr) return exchange.send(unknown_path("bulkhead"));
  std::make_shared<Watcher>(api.onlooker->feed(), exchange)->begin();
}

constexpr std::array kRoutes{
    Route{.name = "bulkhead", .path = "events", .get = true, .watches = true, .handle = events},
};

}  // namespace

std::span<const Route> event_routes() { return kRoutes; }

}  // namespace bulkhead::http
