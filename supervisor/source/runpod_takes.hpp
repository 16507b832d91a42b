// Takes jobs from RunPod's platform: a long poll is open whenever a slot is free, and no more jobs are asked for than can
// start.
//
// One poll asks for all slots that are free when it opens. While it is held further slots may become free: a second one
// opens for those. That is all: what frees up beyond is asked for when either ends, at the latest with the next job. A
// poll that ends empty is not opened again beside another, so that an idle worker holds one.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "supervisor/source/http_client.hpp"
#include "supervisor/source/runpod_channel.hpp"
#include "supervisor/source/runpod_jobs.hpp"
#include "supervisor/source/runpod_urls.hpp"

namespace bulkhead {

class RunPodTakes {
 public:
  struct Options {
    std::vector<std::string> headers;
    JsonCheck check_json;
    std::function<int()> wanted;  ///< jobs that may be taken now, those asked for already included
    std::function<bool()> job_in_progress;
    std::function<void(std::vector<TakenJob>)> taken;
  };

  RunPodTakes(boost::asio::any_io_executor executor, HttpClient& http, const RunPodUrls& urls, RunPodChannel channel,
              Options options);
  ~RunPodTakes();
  RunPodTakes(const RunPodTakes&) = delete;
  RunPodTakes& operator=(const RunPodTakes&) = delete;

  /// Polls from now on; before, none is made however much room there is.
  void start();
  /// Slots may have become free.
  void look();
  /// Nothing can be taken for a while: what came could not be kept.
  void hold_off(std::string_view reason);
  /// No further polls. Those that are open stay: what they deliver was handed over.
  void drain() { taking_ = false; }
  /// Open ones are dropped too.
  void stop();
  std::size_t open() const { return open_.size(); }

 private:
  struct Poll {
    int jobs = 0;
    std::chrono::steady_clock::time_point begun;
    HttpClient::Number call = 0;
  };
  using Polls = std::map<std::uint64_t, Poll>;

  void begin(int jobs);
  void ended(std::uint64_t number, HttpResult result);
  void empty(std::chrono::steady_clock::duration held);
  void pause(milliseconds time);

  HttpClient& http_;
  const RunPodUrls& urls_;
  RunPodChannel channel_;
  Options options_;
  boost::asio::steady_timer timer_;
  Polls open_;
  std::uint64_t last_ = 0;
  int asked_for_ = 0;
  int quick_ = 0;  ///< polls in a row that ended empty at once
  bool pausing_ = false;
  bool taking_ = false;
};

}  // namespace bulkhead
