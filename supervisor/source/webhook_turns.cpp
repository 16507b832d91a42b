#include "supervisor/source/webhook_turns.hpp"

#include <cstddef>

namespace bulkhead {

/// Gives the host its turn if it has somebody to send and a place to send from.
void WebhookTurns::offer(Hosts::iterator host) {
  Host& state = host->second;
  int places = state.slow ? limits_.per_slow_host : limits_.per_host;
  if (state.in_turn || state.line.empty() || state.under_way >= places) return;
  state.in_turn = true;
  turns_.push_back(host->first);
}

/// Forgets a host that nobody waits for. That it is slow is remembered for a while: its deliveries come back.
void WebhookTurns::settle(Hosts::iterator host) {
  constexpr std::size_t kRemembered = 1'000;
  bool remembered = host->second.slow && hosts_.size() <= kRemembered;
  if (host->second.line.empty() && host->second.under_way == 0 && !remembered) hosts_.erase(host);
}

void WebhookTurns::enter(Number number, const std::string& host) {
  auto place = hosts_.try_emplace(host).first;
  place->second.line.push_back(number);
  ++in_line_;
  offer(place);
}

void WebhookTurns::leave(Number number, std::string_view host) {
  auto place = hosts_.find(std::string(host));
  in_line_ -= std::erase(place->second.line, number);
  settle(place);
}

std::optional<WebhookTurns::Number> WebhookTurns::next() {
  while (under_way_ < limits_.at_once && !turns_.empty()) {
    auto host = hosts_.find(turns_.front());
    turns_.pop_front();
    if (host == hosts_.end()) continue;  // its line was left
    Host& state = host->second;
    state.in_turn = false;
    int places = state.slow ? limits_.per_slow_host : limits_.per_host;
    if (state.line.empty() || state.under_way >= places) continue;
    Number number = state.line.front();
    state.line.pop_front();
    --in_line_;
    ++state.under_way;
    ++under_way_;
    offer(host);
    return number;
  }
  return {};
}

void WebhookTurns::end(std::string_view host, End end) {
  hosts_.find(std::string(host))->second.slow = end == End::Slow;
  this->end(host);
}

void WebhookTurns::end(std::string_view host) {
  auto place = hosts_.find(std::string(host));
  --place->second.under_way;
  --under_way_;
  offer(place);
  settle(place);
}

}  // namespace bulkhead
