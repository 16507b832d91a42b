// Jobs for onlookers. The journal knows all of them and finds them without holding up the loop; of those that are in memory
// too, the memory knows sooner: a cancelled job is cancelled for its client while its handler still takes its time, and a
// disk that refuses is late.

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "supervisor/overview.hpp"

namespace bulkhead {
namespace {

/// Times the journal is asked for one answer, of which each looks at some thousands of jobs. Others have their turn between.
constexpr int kMostPages = 200;

void take(ListedJob& job, const JobView& view) {
  job.status = view.status;
  job.submitted_ms = view.submitted_ms;
  job.started_ms = view.started_ms;
  job.finished_ms = view.finished_ms;
  job.execution_ms = view.execution_ms;
  job.worker_id = view.worker_id;
  job.attempts = view.attempts;
}

}  // namespace

struct Overview::Listing {
  JobsQuery query;
  std::function<void(observe::JobsFound)> found;
  bool from_newest = false;
  std::size_t limit = 0;
  int pages = 0;
  observe::JobsFound answer;
};

void Overview::jobs(JobsQuery query, std::function<void(observe::JobsFound)> found) {
  auto listing = std::make_shared<Listing>();
  listing->from_newest = query.before == 0;
  listing->limit = query.limit;
  listing->query = std::move(query);
  listing->found = std::move(found);
  list_on(listing);
}

void Overview::list_on(const std::shared_ptr<Listing>& listing) {
  listing->query.limit = listing->limit - listing->answer.jobs.size();
  parts_.journal.jobs(listing->query, [this, listing](JobsPage page) {
    observe::JobsFound& answer = listing->answer;
    for (ListedJob& job : page.jobs) {
      bring_up_to_date(job);
      if (listing->query.takes(job)) answer.jobs.push_back(std::move(job));
    }
    answer.before = listing->query.before = page.before;
    if (page.before == 0 || answer.jobs.size() >= listing->limit || ++listing->pages >= kMostPages) {
      answer.total = total(*listing);
      return listing->found(std::move(answer));
    }
    boost::asio::post(timer_.get_executor(), [this, listing] { list_on(listing); });
  });
}

void Overview::bring_up_to_date(ListedJob& job) const {
  if (!parts_.queue || is_final(job.status)) return;
  if (auto view = parts_.queue->view(job.id)) take(job, *view);
}

std::optional<std::int64_t> Overview::total(const Listing& listing) const {
  const JobsQuery& query = listing.query;
  if (listing.from_newest && listing.answer.before == 0) return static_cast<std::int64_t>(listing.answer.jobs.size());
  if (!query.error_type.empty() || !query.worker.empty() || !query.id.empty()) return std::nullopt;
  const auto counts = parts_.dispatcher.counts();
  if (query.states == 1u << static_cast<unsigned>(Status::InQueue)) return counts.queued;
  if (query.states == 1u << static_cast<unsigned>(Status::InProgress)) return counts.running;
  return std::nullopt;
}

void Overview::job(std::string_view id, std::size_t most, std::function<void(std::optional<JobRecord>)> found) {
  parts_.journal.record(id, most, [this, found = std::move(found)](std::optional<JobRecord> known) {
    if (known && parts_.queue && !is_final(known->listed.status)) {
      if (auto view = parts_.queue->view(known->listed.id)) {
        take(known->listed, *view);
        if (!view->output.empty()) (is_final(view->status) ? known->output : known->progress) = view->output;
        if (!view->error.empty()) known->error = view->error;
        if (!view->history.empty()) known->history = view->history;
      }
    }
    found(std::move(known));
  });
}

}  // namespace bulkhead
