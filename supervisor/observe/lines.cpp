#include "supervisor/observe/lines.hpp"

#include <utility>

namespace bulkhead::observe {

void Lines::add(const Line& line) {
  constexpr std::size_t kLongestName = 255;
  const std::string_view job = line.job.substr(0, kLongestName), worker = line.worker.substr(0, kLongestName),
                         stream = line.stream.substr(0, kLongestName), text = line.text.substr(0, kLongest);
  Kept& kept = lines_.emplace_back(Kept{.at_ms = line.at_ms,
                                        .level = line.level,
                                        .job = static_cast<std::uint8_t>(job.size()),
                                        .worker = static_cast<std::uint8_t>(worker.size()),
                                        .stream = static_cast<std::uint8_t>(stream.size()),
                                        .bytes = {}});
  kept.bytes.reserve(job.size() + worker.size() + stream.size() + text.size());
  kept.bytes.append(job).append(worker).append(stream).append(text);
  bytes_ += kept.bytes.size();
  while (lines_.size() > kMostLines || bytes_ > kMostBytes) {
    bytes_ -= lines_.front().bytes.size();
    lines_.pop_front();
    ++first_;
  }
  for (auto& [waiter, written] : std::exchange(waiters_, {})) written();
}

Lines::Line Lines::at(std::uint64_t number) const {
  const Kept& kept = lines_[number - first_];
  std::string_view rest = kept.bytes;
  const auto take = [&](std::size_t size) {
    const std::string_view part = rest.substr(0, size);
    rest.remove_prefix(size);
    return part;
  };
  Line line{.number = number, .at_ms = kept.at_ms, .level = kept.level};
  line.job = take(kept.job);
  line.worker = take(kept.worker);
  line.stream = take(kept.stream);
  line.text = rest;
  return line;
}

std::uint64_t Lines::wait(std::function<void()> written) {
  waiters_.emplace(++last_waiter_, std::move(written));
  return last_waiter_;
}

}  // namespace bulkhead::observe
