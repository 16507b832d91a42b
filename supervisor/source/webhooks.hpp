// Tells the receivers of finished jobs: a POST of the body that /status answers, again and again until it is taken or
// given up (docs/WEBHOOKS.md). A job is settled in the journal after that and not before, so what was not delivered when
// a supervisor ended is delivered by the next.
//
// What waits is held without its result, which is read from the journal when its turn comes.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "supervisor/job/deadlines.hpp"
#include "supervisor/job/ports.hpp"
#include "supervisor/source/http_client.hpp"
#include "supervisor/source/webhook_policy.hpp"
#include "supervisor/source/webhook_turns.hpp"

namespace bulkhead {

struct WebhookOptions {
  std::string secret;  ///< signs; empty: unsigned
  std::string user_agent = "Bulkhead";
  WebhookRetries retries;
  WebhookLimits limits;
  milliseconds timeout{30'000};           ///< of one try
  milliseconds give_up_after{3'600'000};  ///< since the job ended (or was taken up again), however many tries that were
  std::size_t waiting_max = 100'000;      ///< not delivered yet; beyond it full() says to take no more such jobs
  std::size_t body_bytes_max = std::size_t{256} << 20;  ///< of bodies being sent; a single one may be larger
};

/// For metrics. All since the start.
struct WebhookCounts {
  std::int64_t delivered = 0;
  std::int64_t given_up = 0;
  std::int64_t failed_tries = 0;
};

/// What an operator should know.
struct WebhookNotice {
  enum class Kind : std::uint8_t {
    Failing,  ///< the first failure of this receiver since it last took something
    Working,  ///< it takes them again
    GivenUp,  ///< this job's will not be delivered
  };
  Kind kind;
  std::string_view job_id;
  std::string_view host;
  std::string_view reason;
};

class Webhooks {
 public:
  /// `random` gives uniform numbers in [0, 1), for jitter.
  Webhooks(WebhookOptions options, const Clock& clock, Journal& journal, HttpClient& http,
           std::function<double()> random);
  ~Webhooks();
  Webhooks(const Webhooks&) = delete;
  Webhooks& operator=(const Webhooks&) = delete;

  /// Called when wake_at() may have become earlier.
  void set_alarm(std::function<void()> alarm) { alarm_ = std::move(alarm); }
  void set_notice(std::function<void(const WebhookNotice&)> notice) { notice_ = std::move(notice); }

  /// The job has ended, the journal has how, and it has a webhook. `settled` is called, later, when it was delivered or
  /// given up.
  void deliver(const Job& job, std::function<void()> settled);
  /// Gives the job's delivery up without a word, and settles it. False if there is none.
  bool abandon(std::string_view job_id);
  bool full() const { return deliveries_.size() >= options_.waiting_max; }

  std::optional<std::chrono::steady_clock::time_point> wake_at() const;
  void tick();

  /// Nothing is tried a second time any more; `idle` is called when what is being tried has ended.
  void drain(std::function<void()> idle);

  WebhookCounts counts() const { return counts_; }
  std::size_t waiting() const { return deliveries_.size(); }

 private:
  using Number = WebhookTurns::Number;
  struct Delivery;

  void pump();
  void begin(Delivery& delivery);
  void send(Delivery& delivery, const Remembered& known);
  std::vector<std::string> headers(const Delivery& delivery, const Outcome& outcome,
                                   const std::vector<Payload>& body) const;
  void sent(Delivery& delivery, const HttpResult& result);
  void failed(Delivery& delivery, std::string_view reason, std::optional<std::chrono::seconds> retry_after);
  void give_up(Delivery& delivery, std::string_view reason);
  void close(Delivery& delivery);
  void note_host(const Delivery& delivery, bool good, std::string_view reason);
  void tell_idle();

  WebhookOptions options_;
  const Clock& clock_;
  Journal& journal_;
  HttpClient& http_;
  std::function<double()> random_;
  std::function<void()> alarm_;
  std::function<void(const WebhookNotice&)> notice_;
  std::function<void()> idle_;
  WebhookTurns turns_;
  std::unordered_map<Number, std::unique_ptr<Delivery>> deliveries_;
  std::unordered_map<std::string_view, Delivery*> by_job_;  ///< keys view the deliveries' ids
  std::unordered_set<std::string> failing_;                 ///< hosts, at most kFailingMax
  Deadlines<Delivery> pausing_;
  WebhookCounts counts_;
  Number last_ = 0;
  int reading_ = 0;
  std::size_t body_bytes_ = 0;
  bool pumping_ = false;
  bool draining_ = false;
};

}  // namespace bulkhead
