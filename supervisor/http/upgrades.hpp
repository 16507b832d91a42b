// How clients ask for the upgrade of the supervisor behind the server, and see what became of it.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "supervisor/http/routes.hpp"

namespace bulkhead::http {

struct UpgradeView {
  std::string version;   ///< of the program that answers
  std::int64_t pid = 0;  ///< its process: another one after an upgrade
  std::string state;     ///< "serving", "checking" (whether the new program is any good), "handing_over"
  /// How this supervisor came to be: "first"; "again", after a crash; "trial" and then "upgraded"; "back", after a new one
  /// that was no good.
  std::string life;
  std::string reason;  ///< of "back"
  std::string next;    ///< handing_over: the version to come
};

class Upgrades {
 public:
  virtual ~Upgrades() = default;
  /// Calls `answered` once: with nothing when the hand-over is about to begin, else with the reason why it does not.
  virtual void ask(std::function<void(const std::string& refusal)> answered) = 0;
  virtual UpgradeView view() const = 0;
};

/// /bulkhead/upgrade: GET shows, POST asks.
void upgrade(Api& api, Exchange& exchange);

}  // namespace bulkhead::http
