// The URLs of RunPod's worker API, made from its templates: opaque texts in which `$ID` and `$RUNPOD_POD_ID` are
// replaced and to which parameters are appended. Pure.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "supervisor/source/runpod_settings.hpp"

namespace bulkhead {

/// The version of the official worker whose contract this is; told with every ping.
inline constexpr std::string_view kRunPodVersion = "1.12.0";

class RunPodUrls {
 public:
  explicit RunPodUrls(const RunPodSettings& settings);

  /// Asks for up to `jobs`; more than one needs takes_batches().
  std::string take(int jobs, bool job_in_progress) const;
  /// Where the template names no /job-take/, neither batches nor the stop channel can be derived from it.
  bool takes_batches() const { return !batch_.empty(); }
  std::optional<std::string> stop() const;

  /// `streamed`: the result of a stream, of which chunks were sent.
  std::string result(std::string_view job_id, bool streamed) const;
  std::string chunk(std::string_view job_id) const;
  bool has_chunks() const { return !stream_.empty(); }

  /// Empty where there are no pings. `jobs`: those that are here, as many as the URL has room for.
  std::string ping(std::span<const std::string_view> jobs) const;
  /// `reason` is cut to what the platform takes.
  std::string unhealthy(std::string_view check, std::string_view reason) const;

  /// "host:port" of where jobs come from, for people: no path, no parameter, no password.
  const std::string& host() const { return host_; }

 private:
  std::string take_, batch_, stop_, output_, stream_, ping_, host_;
};

}  // namespace bulkhead
