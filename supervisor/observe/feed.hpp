// What there is to see, told to all who watch at once: the text is made once for all of them, and not at all while nobody
// watches.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>

#include "supervisor/job/payload.hpp"

namespace bulkhead::observe {

class Onlooker;

class Feed {
 public:
  static constexpr std::chrono::milliseconds kEvery{1'000};
  /// What happens is told this soon …
  static constexpr std::chrono::milliseconds kSoon{20};
  /// … but not more often than that.
  static constexpr std::chrono::milliseconds kApart{200};

  struct Texts {
    Payload snapshot;  ///< to_json()
    Payload history;
    std::uint64_t interval = 0;  ///< another number: an interval of the history has closed
  };
  using Told = std::function<void(const Texts&)>;

  /// `onlooker` outlives it.
  Feed(boost::asio::any_io_executor executor, const Onlooker& onlooker);

  /// `told` is called now, every kEvery, and soon after something has happened, until leave(). It may call leave().
  std::uint64_t join(Told told);
  void leave(std::uint64_t watcher);

  /// Something has happened that is to be seen.
  void happened();

 private:
  using Time = std::chrono::steady_clock::time_point;

  void make(Time now);
  void arm(Time at);
  void tick();

  boost::asio::steady_timer timer_;
  const Onlooker& onlooker_;
  std::map<std::uint64_t, Told> watchers_;
  std::uint64_t last_watcher_ = 0;
  Texts texts_;
  Time made_{};          ///< when they were; never: at the clock's beginning
  Time history_made_{};  ///< the same of the history alone
  Time due_{};
};

}  // namespace bulkhead::observe
