#include "supervisor/observe/history.hpp"

#include <algorithm>
#include <cmath>

namespace bulkhead::observe {
namespace {

constexpr double kPerOctave = 4;

}  // namespace

void Spread::add(milliseconds time) {
  const auto ms = static_cast<double>(std::max<std::int64_t>(time.count(), 0));
  // The first bucket is for what took no whole millisecond.
  const auto place = ms < 1 ? 0 : 1 + static_cast<std::size_t>(std::log2(ms) * kPerOctave);
  ++counts_[std::min(place, counts_.size() - 1)];
}

void Spread::add(const Spread& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

double Spread::quantile_ms(double part) const {
  std::uint64_t all = 0;
  for (std::uint32_t count : counts_) all += count;
  if (all == 0) return 0;
  const auto wanted = static_cast<std::uint64_t>(std::ceil(part * static_cast<double>(all)));
  std::uint64_t seen = 0;
  std::size_t place = 0;
  while (place + 1 < counts_.size() && (seen += counts_[place]) < wanted) ++place;
  if (place == 0) return 0.5;
  return std::exp2((static_cast<double>(place) - 0.5) / kPerOctave);
}

void History::add(std::int64_t now_ms, Status status, bool ran, milliseconds waited, milliseconds run) {
  const std::int64_t number = number_at(now_ms);
  Slot& slot = ring_[static_cast<std::size_t>(number) % kIntervals];
  if (slot.number != number) {
    slot.number = number;
    slot.ended = {};
    slot.wait.clear();
    slot.run.clear();
  }
  switch (status) {
    case Status::Completed: ++slot.ended.completed; break;
    case Status::Cancelled: ++slot.ended.cancelled; break;
    case Status::TimedOut: ++slot.ended.timed_out; break;
    default: ++slot.ended.failed;
  }
  if (!ran) return;
  slot.wait.add(waited);
  slot.run.add(run);
}

bool History::within(const Slot& slot, std::int64_t now) const {
  return slot.number > now - static_cast<std::int64_t>(kIntervals) && slot.number <= now;
}

std::vector<History::Interval> History::intervals(std::int64_t now_ms) const {
  std::vector<Interval> seen;
  for (const Slot& slot : ring_) {
    if (!within(slot, number_at(now_ms))) continue;
    seen.push_back({.begin_ms = slot.number * std::chrono::milliseconds(kInterval).count(),
                    .ended = slot.ended,
                    .wait = {slot.wait.quantile_ms(0.5), slot.wait.quantile_ms(0.95)},
                    .run = {slot.run.quantile_ms(0.5), slot.run.quantile_ms(0.95)}});
  }
  std::sort(seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.begin_ms < b.begin_ms; });
  return seen;
}

History::Interval History::hour(std::int64_t now_ms) const {
  Spread wait, run;
  Interval all{.begin_ms =
                   now_ms - static_cast<std::int64_t>(kIntervals) * std::chrono::milliseconds(kInterval).count()};
  for (const Slot& slot : ring_) {
    if (!within(slot, number_at(now_ms))) continue;
    wait.add(slot.wait);
    run.add(slot.run);
    all.ended.completed += slot.ended.completed;
    all.ended.failed += slot.ended.failed;
    all.ended.cancelled += slot.ended.cancelled;
    all.ended.timed_out += slot.ended.timed_out;
  }
  all.wait = {wait.quantile_ms(0.5), wait.quantile_ms(0.95)};
  all.run = {run.quantile_ms(0.5), run.quantile_ms(0.95)};
  return all;
}

}  // namespace bulkhead::observe
