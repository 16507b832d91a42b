#include "supervisor/source/runpod_pings.hpp"

#include <utility>

namespace bulkhead {
namespace {

/// For the report that a worker is unhealthy: the official one waits as long before it ends.
constexpr milliseconds kReport{2'000};

}  // namespace

RunPodPings::RunPodPings(boost::asio::any_io_executor executor, HttpClient& http, const RunPodUrls& urls,
                         std::vector<std::string> headers, milliseconds interval, RunPodChannel channel,
                         std::function<std::vector<std::string_view>()> jobs)
    : http_(http),
      urls_(urls),
      headers_(std::move(headers)),
      interval_(interval),
      channel_(std::move(channel)),
      jobs_(std::move(jobs)),
      timer_(executor) {}

RunPodPings::~RunPodPings() {
  if (call_) http_.cancel(*call_);
  if (report_) http_.cancel(*report_);
}

void RunPodPings::start() { ping(); }

/// One that is not answered when the next is due is left to its time-out; the next is sent with the interval after that.
void RunPodPings::ping() {
  timer_.expires_after(interval_);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) ping();
  });
  if (call_) return;
  HttpRequest request;
  request.url = urls_.ping(jobs_());
  if (request.url.empty()) return timer_.cancel(), void();
  request.headers = headers_;
  request.timeout = interval_ * 2;
  request.redirects = 3;
  call_ = http_.start(std::move(request), [this](const HttpResult& result) {
    call_.reset();
    if (result.status >= 200 && result.status < 300)
      channel_.good();
    else
      channel_.bad(result);
  });
}

void RunPodPings::unhealthy(std::string_view check, std::string_view reason, std::function<void()> told) {
  HttpRequest request;
  request.url = urls_.unhealthy(check, reason);
  if (request.url.empty() || report_) return told();
  request.headers = headers_;
  request.timeout = kReport;
  request.redirects = 3;
  report_ = http_.start(std::move(request), [this, told = std::move(told)](const HttpResult&) {
    report_.reset();
    told();
  });
}

}  // namespace bulkhead
