// A delivery stands in its host's line, is read (its result is asked of the journal), is sent, and then is over or pauses
// and stands in the line again. It is in `deliveries_` all the while; what the journal or the HTTP client says about one
// that is not there any more (it was abandoned) is not heard.
//
// Bounds: tries and time for each delivery; places for all and for each host (WebhookTurns); bytes of bodies being sent;
// and how many wait, which the queue asks about before it takes another such job.
//
// Who is told that a job is settled may forget it and ask for its next: nothing of a delivery is touched after that.

#include "supervisor/source/webhooks.hpp"

#include <algorithm>
#include <utility>

#include "supervisor/job/job_json.hpp"
#include "supervisor/job/webhook_url.hpp"

namespace bulkhead {
namespace {

/// Results being read at a time: each is as large as a result may be.
constexpr int kReadingMax = 4;
/// A failed try that took longer makes its receiver count as slow.
constexpr milliseconds kSlow{2'000};
constexpr std::size_t kFailingMax = 1'000;
constexpr std::size_t kAnswerMax = 64 << 10;  // nobody reads it; less than that and the connection can be used again
constexpr int kRedirects = 3;

/// The text between the payloads, and the payloads, as they are sent.
std::vector<Payload> pieces_of(const JsonText& json) {
  Payload text = Payload::of(json.text());
  std::vector<Payload> pieces;
  std::size_t at = 0;
  for (const JsonText::Splice& splice : json.splices()) {
    pieces.push_back(text.slice(text.bytes().substr(at, splice.at - at)));
    pieces.push_back(splice.payload);
    at = splice.at;
  }
  pieces.push_back(text.slice(text.bytes().substr(at)));
  return pieces;
}

}  // namespace

struct Webhooks::Delivery : Deadlined {
  Number number = 0;
  std::string job_id;
  std::string url;
  std::string host;
  int tries = 0;
  enum class Stage : std::uint8_t { InLine, Reading, Sending, Pausing } stage = Stage::InLine;
  std::chrono::steady_clock::time_point give_up_at;
  std::chrono::steady_clock::time_point begun;
  HttpClient::Number call = 0;
  std::size_t body_bytes = 0;
  std::function<void()> settled;
};

Webhooks::Webhooks(WebhookOptions options, const Clock& clock, Journal& journal, HttpClient& http,
                   std::function<double()> random)
    : options_(std::move(options)),
      clock_(clock),
      journal_(journal),
      http_(http),
      random_(std::move(random)),
      turns_(options_.limits) {}

Webhooks::~Webhooks() {
  for (auto& [number, delivery] : deliveries_)
    if (delivery->stage == Delivery::Stage::Sending) http_.cancel(delivery->call);
}

// ---- jobs end ------------------------------------------------------------------------------------------------------

void Webhooks::deliver(const Job& job, std::function<void()> settled) {
  auto delivery = std::make_unique<Delivery>();
  delivery->number = ++last_;
  delivery->job_id = job.id;
  delivery->url = job.webhook;
  delivery->host = webhook_host(job.webhook).value_or("?");
  delivery->give_up_at = clock_.now().mono + options_.give_up_after;
  delivery->settled = std::move(settled);
  turns_.enter(delivery->number, delivery->host);
  by_job_.insert_or_assign(delivery->job_id, delivery.get());
  deliveries_.emplace(last_, std::move(delivery));
  pump();
}

bool Webhooks::abandon(std::string_view job_id) {
  auto found = by_job_.find(job_id);
  if (found == by_job_.end()) return false;
  Delivery& delivery = *found->second;
  switch (delivery.stage) {
    case Delivery::Stage::InLine: turns_.leave(delivery.number, delivery.host); break;
    case Delivery::Stage::Reading: turns_.end(delivery.host); break;
    case Delivery::Stage::Sending:
      http_.cancel(delivery.call);
      turns_.end(delivery.host);
      break;
    case Delivery::Stage::Pausing: break;
  }
  close(delivery);
  pump();
  return true;
}

/// The delivery is over, in whatever way: it holds no place in turns_ any more.
void Webhooks::close(Delivery& delivery) {
  pausing_.clear(delivery);
  body_bytes_ -= delivery.body_bytes;
  by_job_.erase(delivery.job_id);
  auto found = deliveries_.find(delivery.number);
  auto kept = std::move(found->second);
  deliveries_.erase(found);
  kept->settled();
}

// ---- one try -------------------------------------------------------------------------------------------------------

/// Not nested: a journal may answer at once, and leads back here.
void Webhooks::pump() {
  if (std::exchange(pumping_, true)) return;
  while (reading_ < kReadingMax && body_bytes_ < options_.body_bytes_max) {
    auto number = turns_.next();
    if (!number) break;
    begin(*deliveries_.at(*number));
  }
  pumping_ = false;
  tell_idle();
}

void Webhooks::begin(Delivery& delivery) {
  delivery.begun = clock_.now().mono;
  if (delivery.begun >= delivery.give_up_at) {
    turns_.end(delivery.host);
    return give_up(delivery, "its receiver did not take it, or others before it, in time");
  }
  delivery.stage = Delivery::Stage::Reading;
  ++delivery.tries;
  ++reading_;
  journal_.lookup_unsettled(delivery.job_id, [this, number = delivery.number](std::optional<Remembered> known) {
    --reading_;
    if (auto found = deliveries_.find(number); found != deliveries_.end()) {
      if (known) {
        send(*found->second, *known);
      } else {
        turns_.end(found->second->host);
        failed(*found->second, "the journal cannot read the job's result", {});
      }
    }
    pump();
  });
}

void Webhooks::send(Delivery& delivery, const Remembered& known) {
  JsonText json;
  write_job(json, view_of(known), 0);
  HttpRequest request;
  request.method = "POST";
  request.url = delivery.url;
  request.body = pieces_of(json);
  request.headers = headers(delivery, known.outcome, request.body);
  request.timeout = options_.timeout;
  request.connect_timeout = std::min(request.connect_timeout, options_.timeout);
  request.redirects = kRedirects;
  request.response_max = kAnswerMax;
  delivery.stage = Delivery::Stage::Sending;
  delivery.body_bytes = json.size();
  body_bytes_ += delivery.body_bytes;
  delivery.call = http_.start(std::move(request), [this, number = delivery.number](const HttpResult& result) {
    sent(*deliveries_.at(number), result);
    pump();
  });
}

std::vector<std::string> Webhooks::headers(const Delivery& delivery, const Outcome& outcome,
                                           const std::vector<Payload>& body) const {
  std::vector<std::string> headers{
      "Content-Type: application/json",
      "User-Agent: " + options_.user_agent,
      // A job that is retried by its client ends more than once.
      "Bulkhead-Delivery: " + delivery.job_id + "." + std::to_string(outcome.finished_ms),
      "Bulkhead-Attempt: " + std::to_string(delivery.tries),
  };
  if (!options_.secret.empty())
    headers.push_back("Bulkhead-Signature: " + webhook_signature(options_.secret, clock_.now().wall_ms / 1000, body));
  return headers;
}

void Webhooks::sent(Delivery& delivery, const HttpResult& result) {
  body_bytes_ -= std::exchange(delivery.body_bytes, 0);
  WebhookVerdict verdict = judge(result);
  bool slow = result.status == 0 && clock_.now().mono - delivery.begun > kSlow;
  turns_.end(delivery.host, verdict == WebhookVerdict::Taken ? WebhookTurns::End::Taken
                            : slow                           ? WebhookTurns::End::Slow
                                                             : WebhookTurns::End::Refused);
  if (verdict == WebhookVerdict::Taken) {
    ++counts_.delivered;
    note_host(delivery, true, {});
    return close(delivery);
  }
  std::string fault = fault_of(result);
  if (verdict == WebhookVerdict::TryAgain) {
    note_host(delivery, false, fault);
    return failed(delivery, fault, result.retry_after);
  }
  ++counts_.failed_tries;
  give_up(delivery, fault);
}

void Webhooks::failed(Delivery& delivery, std::string_view reason, std::optional<std::chrono::seconds> retry_after) {
  ++counts_.failed_tries;
  Instant now = clock_.now();
  auto again = now.mono + pause_after(delivery.tries, retry_after, options_.retries, random_());
  if (delivery.tries >= options_.retries.tries || again >= delivery.give_up_at)
    return give_up(delivery, std::string(reason) + ", the last of " + std::to_string(delivery.tries) + " tries");
  delivery.stage = Delivery::Stage::Pausing;
  pausing_.set(delivery, again);
  if (delivery.heap_place == 0 && alarm_) alarm_();
}

void Webhooks::give_up(Delivery& delivery, std::string_view reason) {
  ++counts_.given_up;
  if (notice_) notice_({WebhookNotice::Kind::GivenUp, delivery.job_id, delivery.host, reason});
  close(delivery);
}

void Webhooks::note_host(const Delivery& delivery, bool good, std::string_view reason) {
  if (good ? failing_.erase(delivery.host) == 0 : failing_.contains(delivery.host)) return;
  if (!good) {
    if (failing_.size() >= kFailingMax) failing_.clear();  // some are told of twice then
    failing_.insert(delivery.host);
  }
  auto kind = good ? WebhookNotice::Kind::Working : WebhookNotice::Kind::Failing;
  if (notice_) notice_({kind, delivery.job_id, delivery.host, reason});
}

// ---- time ----------------------------------------------------------------------------------------------------------

std::optional<std::chrono::steady_clock::time_point> Webhooks::wake_at() const {
  if (draining_) return {};
  return pausing_.earliest();
}

void Webhooks::tick() {
  if (draining_) return;
  auto now = clock_.now().mono;
  while (Delivery* due = pausing_.pop_due(now)) {
    due->stage = Delivery::Stage::InLine;
    turns_.enter(due->number, due->host);
  }
  pump();
}

void Webhooks::drain(std::function<void()> idle) {
  draining_ = true;
  idle_ = std::move(idle);
  tell_idle();
}

void Webhooks::tell_idle() {
  if (!idle_ || !turns_.idle()) return;
  auto idle = std::exchange(idle_, nullptr);
  idle();
}

}  // namespace bulkhead
