// One kind of calls to RunPod's platform (takes, results, pings, the stop channel): what all of them carry, whether they
// go well, how long to wait when they do not, and what the operator is told: once when it turns bad, once when it is good
// again.

#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/source/http_client.hpp"
#include "supervisor/source/runpod_settings.hpp"
#include "supervisor/source/webhook_policy.hpp"

namespace bulkhead {

/// What an operator should know.
struct RunPodNotice {
  enum class Weight : std::uint8_t { Info, Warning, Error } weight = Weight::Info;
  std::string text;  ///< never has the key in it, nor a URL's path
  std::string job_id;
};
using RunPodNotices = std::function<void(const RunPodNotice&)>;

/// How calls of one kind went.
struct RunPodCalls {
  std::uint64_t ok = 0;
  std::uint64_t refused = 0;  ///< answered with a 4xx
  std::uint64_t failed = 0;   ///< no answer, or one that makes no sense
};

class RunPodChannel {
 public:
  /// `what` in the plural, for people: "takes". `random` gives uniform numbers in [0, 1). `calls`, if given, counts them.
  RunPodChannel(std::string what, RunPodNotices notices, std::function<double()> random, RunPodCalls* calls = nullptr)
      : what_(std::move(what)), notices_(std::move(notices)), random_(std::move(random)), calls_(calls) {}

  void good();
  /// The platform said no, and that was an answer: it works.
  void refused();
  /// A call failed. The answer is how long to wait, with jitter.
  milliseconds bad(const HttpResult& result);
  milliseconds bad(std::string_view reason, int status = 0, std::optional<std::chrono::seconds> retry_after = {});

  /// The same of trouble that is our own, and no call.
  milliseconds hold(std::string_view reason) { return pause(reason, 0, {}); }

  /// Several calls in a row failed, and none went well since.
  bool failing() const { return failures_ >= kTold; }

  void tell(RunPodNotice::Weight weight, std::string text, std::string job_id = {}) const;
  double random() const { return random_(); }

 private:
  void works();
  milliseconds pause(std::string_view reason, int status, std::optional<std::chrono::seconds> retry_after);

  /// A single failure is no state of things.
  static constexpr int kTold = 3;

  std::string what_;
  RunPodNotices notices_;
  std::function<double()> random_;
  RunPodCalls* calls_;
  int failures_ = 0;
  std::chrono::steady_clock::time_point together_until_;
};

/// The headers of every call. On those about a job, `X-Request-ID` names it.
std::vector<std::string> runpod_headers(const RunPodSettings& settings, std::string_view version);

}  // namespace bulkhead
