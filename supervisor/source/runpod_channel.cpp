#include "supervisor/source/runpod_channel.hpp"

#include <sys/utsname.h>

#include <algorithm>

#include "supervisor/source/runpod_urls.hpp"

namespace bulkhead {
namespace {

/// 200 ms, 400 ms … 12 s, a fifth more or less.
constexpr WebhookRetries kRetries{.tries = 0, .pause = milliseconds(200)};
/// What the official worker waits after a 429.
constexpr milliseconds kTooMany{5'000};
/// A wrong key does not become right by asking often.
constexpr milliseconds kForbidden{5'000};

std::string meaning_of(int status) {
  switch (status) {
    case 401: return " (is RUNPOD_AI_API_KEY the endpoint's?)";
    case 429: return " (too many requests)";
    default: return "";
  }
}

}  // namespace

void RunPodChannel::good() {
  if (calls_) ++calls_->ok;
  works();
}

void RunPodChannel::refused() {
  if (calls_) ++calls_->refused;
  works();
}

void RunPodChannel::works() {
  bool told = failing();
  failures_ = 0;
  together_until_ = {};
  if (told) tell(RunPodNotice::Weight::Info, what_ + " work again");
}

milliseconds RunPodChannel::bad(const HttpResult& result) {
  return bad(fault_of(result) + meaning_of(result.status), result.status, result.retry_after);
}

milliseconds RunPodChannel::bad(std::string_view reason, int status, std::optional<std::chrono::seconds> retry_after) {
  if (calls_) ++(status >= 400 && status < 500 ? calls_->refused : calls_->failed);
  return pause(reason, status, retry_after);
}

milliseconds RunPodChannel::pause(std::string_view reason, int status,
                                  std::optional<std::chrono::seconds> retry_after) {
  // Calls that fail together are one failure: their number says nothing about how long it will last.
  auto now = std::chrono::steady_clock::now();
  bool another = now >= together_until_;
  if (another && ++failures_ == kTold)
    tell(RunPodNotice::Weight::Warning, what_ + " fail (" + std::string(reason) + ") and are tried again");
  milliseconds wait = pause_after(failures_, retry_after, kRetries, random_());
  if (another) together_until_ = now + wait / 2;
  milliseconds least = status == 429 ? kTooMany : status == 401 || status == 403 ? kForbidden : milliseconds(0);
  if (least.count() > 0 && !retry_after)
    wait = std::max(wait, std::chrono::duration_cast<milliseconds>(least * (0.9 + 0.2 * random_())));
  return wait;
}

void RunPodChannel::tell(RunPodNotice::Weight weight, std::string text, std::string job_id) const {
  if (notices_) notices_({weight, std::move(text), std::move(job_id)});
}

std::vector<std::string> runpod_headers(const RunPodSettings& settings, std::string_view version) {
  utsname system{};
  uname(&system);
  // Says who it is, and which worker's contract it keeps.
  std::string agent = "User-Agent: Bulkhead/" + std::string(version) + " (" + system.sysname + " " + system.release +
                      "; " + system.machine + ") RunPod-Python-SDK/" + std::string(kRunPodVersion);
  if (!settings.integration.empty()) agent += " Integration/" + settings.integration;
  std::vector<std::string> headers{std::move(agent)};
  if (!settings.key.empty()) headers.push_back("Authorization: " + settings.key);
  return headers;
}

}  // namespace bulkhead
