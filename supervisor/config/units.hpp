// Durations and sizes as people write them.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::config {

/// "500ms", "10s", "5m", "2h", "1d", "1.5s"; a bare number is seconds. None when it is not one, is negative, or is
/// longer than 10,000 days.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// The shortest of those forms that says it exactly: "90s" stays "90s", 120 s is "2m".
std::string format_duration(std::chrono::milliseconds value);

/// "64K", "512M", "2G" (or KiB, MiB, GiB: all are powers of 1024), "100B"; a bare number is bytes. None when it is not
/// one or does not fit.
std::optional<std::int64_t> parse_size(std::string_view text);

/// "20MiB", "1536B": the largest unit that divides it.
std::string format_size(std::int64_t bytes);

}  // namespace bulkhead::config
