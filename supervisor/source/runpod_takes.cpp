#include "supervisor/source/runpod_takes.hpp"

#include <algorithm>
#include <utility>

namespace bulkhead {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kOpenMax = 2;
/// The official worker's cap on a poll; over it, the poll was empty.
constexpr milliseconds kHeld{90'000};
/// An empty answer that came sooner was not held: somebody who polls so is asked ever more seldom, up to once a second.
constexpr milliseconds kQuick{1'000};
constexpr milliseconds kFirstPause{25};
/// The largest job that the platform takes, of /runsync, and as many of them as one answer may hold: a larger answer would
/// be cut off, and all in it lost.
constexpr std::size_t kJobMax = std::size_t{20} << 20;
constexpr int kBatchMax = 12;
constexpr std::size_t kAnswerMax = (kBatchMax + 1) * kJobMax;

}  // namespace

RunPodTakes::RunPodTakes(boost::asio::any_io_executor executor, HttpClient& http, const RunPodUrls& urls,
                         RunPodChannel channel, Options options)
    : http_(http), urls_(urls), channel_(std::move(channel)), options_(std::move(options)), timer_(executor) {}

RunPodTakes::~RunPodTakes() { stop(); }

void RunPodTakes::start() {
  taking_ = true;
  look();
}

void RunPodTakes::look() {
  if (!taking_ || pausing_ || open_.size() >= kOpenMax) return;
  int missing = options_.wanted() - asked_for_;
  if (missing > 0) begin(urls_.takes_batches() ? std::min(missing, kBatchMax) : 1);
}

void RunPodTakes::begin(int jobs) {
  HttpRequest request;
  request.url = urls_.take(jobs, options_.job_in_progress());
  request.headers = options_.headers;
  request.timeout = kHeld;
  request.redirects = 3;
  request.response_max = kAnswerMax;
  request.compressed = true;
  asked_for_ += jobs;
  std::uint64_t number = ++last_;
  Poll& poll = open_[number];
  poll.jobs = jobs;
  poll.begun = std::chrono::steady_clock::now();
  poll.call = http_.start(std::move(request), [this, number](HttpResult result) { ended(number, std::move(result)); });
}

void RunPodTakes::ended(std::uint64_t number, HttpResult result) {
  auto found = open_.find(number);
  auto held = std::chrono::steady_clock::now() - found->second.begun;
  asked_for_ -= found->second.jobs;
  open_.erase(found);
  if (result.status == 204 || result.status == 400 || (result.status == 0 && held >= kHeld)) return empty(held);
  if (result.status != 200 || !result.error.empty()) return pause(channel_.bad(result));

  TakenJobs taken = read_taken(std::move(result.body), options_.check_json);
  bool some = !taken.jobs.empty();
  if (some) {
    quick_ = 0;
    options_.taken(std::move(taken.jobs));
  }
  if (taken.nameless > 0) {
    std::string what = std::to_string(taken.nameless) + " jobs without an id were handed over";
    channel_.tell(RunPodNotice::Weight::Error, what + ": nobody can be told of them");
    if (!some) taken.fault = std::move(what);
  }
  if (!taken.fault.empty()) return pause(channel_.bad(taken.fault));
  if (!some) return empty(held);
  channel_.good();
  look();
}

void RunPodTakes::empty(std::chrono::steady_clock::duration held) {
  channel_.good();
  if (!open_.empty()) return;
  if (held >= kQuick) quick_ = 0;
  if (held >= kQuick || quick_ == 0) {
    quick_ += held < kQuick;
    return look();
  }
  pause(std::min<milliseconds>(kFirstPause * (1 << std::min(quick_++, 10)), kQuick));
}

void RunPodTakes::hold_off(std::string_view reason) { pause(channel_.hold(reason)); }

void RunPodTakes::pause(milliseconds time) {
  pausing_ = true;
  timer_.expires_after(time);
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    pausing_ = false;
    look();
  });
}

void RunPodTakes::stop() {
  taking_ = false;
  timer_.cancel();
  for (auto& [number, poll] : open_) http_.cancel(poll.call);
  open_.clear();
  asked_for_ = 0;
}

}  // namespace bulkhead
