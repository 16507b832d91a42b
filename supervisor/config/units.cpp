#include "supervisor/config/units.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace bulkhead::config {
namespace {

constexpr double kLongest = 10'000.0 * 86'400'000.0;

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array kDurations{Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1'000},
                                Unit{"ms", 1}};

constexpr std::array kSizes{Unit{"GiB", 1LL << 30}, Unit{"MiB", 1LL << 20}, Unit{"KiB", 1LL << 10},
                            Unit{"B", 1},           Unit{"G", 1LL << 30},   Unit{"M", 1LL << 20},
                            Unit{"K", 1LL << 10},   Unit{"k", 1LL << 10},   Unit{"GB", 1LL << 30},
                            Unit{"MB", 1LL << 20},  Unit{"KB", 1LL << 10}};

/// The number at the head of `text`, and what follows it.
std::optional<std::pair<double, std::string_view>> split(std::string_view text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return {};
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc{}) return {};
  std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  return std::pair{number, rest};
}

template <std::size_t N>
std::optional<double> scale(std::string_view text, const std::array<Unit, N>& units, double bare) {
  auto parts = split(text);
  if (!parts) return {};
  auto [number, name] = *parts;
  if (name.empty()) return number * bare;
  for (const Unit& unit : units) {
    if (unit.name == name) return number * static_cast<double>(unit.factor);
  }
  return {};
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  auto value = scale(text, kDurations, 1000.0);
  if (!value || *value > kLongest) return {};
  return std::chrono::milliseconds(std::llround(*value));
}

std::string format_duration(std::chrono::milliseconds value) {
  if (value.count() == 0) return "0s";
  for (const Unit& unit : kDurations) {
    if (value.count() % unit.factor == 0) return std::to_string(value.count() / unit.factor) + std::string(unit.name);
  }
  return std::to_string(value.count()) + "ms";
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  auto value = scale(text, kSizes, 1.0);
  if (!value || *value > 1e15 || *value != std::floor(*value)) return {};
  return static_cast<std::int64_t>(*value);
}

std::string format_size(std::int64_t bytes) {
  if (bytes == 0) return "0B";
  for (const Unit& unit : kSizes) {
    if (bytes % unit.factor == 0) return std::to_string(bytes / unit.factor) + std::string(unit.name);
  }
  return std::to_string(bytes) + "B";
}

}  // namespace bulkhead::config
