// RunPod's stop channel: a long poll that names jobs to be stopped. It is held while there are jobs.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/source/http_client.hpp"
#include "supervisor/source/runpod_channel.hpp"
#include "supervisor/source/runpod_urls.hpp"

namespace bulkhead {

class RunPodStops {
 public:
  /// `jobs_here` is asked before each poll; `stop` is told an id, known or not.
  RunPodStops(boost::asio::any_io_executor executor, HttpClient& http, const RunPodUrls& urls,
              std::vector<std::string> headers, RunPodChannel channel, std::function<bool()> jobs_here,
              std::function<void(const std::string&)> stop);
  ~RunPodStops();
  RunPodStops(const RunPodStops&) = delete;
  RunPodStops& operator=(const RunPodStops&) = delete;

  /// There may be a job now.
  void look();

 private:
  void begin();
  void ended(const HttpResult& result);
  void pause(milliseconds time);

  HttpClient& http_;
  std::optional<std::string> url_;
  std::vector<std::string> headers_;
  RunPodChannel channel_;
  std::function<bool()> jobs_here_;
  std::function<void(const std::string&)> stop_;
  boost::asio::steady_timer timer_;
  std::chrono::steady_clock::time_point begun_;
  std::optional<HttpClient::Number> call_;
  bool pausing_ = false;
};

}  // namespace bulkhead
