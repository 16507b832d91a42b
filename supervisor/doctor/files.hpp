// Small files of /proc and /sys, as text.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::doctor {

/// Without the newline at its end; empty where there is no such file or it cannot be read.
std::optional<std::string> read_text(const std::string& path);
/// The value behind `key` in a file of lines such as "CapEff:\t000001ffffffffff"; empty where it is not there.
std::optional<std::string> value_of(const std::string& path, std::string_view key);
std::optional<std::uint64_t> number(std::string_view text, int base = 10);
/// "64 MiB", "1.5 GiB".
std::string in_bytes(std::uint64_t bytes);

}  // namespace bulkhead::doctor
