// Tells RunPod's platform, again and again, that this worker lives and which jobs it has. From the supervisor, so that it
// goes on whatever handlers do.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/source/http_client.hpp"
#include "supervisor/source/runpod_channel.hpp"
#include "supervisor/source/runpod_urls.hpp"

namespace bulkhead {

class RunPodPings {
 public:
  /// `jobs` gives the ids of the jobs that are here; the views are used at once.
  RunPodPings(boost::asio::any_io_executor executor, HttpClient& http, const RunPodUrls& urls,
              std::vector<std::string> headers, milliseconds interval, RunPodChannel channel,
              std::function<std::vector<std::string_view>()> jobs);
  ~RunPodPings();
  RunPodPings(const RunPodPings&) = delete;
  RunPodPings& operator=(const RunPodPings&) = delete;

  /// The first ping now, the others in their time.
  void start();
  /// Reports the worker as unhealthy, with the check that failed and why. `told` is called when that has been tried.
  void unhealthy(std::string_view check, std::string_view reason, std::function<void()> told);

 private:
  void ping();
  std::vector<std::string> headers() const { return headers_; }

  HttpClient& http_;
  const RunPodUrls& urls_;
  std::vector<std::string> headers_;
  milliseconds interval_;
  RunPodChannel channel_;
  std::function<std::vector<std::string_view>()> jobs_;
  boost::asio::steady_timer timer_;
  std::optional<HttpClient::Number> call_, report_;
};

}  // namespace bulkhead
