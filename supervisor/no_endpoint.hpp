// An endpoint that has no jobs and takes none: behind the routes that only look.

#pragma once

#include <functional>
#include <string_view>
#include <utility>

#include "supervisor/job/ports.hpp"

namespace bulkhead {

class NoEndpoint final : public Endpoint {
 public:
  void submit(Job, std::function<void(Accepted)> answered) override {
    answered({Refusal::Draining, "no endpoint", {}});
  }
  void status(std::string_view, Seen seen) override { seen(nullptr); }
  std::uint64_t wait(std::string_view, milliseconds, Seen seen) override { return seen(nullptr), 0; }
  void stop_waiting(std::uint64_t) override {}
  std::uint64_t stream(std::string_view, milliseconds, Unread seen) override { return seen(nullptr, {}), 0; }
  CancelResult cancel(std::string_view) override { return CancelResult::Unknown; }
  std::size_t purge() override { return 0; }
  HealthView health() const override { return {}; }
};

}  // namespace bulkhead
