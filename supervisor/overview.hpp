// Puts together what there is to see of the supervisor: asks the parts for their views, keeps what outlives them (what ended
// children used, why they ended), and measures how late the loop is.

#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/job/dispatcher.hpp"
#include "supervisor/journal/store.hpp"
#include "supervisor/observe/gpus.hpp"
#include "supervisor/observe/job_counts.hpp"
#include "supervisor/observe/onlooker.hpp"
#include "supervisor/pool/pool.hpp"
#include "supervisor/source/embedded_queue.hpp"
#include "supervisor/source/runpod.hpp"

namespace bulkhead {

class Overview final : public observe::Onlooker {
 public:
  /// What is looked at. Those that may be missing are pointers to what owns them.
  struct Parts {
    const Clock& clock;
    Dispatcher& dispatcher;
    journal::Store& journal;
    const std::unique_ptr<pool::Pool>& pool;
    const std::unique_ptr<EmbeddedQueue>& queue;
    const std::unique_ptr<RunPod>& platform;
    observe::Lines& lines;
    std::function<std::string_view()> phase;
    std::function<std::size_t()> connections;
    std::function<std::size_t()> webhooks;
    std::function<std::size_t()> log_lines_dropped;
    std::function<std::pair<int, int>()> wanted;  ///< workers and spares
  };

  /// The parts outlive it. From here on jobs are counted.
  Overview(boost::asio::any_io_executor executor, Parts parts);

  /// Looks at the loop and, where there are any, at GPUs from now on.
  void start();
  void child_ended(const ChildEnd& end);
  /// Something is other than it was, for those who watch.
  void happened() { feed_.happened(); }

  // observe::Onlooker
  observe::Snapshot snapshot() const override;
  const observe::History& history() const override { return counts_.history(); }
  observe::Readiness readiness() const override;
  bool alive() const override;
  void jobs(JobsQuery query, std::function<void(observe::JobsFound)> found) override;
  void job(std::string_view id, std::size_t most, std::function<void(std::optional<JobRecord>)> found) override;
  observe::Feed& feed() override { return feed_; }
  observe::Lines& lines() override { return parts_.lines; }

 private:
  using Time = std::chrono::steady_clock::time_point;

  struct Listing;

  void turn();
  void list_on(const std::shared_ptr<Listing>& listing);
  void bring_up_to_date(ListedJob& job) const;
  std::optional<std::int64_t> total(const Listing& listing) const;
  void add_children(observe::Snapshot& seen) const;
  std::vector<observe::PlatformCalls> platform_calls() const;

  Parts parts_;
  observe::JobCounts counts_;
  std::optional<observe::GpuWatch> gpus_;
  std::array<std::uint64_t, kEndCauses> restarts_{};
  std::deque<observe::Restart> last_restarts_;
  std::vector<double> used_cpu_;           ///< by slot, of children that are dead; seconds
  mutable std::vector<double> shown_cpu_;  ///< by slot, the last time

  boost::asio::steady_timer timer_;
  observe::Feed feed_{timer_.get_executor(), *this};
  Time due_{};                     ///< the next turn; none: a test, of which nobody asks
  std::array<double, 60> lags_{};  ///< seconds, of the last turns
  std::size_t turns_ = 0;
};

}  // namespace bulkhead
