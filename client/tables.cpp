#include "client/tables.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace bulkhead::client {
namespace {

std::string_view code_of(Colour colour) {
  switch (colour) {
    case Colour::Plain: return "";
    case Colour::Good: return "32";
    case Colour::Bad: return "31";
    case Colour::Doubtful: return "33";
    case Colour::Busy: return "36";
    case Colour::Faint: return "2";
    case Colour::Strong: return "1";
    case Colour::Head: return "7";
  }
  return "";
}

/// The first `columns` columns of it.
std::string_view cut(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  while (end < text.size()) {
    bool begins = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (begins && columns-- == 0) break;
    ++end;
  }
  return text.substr(0, end);
}

template <typename... Values>
std::string printed(const char* format, Values... values) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

}  // namespace

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; }));
}

std::string painted(std::string_view text, Colour colour, const Look& look) {
  std::string_view code = code_of(colour);
  if (!look.colour || code.empty() || text.empty()) return std::string(text);
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

std::string line_of(const std::vector<Cell>& cells, const Look& look) {
  std::string line;
  std::size_t taken = 0;
  for (const Cell& cell : cells) {
    std::size_t columns = columns_of(cell.text);
    if (look.width == 0 || taken + columns <= look.width) {
      line += painted(cell.text, cell.colour, look);
      taken += columns;
      continue;
    }
    std::size_t left = look.width - taken;
    if (left > 0) line += painted(std::string(cut(cell.text, left - 1)) + "…", cell.colour, look);
    break;
  }
  return line;
}

std::vector<std::string> Table::lines(const Look& look) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i].text));
  }
  std::vector<std::string> lines;
  for (const auto& row : rows_) {
    // What is behind the last word of a line is not padded.
    std::size_t last = row.size();
    while (last > 0 && row[last - 1].text.empty()) --last;
    std::vector<Cell> cells;
    for (std::size_t i = 0; i < last; ++i) {
      std::string padding(widths[i] - columns_of(row[i].text), ' ');
      std::string between = i + 1 < last ? "  " : "";
      if (row[i].right) cells.push_back({padding});
      cells.push_back({row[i].text, row[i].colour});
      cells.push_back({(row[i].right || i + 1 == last ? "" : padding) + between});
    }
    lines.push_back(line_of(cells, look));
  }
  return lines;
}

std::string readable_time(double ms) {
  if (!(ms >= 0)) return "0ms";
  if (ms < 999.5) return printed("%.0fms", ms);
  if (ms < 9'950) return printed("%.1fs", ms / 1e3);
  auto s = static_cast<long long>(std::llround(ms / 1e3));
  if (s < 60) return printed("%llds", s);
  if (s < 3'600) return printed("%lldm%02llds", s / 60, s % 60);
  if (s < 86'400) return printed("%lldh%02lldm", s / 3'600, s / 60 % 60);
  return printed("%lldd%02lldh", s / 86'400, s / 3'600 % 24);
}

std::string readable_bytes(double bytes) {
  constexpr std::array kUnits{"B", "K", "M", "G", "T"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return printed(unit == 0 || bytes >= 99.95 ? "%.0f%s" : "%.1f%s", bytes, kUnits[unit]);
}

std::string readable_rate(double rate) {
  return printed(rate >= 99.95 ? "%.0f" : rate >= 0.095 || rate == 0 ? "%.1f" : "%.2f", rate);
}

std::string time_of_day(std::int64_t wall_ms, bool with_ms) {
  std::time_t seconds = wall_ms / 1000;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::string text = printed("%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec);
  return with_ms ? text + printed(".%03d", static_cast<int>(wall_ms % 1000)) : text;
}

std::string date_and_time(std::int64_t wall_ms) {
  std::time_t seconds = wall_ms / 1000;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return text.data();
}

Colour colour_of_status(std::string_view status) {
  if (status == "COMPLETED") return Colour::Good;
  if (status == "FAILED" || status == "TIMED_OUT") return Colour::Bad;
  if (status == "CANCELLED") return Colour::Doubtful;
  if (status == "IN_PROGRESS") return Colour::Busy;
  return Colour::Faint;
}

}  // namespace bulkhead::client
