// Whose webhook is sent next. Each receiver (host and port) has a line of its own, and the lines take turns, so that one
// that is slow, dead or flooded holds up nobody else's. Pure.

#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace bulkhead {

struct WebhookLimits {
  int at_once = 128;      ///< deliveries under way
  int per_host = 16;      ///< … to one receiver
  int per_slow_host = 2;  ///< … to one that last failed by not answering: 64 dead ones are needed to fill all places
};

class WebhookTurns {
 public:
  using Number = std::uint64_t;
  /// How a try ended. Slow: without an answer in good time.
  enum class End : std::uint8_t { Taken, Refused, Slow };

  explicit WebhookTurns(WebhookLimits limits) : limits_(limits) {}

  /// To the end of its host's line. Every entry is followed by either `next` giving the number, or `leave`.
  void enter(Number number, const std::string& host);
  /// Out of the line again.
  void leave(Number number, std::string_view host);
  /// Who may begin now: counts as under way until `end`.
  std::optional<Number> next();
  void end(std::string_view host, End end);
  /// The same, with nothing learned about the receiver: it was not called, or not to the end.
  void end(std::string_view host);

  int under_way() const { return under_way_; }
  /// Nobody stands in a line or is under way.
  bool idle() const { return under_way_ == 0 && in_line_ == 0; }

 private:
  struct Host {
    std::deque<Number> line;
    int under_way = 0;
    bool slow = false;
    bool in_turn = false;  ///< stands in turns_
  };
  using Hosts = std::unordered_map<std::string, Host>;

  void offer(Hosts::iterator host);
  void settle(Hosts::iterator host);

  WebhookLimits limits_;
  Hosts hosts_;                    ///< those with somebody in line or under way, and slow ones
  std::deque<std::string> turns_;  ///< hosts with a line and a free place, in the order they come up
  int under_way_ = 0;
  std::size_t in_line_ = 0;
};

}  // namespace bulkhead
