#include "client/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "client/console.hpp"
#include "client/json_text.hpp"
#include "client/tables.hpp"

namespace bulkhead::client {
namespace {

std::optional<double> number_of(const boost::json::value& value) {
  if (value.is_number()) return value.to_number<double>();
  return {};
}

std::optional<double> within(std::optional<double> share) {
  if (!share || !std::isfinite(*share) || *share < 0 || *share > 1) return {};
  return share;
}

/// Up to 1 it is a share, else percent.
std::optional<double> share_of_number(double number) { return within(number <= 1 ? number : number / 100); }

/// "40%", or with two numbers in it and "of" or a slash between: "page 2 of 5", "Update 1/3".
std::optional<double> share_of_text(const std::string& text) {
  for (const char* at = text.c_str(); *at != '\0'; ++at) {
    if (*at < '0' || *at > '9') continue;
    char* end = nullptr;
    double done = std::strtod(at, &end);
    if (*end == '%') return within(done / 100);
    std::string_view rest(end);
    for (std::string_view between : {" of ", "/", " / "}) {
      if (!rest.starts_with(between)) continue;
      const char* second = end + between.size();
      double all = std::strtod(second, &end);
      if (end != second && all > 0) return within(done / all);
      break;
    }
    at = end - 1;
  }
  return {};
}

std::optional<double> share_of_object(const boost::json::object& object) {
  auto named = [&](std::string_view name) -> std::optional<double> {
    const auto* found = object.if_contains(name);
    return found == nullptr ? std::nullopt : number_of(*found);
  };
  for (const char* name : {"percent", "percentage"})
    if (auto percent = named(name)) return within(*percent / 100);
  for (const char* name : {"fraction", "progress"})
    if (auto share = named(name)) return share_of_number(*share);
  for (const char* name : {"of", "total"}) {
    auto all = named(name);
    if (!all || *all <= 0) continue;
    for (const auto& [key, value] : object) {
      if (key == "of" || key == "total") continue;
      if (auto done = number_of(value)) return within(*done / *all);
    }
  }
  return {};
}

int columns_there() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::optional<double> share_done(std::string_view progress) {
  boost::json::error_code error;
  boost::json::value value = boost::json::parse(progress, error);
  if (error) return {};
  if (auto number = number_of(value)) return share_of_number(*number);
  if (const auto* text = value.if_string()) return share_of_text({text->data(), text->size()});
  if (const auto* object = value.if_object()) return share_of_object(*object);
  return {};
}

void ProgressLine::set(std::string_view status, std::string_view progress) {
  status_ = status;
  progress_ = progress;
  share_ = share_done(progress);
}

void ProgressLine::draw() {
  if (!shown_) return;
  constexpr int kCells = 24;
  auto waited = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun_).count();
  std::vector<Cell> cells;
  if (share_) {
    int full = static_cast<int>(std::lround(*share_ * kCells));
    std::string bar;
    for (int i = 0; i < kCells; ++i) bar += i < full ? "█" : "░";
    cells.push_back({bar, Colour::Good});
    char percent[16];
    std::snprintf(percent, sizeof percent, " %3.0f%%", *share_ * 100);
    cells.push_back({std::string(percent) + "  "});
  }
  cells.push_back({harmless(status_), colour_of_status(status_)});
  cells.push_back({"  " + readable_time(waited)});
  if (!progress_.empty()) cells.push_back({"  " + harmless(plain(progress_)), Colour::Faint});
  Look look{in_colour(STDERR_FILENO), static_cast<std::size_t>(columns_there() - 1)};
  std::fprintf(stderr, "\r%s\x1b[K", line_of(cells, look).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressLine::clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace bulkhead::client
