#include "supervisor/pool/log_tail.hpp"

#include <algorithm>
#include <utility>

namespace bulkhead::pool {

void LogTail::add(RunNumber run, std::string_view line) {
  if (lines_.size() < kLines) {
    lines_.push_back({run, std::string(line)});
    return;
  }
  lines_[next_].run = run;
  lines_[next_].text = line;
  next_ = (next_ + 1) % kLines;
}

std::vector<std::string> LogTail::of(RunNumber run) const {
  std::vector<std::string> found;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    const Line& line = lines_[(next_ + i) % lines_.size()];
    if (line.run == run || line.run == 0) found.push_back(line.text);
  }
  return found;
}

std::string LogTail::last(std::size_t count) const {
  std::string text;
  const std::size_t take = std::min(count, lines_.size());
  for (std::size_t i = lines_.size() - take; i < lines_.size(); ++i) {
    if (!text.empty()) text += '\n';
    text += lines_[(next_ + i) % lines_.size()].text;
  }
  return text;
}

bool LogBudget::take(Time now) {
  const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(now - counted_);
  if (passed >= kFull) {
    left_ = kBurst;
    counted_ = now;
  } else if (passed.count() > 0) {
    left_ = std::min(kBurst, left_ + passed.count() * kPerSecond / 1000);
    counted_ = now;
  }
  passing_ = left_ > 0;
  if (passing_)
    --left_;
  else
    ++dropped_;
  return passing_;
}

std::uint64_t LogBudget::dropped() { return passing_ ? std::exchange(dropped_, 0) : 0; }

}  // namespace bulkhead::pool
