// The way of an upgrade up to the hand-over, and what is told of it afterwards.
//
//     ask -> obstacle? -> probe of the program that is at our path now -> hand over
//
// Whether it became a good one the init decides: it takes a new supervisor back that is not ready in time or ends soon after
// (supervisor/init). What became of the last one is known from how the init started us.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/http/upgrades.hpp"

namespace bulkhead {

class Upgrade final : public http::Upgrades {
 public:
  struct Hooks {
    std::function<std::string()> obstacle;   ///< why there can be none, now or ever; empty: there can
    std::function<std::string()> listening;  ///< where we do, in the form of kListening (probe.hpp)
    std::function<void()> hand_over;         ///< the new program is a good one, as far as can be told
    std::function<void(const std::string& line, bool bad)> say;
  };

  Upgrade(boost::asio::any_io_executor executor, Hooks hooks);
  ~Upgrade() override;
  Upgrade(const Upgrade&) = delete;
  Upgrade& operator=(const Upgrade&) = delete;

  /// Asked while one is being prepared, it is the same one.
  void ask(std::function<void(const std::string& refusal)> answered) override;
  http::UpgradeView view() const override;

  /// Whether another file is at our path than the one we are.
  bool another_is_installed() const;
  /// Clients are served from here on: the init is told, and people of what became of an upgrade. The journal is not changed
  /// before that by anything but what the supervisor before this one could have done, its format apart.
  void serving();
  bool handing_over() const { return handing_over_; }

  /// For a program to say what it would do.
  static constexpr std::chrono::seconds kProbeTime{10};

 private:
  class Probe;
  void probed(const std::string& refusal, const std::string& version);

  boost::asio::any_io_executor executor_;
  Hooks hooks_;
  std::unique_ptr<Probe> probe_;
  std::vector<std::function<void(const std::string&)>> asked_;
  bool handing_over_ = false;
  std::string next_;
  std::optional<std::chrono::steady_clock::time_point> proved_at_;  ///< the init's trial is over then
};

}  // namespace bulkhead
