// What may stand in a request's `webhook`.

#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace bulkhead {

inline constexpr std::size_t kWebhookUrlMax = 4096;

/// Host and port of an absolute http or https URL, as it says them and without user and password: what may be logged of
/// it, for the rest may be secret. None when it is no such URL, or has blanks, control characters or other bytes than
/// ASCII's (a name of another script is written in its xn-- form, the rest percent-encoded).
std::optional<std::string_view> webhook_host(std::string_view url);

}  // namespace bulkhead
