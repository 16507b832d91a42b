// What can be asked of an endpoint, and how long to go on asking.

#pragma once

#include <cstdint>
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
  std::variant<std::string, Exit> ask(bool post, const std::string& path, const std::string& body = "");

  /// Gives the body of a 200 to `take` as it comes.
  Exit read(const Request& request, const Connection::Take& take);

  /// The same, on and on: where the answer ends or is lost, `request` is called for what to go on with. Ends with the
  /// deadline, with a signal, or when nobody looks any more: the code is then kOk or the signal's, without a text.
  Exit keep_reading(const std::function<Request()>& request, const Connection::Take& take);

  /// Waits, with an eye on what Connection::look_beside was told of. False: it is to end, by that or by a signal.
  bool pause(milliseconds time);
  void look_beside(Beside beside) { connection_.look_beside(std::move(beside)); }

  /// The new job's id. Where the connection was lost on the way, or the endpoint has no room, sends it again with the
  /// same key; where nothing listens at first, gives up at once, as all below do.
  std::variant<std::string, Exit> submit(const std::string& body, const std::string& idempotency_key);

  /// The job once it has ended, as the endpoint's JSON. Goes on over lost connections.
  std::variant<std::string, Exit> wait(const std::string& id);

  /// What there is to hear of a job on its way.
  struct Hears {
    std::function<void(std::string_view chunk)> chunk;
    /// Its status, or its progress, which is its output. With it an endpoint without server-sent events will do, too: then
    /// nothing is heard before the end.
    std::function<void(std::string_view job)> change;
  };
  /// The same as wait(), each chunk behind the one of number `after` given to `hears` as it comes, once.
  std::variant<std::string, Exit> follow(const std::string& id, const Hears& hears, std::uint32_t after = 0);

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
  std::string last_chunk_;  ///< its number; empty: none yet
  int failures_ = 0;        ///< in a row
  bool met_ = false;        ///< somebody has answered, if not to the point
};

/// Whether it has ended.
bool is_final(std::string_view status);

}  // namespace bulkhead::client
