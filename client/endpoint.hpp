// What can be asked of an endpoint, and how long to go on asking.

#pragma once

#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <variant>

#include "client/connection.hpp"

namespace bulkhead::client {

class Endpoint {
 public:
  /// Says a line to whoever sits in front of it.
  using Say = std::function<void(const std::string& line)>;

  /// `options` and `interrupts` outlive it. `deadline` bounds everything.
  Endpoint(const Options& options, Interrupts& interrupts, Clock::time_point deadline, Say say);

  /// The body of a 200, or why there is none. Asks once.
  std::variant<std::string, Exit> ask(bool post, const std::string& path);

  /// The new job's id. Where the connection was lost on the way, or the endpoint has no room, sends it again with the
  /// same key; where nothing listens at first, gives up at once.
  std::variant<std::string, Exit> submit(const std::string& body, const std::string& idempotency_key);

  /// The job once it has ended, as the endpoint's JSON. Goes on over lost connections.
  std::variant<std::string, Exit> wait(const std::string& id);

  /// The same, each chunk given to `take` as it comes, once.
  std::variant<std::string, Exit> follow(const std::string& id,
                                         const std::function<void(std::string_view chunk)>& take);

 private:
  std::optional<Exit> try_again(const std::variant<Answer, Lost>& result, const std::string& id);
  void in_contact();
  Exit explain(const Answer& answer) const;
  Exit explain(const Lost& lost) const;
  Exit stop(const Lost& lost, const std::string& id) const;

  const Options& options_;
  Interrupts& interrupts_;
  Clock::time_point deadline_;
  Say say_;
  Connection connection_;
  std::minstd_rand random_;
  Clock::time_point last_contact_;
  int failures_ = 0;  ///< in a row
};

/// Whether it has ended.
bool is_final(std::string_view status);

}  // namespace bulkhead::client
