#include "supervisor/source/runpod_stops.hpp"

#include <algorithm>
#include <utility>

#include "supervisor/source/runpod_jobs.hpp"

namespace bulkhead {
namespace {

constexpr milliseconds kHeld{90'000};
/// Between the beginnings of two polls that name no job: the official worker's pause.
constexpr milliseconds kBetween{1'000};

}  // namespace

RunPodStops::RunPodStops(boost::asio::any_io_executor executor, HttpClient& http, const RunPodUrls& urls,
                         std::vector<std::string> headers, RunPodChannel channel, std::function<bool()> jobs_here,
                         std::function<void(const std::string&)> stop)
    : http_(http),
      url_(urls.stop()),
      headers_(std::move(headers)),
      channel_(std::move(channel)),
      jobs_here_(std::move(jobs_here)),
      stop_(std::move(stop)),
      timer_(executor) {
  if (!url_)
    channel_.tell(
        RunPodNotice::Weight::Warning,
        "RUNPOD_WEBHOOK_GET_JOB names no /job-take/: there is no stop channel, and jobs are taken one by one");
}

RunPodStops::~RunPodStops() {
  if (call_) http_.cancel(*call_);
}

void RunPodStops::look() {
  if (url_ && !call_ && !pausing_ && jobs_here_()) begin();
}

void RunPodStops::begin() {
  HttpRequest request;
  request.url = *url_;
  request.headers = headers_;
  request.timeout = kHeld;
  request.redirects = 3;
  request.compressed = true;
  begun_ = std::chrono::steady_clock::now();
  call_ = http_.start(std::move(request), [this](const HttpResult& result) {
    call_.reset();
    ended(result);
  });
}

void RunPodStops::ended(const HttpResult& result) {
  auto held = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun_);
  bool timed_out = result.status == 0 && held >= kHeld;
  if (!timed_out && result.status != 204 && (result.status != 200 || !result.error.empty()))
    return pause(channel_.bad(result));
  std::vector<std::string> ids;
  if (result.status == 200) {
    auto read = read_stops(result.body);
    if (!read) return pause(channel_.bad("an answer on the stop channel is not {\"jobsToStop\": [ids]}"));
    ids = std::move(*read);
  }
  channel_.good();
  for (const std::string& id : ids) stop_(id);
  if (ids.empty() && held < kBetween) return pause(kBetween - held);
  look();
}

void RunPodStops::pause(milliseconds time) {
  pausing_ = true;
  timer_.expires_after(time);
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    pausing_ = false;
    look();
  });
}

}  // namespace bulkhead
