// The queue on this machine: jobs come in through the Endpoint interface (HTTP), and their states, chunks and outcomes
// are kept here for whoever asks, until their retention ends.
//
// Holds the clients' view of a job only; the decisions are the dispatcher's. A finished job stays in memory while
// there is room (`kept_max`, `kept_bytes_max`), and is looked up in the journal after that.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/job/deadlines.hpp"
#include "supervisor/job/ports.hpp"
#include "supervisor/source/stored_streams.hpp"

namespace bulkhead {

class Webhooks;

struct EmbeddedQueueOptions {
  milliseconds async_retention{30 * 60'000};  ///< of a result asked for by /run
  milliseconds sync_retention{60'000};        ///< of a result asked for by /runsync
  std::size_t kept_max = 10'000;              ///< finished jobs in memory
  std::size_t kept_bytes_max = 16 << 20;      ///< and the bytes of their results
  std::size_t stream_bytes_max = 64 << 20;    ///< chunks kept of one job; a stream nobody reads is stopped there
};

class EmbeddedQueue final : public Source, public Endpoint {
 public:
  EmbeddedQueue(EmbeddedQueueOptions options, const Clock& clock, Intake& intake, Journal& journal,
                std::function<HealthView()> health);
  ~EmbeddedQueue() override;
  EmbeddedQueue(const EmbeddedQueue&) = delete;
  EmbeddedQueue& operator=(const EmbeddedQueue&) = delete;

  /// Who tells the receivers of jobs that have a webhook; such a job is settled when that is done. Without: at once.
  void set_webhooks(Webhooks& webhooks) { webhooks_ = &webhooks; }

  /// A job that was here before the supervisor started.
  void recovered(const Recovered& known);

  /// A job that is in memory, as clients see it now. Valid until the loop goes on.
  std::optional<JobView> view(std::string_view id);

  /// Called when wake_at() may have become earlier.
  void set_alarm(std::function<void()> alarm) { alarm_ = std::move(alarm); }
  /// Waiters' deadlines and the ends of retention.
  std::optional<std::chrono::steady_clock::time_point> wake_at() const;
  void tick();
  /// Whoever waits is answered now, as if its time were over, and nobody waits any more but who follows a job without a
  /// limit, who is told what there is: the next supervisor is asked again.
  void come_again();

  // Endpoint
  void submit(Job job, std::function<void(Accepted)> answered) override;
  void status(std::string_view id, Seen seen) override;
  std::uint64_t wait(std::string_view id, milliseconds wait, Seen seen) override;
  void stop_waiting(std::uint64_t waiter) override;
  std::uint64_t stream(std::string_view id, milliseconds wait, Unread seen) override;
  CancelResult cancel(std::string_view id) override;
  std::size_t purge() override;
  void when_durable(std::function<void()> done) override { journal_.after_writes(std::move(done)); }
  HealthView health() const override;
  std::uint64_t follow(std::string_view id, Position known, std::function<void(const JobView*, News)> seen) override {
    return follow(id, known, {}, std::move(seen));
  }
  std::uint64_t stream_after(std::string_view id, std::uint32_t after, milliseconds wait,
                             std::function<void(const JobView*, News)> seen) override {
    return follow(id, {after, wait > milliseconds(0) ? kChunksOnly : 0}, wait, std::move(seen));
  }
  void retry(std::string_view id, std::function<void(std::optional<Accepted>)> answered) override;
  void shorten(std::string_view id, milliseconds ttl) override;
  void dead_letters(std::size_t most, std::function<void(std::span<const DeadLetter>)> seen) override;
  void dead_letter(std::string_view id, std::function<void(const DeadLetter*)> seen) override;
  void retry_dead(std::string_view id, std::function<void(std::optional<Accepted>)> answered) override;
  void drop_dead(std::string_view id, std::function<void(bool)> dropped) override;
  std::size_t clear_quarantine() override { return intake_.clear_quarantine(); }
  void list(std::size_t most, std::function<void(std::span<const JobView>)> seen) const override;

  // Source
  void room(int) override {}
  void started(const Job& job, std::string_view worker_id, std::int64_t started_ms, int attempt) override;
  void requeued(const Job& job, const Payload& history) override;
  void progress(const Job& job, Payload value) override;
  void chunk(const Job& job, std::uint32_t number, Payload value, std::function<void()> taken) override;
  void report(const Job& job, const Outcome& outcome, std::function<void()> settled) override;
  void log(const Job&, const LogLine&) override {}

 private:
  struct Entry;
  struct LiveEntries;
  struct Waiter;
  struct Kept {
    std::chrono::steady_clock::time_point until;
    std::string id;
    std::uint64_t born;  ///< tells this entry from a later one of the same id
  };

  Entry& add(const Job& job);
  Entry* find(std::string_view id);
  bool make_way(std::string_view id);
  void retry(Job job, const std::function<void(std::optional<Accepted>)>& answered);
  void submitted_with_key(Entry& entry, Accepted accepted, std::function<void(Accepted)> answered);
  void erase(Entry& entry);
  void show_cancelled(std::string_view id);
  void changed(Entry& entry);
  void finish(Entry& entry);
  Waiter& add_waiter(Entry& entry, std::optional<milliseconds> wait);
  void poll_stored(Entry& entry, Unread seen);
  void give_unread(Entry& entry, std::vector<Payload> unread, const Unread& seen);
  /// A position of somebody who waits for chunks, and for no other change.
  static constexpr std::uint64_t kChunksOnly = ~std::uint64_t{0};
  std::uint64_t follow(std::string_view id, Position known, std::optional<milliseconds> wait,
                       std::function<void(const JobView*, News)> seen);
  void follow_stored(Entry& entry, Position known, std::function<void(const JobView*, News)> seen);
  News news(const Entry& entry, Position known) const;
  void make_room(Entry& entry);
  void wake(Entry& entry);
  std::unique_ptr<Waiter> take(std::uint64_t waiter);
  void answer(Entry& entry, const Waiter& waiter);
  void keep(Entry& entry);
  void drop_surplus();
  void drop(const Kept& kept);
  void drop_now(Entry& entry);
  void look_up(std::string_view id, Seen seen);

  EmbeddedQueueOptions options_;
  const Clock& clock_;
  Intake& intake_;
  Journal& journal_;
  std::function<HealthView()> health_;
  std::function<void()> alarm_;
  Webhooks* webhooks_ = nullptr;
  std::unordered_map<std::string_view, std::unique_ptr<Entry>> entries_;  ///< keys view the entries' ids
  std::unordered_map<std::string_view, Entry*> by_key_;                   ///< idempotency keys, views of the entries'
  std::unique_ptr<LiveEntries> live_;                                     ///< not yet final, in order of arrival
  std::unordered_map<std::uint64_t, std::unique_ptr<Waiter>> waiters_;
  Deadlines<Waiter> waiting_;
  std::deque<Kept> kept_async_, kept_sync_;  ///< finished, in the order their retention ends
  std::size_t kept_bytes_ = 0;
  StoredStreams stored_;
  Deadlines<Entry> shortened_;  ///< finished entries whose retention a client shortened
  std::uint64_t last_waiter_ = 0;
  bool coming_again_ = false;
  std::uint64_t born_ = 0;
};

}  // namespace bulkhead
