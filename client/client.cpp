#include "client/client.hpp"

#include <exception>
#include <variant>

#include "client/console.hpp"
#include "client/verbs.hpp"

namespace bulkhead::client {

using namespace std::chrono_literals;

namespace {

int work(const Options& options) {
  switch (options.verb) {
    case Verb::Submit: return submit(options);
    case Verb::Status: return status(options);
    case Verb::Stream: return stream(options);
    case Verb::Cancel: return cancel(options);
    case Verb::Retry: return retry(options);
    case Verb::Purge: return purge(options);
    case Verb::Health: return health(options);
    case Verb::Ps: return ps(options);
    case Verb::Top: return top(options);
    case Verb::Logs: return logs(options);
    case Verb::Drain: return drain(options);
    case Verb::Scale: return scale(options);
    case Verb::Upgrade: return upgrade(options);
    case Verb::Dead: return dead(options);
  }
  return kUsage;
}

}  // namespace

Clock::time_point deadline_of(const Options& options) {
  bool waits = options.wait || options.stream || options.verb == Verb::Stream;
  bool looks = options.watch || options.follow || options.verb == Verb::Top;
  constexpr auto kForEver = 24h * 10'000;
  milliseconds usual = looks ? milliseconds(kForEver) : waits ? milliseconds(24h) : milliseconds(1min);
  return Clock::now() + options.timeout.value_or(usual);
}

std::optional<int> run(int argc, const char* const* argv) {
  const Command* command = nullptr;
  for (const Command& one : commands())
    if (argc > 1 && one.name == argv[1]) command = &one;
  if (command == nullptr) return {};
  auto parsed = parse(command->verb, {argv + 2, argv + argc});
  if (auto* exit = std::get_if<Exit>(&parsed)) return finish(print(*exit));
  try {
    return work(std::get<Options>(parsed));
  } catch (const std::exception& error) {
    say(error.what());
  }
  return kBroken;
}

}  // namespace bulkhead::client
