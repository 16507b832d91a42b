#include "supervisor/http/events.hpp"

#include <algorithm>
#include <utility>

#include "supervisor/http/waiting.hpp"

namespace bulkhead::http {
namespace {

/// Before a client connects again that is sent to the next supervisor.
constexpr milliseconds kComeAgain{200};

/// One client's reading of one job. Held by whatever will call it next: the endpoint with news, or the session when the
/// client has taken the last ones. So a slow client is asked for no faster than it reads, and nothing piles up here.
class Follower : public std::enable_shared_from_this<Follower> {
 public:
  Follower(Api& api, Exchange& exchange, Endpoint::Position known)
      : api_(api), exchange_(exchange.shared_from_this()), id_(exchange.id()), known_(known) {}

  void next() {
    if (begun_ && api_.handing_over) return come_again();
    exchange_->waits_as(api_.endpoint.follow(
        id_, known_,
        [self = shared_from_this()](const JobView* job, Endpoint::News news) { self->tell(job, std::move(news)); }));
  }

 private:
  /// With the number of the last chunk it has, it misses nothing; readers of events do so by themselves.
  void come_again() {
    if (!exchange_->open()) return;
    exchange_->reply_so_far().raw("retry: ").number(kComeAgain.count()).raw("\n\n");
    exchange_->end_events();
  }

  void tell(const JobView* job, Endpoint::News news) {
    if (!exchange_->open()) return;
    if (job == nullptr) return begun_ ? exchange_->end_events() : exchange_->send(unknown_job(api_, id_));
    Reply& reply = exchange_->reply();
    if (!std::exchange(begun_, true)) exchange_->begin_events();
    known_ = news.position;
    std::uint32_t number = known_.chunk - static_cast<std::uint32_t>(news.chunks.size());
    for (const Payload& chunk : news.chunks) {
      reply.raw("id: ").number(++number).raw("\nevent: chunk\ndata: {\"output\":");
      reply.payload(one_line(chunk)).raw("}\n\n");
    }
    if (is_final(job->status) && news.chunks.empty()) {
      tell_job(reply, "done", *job);
      return exchange_->end_events();
    }
    if (!is_final(job->status)) tell_change(reply, *job);
    if (api_.handing_over && !is_final(job->status)) return come_again();
    exchange_->send_events([self = shared_from_this()] { self->next(); });
  }

  void tell_change(Reply& reply, const JobView& job) {
    // While output_ is kept, its address cannot be another's.
    bool progressed = job.output.bytes().data() != output_.bytes().data() && !job.output.empty();
    if (status_ != job.status) {
      tell_job(reply, "status", job);
    } else if (progressed) {
      tell_job(reply, "progress", job);
    }
    status_ = job.status;
    output_ = job.output;
  }

  void tell_job(Reply& reply, std::string_view event, JobView job) {
    job.output = one_line(job.output);
    job.error = one_line(job.error);
    job.history = one_line(job.history);
    reply.raw("event: ").raw(event).raw("\ndata: ");
    write_job(reply, job, api_.clock.now().wall_ms);
    reply.raw("\n\n");
  }

  Api& api_;
  std::shared_ptr<Exchange> exchange_;
  std::string id_;
  Endpoint::Position known_;
  bool begun_ = false;
  std::optional<Status> status_;  ///< as last told
  Payload output_;
};

}  // namespace

bool wants_events(std::string_view accept) { return accept.find("text/event-stream") != std::string_view::npos; }

Payload one_line(const Payload& json) {
  if (json.bytes().find_first_of("\r\n") == std::string_view::npos) return json;
  std::string line(json.bytes());
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return Payload::of(std::move(line));
}

void follow_as_events(Api& api, Exchange& exchange) {
  Endpoint::Position known;
  if (const std::string& last = exchange.head().last_event_id; !last.empty()) {
    auto number = whole_number(last);
    if (!number || *number < 0 || *number > UINT32_MAX) {
      return exchange.send(
          Problem{.code = "invalid_request", .message = "Last-Event-ID must be the number of a chunk"});
    }
    known.chunk = static_cast<std::uint32_t>(*number);
  }
  std::make_shared<Follower>(api, exchange, known)->next();
}

}  // namespace bulkhead::http
