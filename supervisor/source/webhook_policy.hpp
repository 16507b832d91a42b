// What is decided about one webhook: whether it was taken, when it is tried again, how it is signed. Pure.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "supervisor/job/payload.hpp"
#include "supervisor/source/http_client.hpp"

namespace bulkhead {

using std::chrono::milliseconds;

/// The defaults try for about ten minutes: a receiver that is redeployed or rebooted meanwhile misses nothing. (RunPod
/// tries three times in twenty seconds.)
struct WebhookRetries {
  int tries = 16;             ///< in all; the first included
  milliseconds pause{1'000};  ///< behind the first try; doubled behind each further one, up to kLongestPause of them
  static constexpr int kLongestPause = 60;
  static constexpr milliseconds kRetryAfterMax{300'000};  ///< longer wishes of a receiver are cut to this
};

enum class WebhookVerdict : std::uint8_t {
  Taken,     ///< any 2xx, even if the rest of the answer never came
  TryAgain,  ///< all else: RunPod tries again on everything that is not 200, and a 404 may be a proxy's while it deploys
  Hopeless,  ///< 410 Gone, or a URL no request can be made of
};
WebhookVerdict judge(const HttpResult& result);

/// What went wrong, for the log: "status 503", "Connection refused".
std::string fault_of(const HttpResult& result);

/// How long to wait behind try number `tries` (from 1 on), a fifth more or less so that many do not come back in step.
/// `random` is uniform in [0, 1).
milliseconds pause_after(int tries, std::optional<std::chrono::seconds> retry_after, const WebhookRetries& retries,
                         double random);

/// "t=TIME,v1=HEX": HMAC-SHA256 under the secret of "TIME.BODY". Whoever checks it also sees that it is no old one.
std::string webhook_signature(std::string_view secret, std::int64_t unix_seconds, std::span<const Payload> body);

}  // namespace bulkhead
