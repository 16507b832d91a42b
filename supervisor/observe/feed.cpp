#include "supervisor/observe/feed.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "supervisor/observe/onlooker.hpp"
#include "supervisor/observe/snapshot_json.hpp"

namespace bulkhead::observe {

using std::chrono::steady_clock;

Feed::Feed(boost::asio::any_io_executor executor, const Onlooker& onlooker)
    : timer_(std::move(executor)), onlooker_(onlooker) {}

std::uint64_t Feed::join(Told told) {
  const Time now = steady_clock::now();
  const bool first = watchers_.empty();
  // Whoever comes in a crowd sees what the one before saw.
  if (first || now - made_ >= kApart) make(now);
  const std::uint64_t watcher = ++last_watcher_;
  if (first) arm(now + kEvery);
  watchers_.emplace(watcher, told);
  told(texts_);
  return watcher;
}

void Feed::leave(std::uint64_t watcher) {
  watchers_.erase(watcher);
  if (watchers_.empty()) timer_.cancel();
}

void Feed::happened() {
  if (watchers_.empty()) return;
  const Time soon = std::max(steady_clock::now() + kSoon, made_ + kApart);
  if (soon < due_) arm(soon);
}

/// The history changes slowly and costs more: it is made anew when an interval has closed, and for who comes new.
void Feed::make(Time now) {
  const Snapshot seen = onlooker_.snapshot();
  const auto interval = static_cast<std::uint64_t>(seen.at_ms / std::chrono::milliseconds(History::kInterval).count());
  texts_.snapshot = Payload::of(to_json(seen));
  if (interval != texts_.interval || watchers_.empty() || now - history_made_ >= kEvery * 5) {
    texts_.history = Payload::of(to_json(onlooker_.history(), seen.at_ms));
    history_made_ = now;
  }
  texts_.interval = interval;
  made_ = now;
}

void Feed::arm(Time at) {
  due_ = at;
  timer_.expires_at(at);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) tick();
  });
}

void Feed::tick() {
  if (watchers_.empty()) return;
  const Time now = steady_clock::now();
  make(now);
  arm(now + kEvery);
  std::vector<std::uint64_t> watchers;
  for (const auto& [watcher, told] : watchers_) watchers.push_back(watcher);
  for (const std::uint64_t watcher : watchers) {
    auto found = watchers_.find(watcher);
    if (found == watchers_.end()) continue;
    const Told told = found->second;  // it may leave
    told(texts_);
  }
}

}  // namespace bulkhead::observe
