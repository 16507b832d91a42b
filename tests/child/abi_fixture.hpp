// The child's library in this very process, connected to a supervisor that does as the test says.

#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <future>
#include <string>

#include "bulkhead/bulkhead.h"
#include "tests/child/fake_supervisor.hpp"

namespace bulkhead::test {

class Abi : public testing::Test {
 protected:
  ~Abi() override {
    if (child_ != nullptr) bh_close(child_, 0);
  }

  /// Connects and is welcomed.
  bh_child* connect(const protocol::Welcome& welcome = {}, bh_options options = {}) {
    supervisor_.set_environment();
    options.size = sizeof options;
    options.keep_signals = 1;
    auto connecting = std::async(std::launch::async, [&] { return bh_connect(&options, error_, sizeof error_); });
    hello_ = supervisor_.welcome(welcome);
    child_ = connecting.get();
    EXPECT_NE(child_, nullptr) << error_;
    return child_;
  }
  bh_child* connect_ready(int concurrency = 1, const protocol::Welcome& welcome = {}, bh_options options = {}) {
    connect(welcome, options);
    EXPECT_EQ(bh_ready(child_, concurrency), BH_OK);
    EXPECT_EQ(supervisor_.expect<protocol::Ready>().concurrency, static_cast<std::uint32_t>(concurrency));
    return child_;
  }
  bh_event next(int timeout_ms = static_cast<int>(kPatience.count())) {
    bh_event event{};
    EXPECT_EQ(bh_next(child_, timeout_ms, &event), BH_OK);
    return event;
  }
  bh_job* next_job() {
    const bh_event event = next();
    EXPECT_EQ(event.kind, BH_EVENT_JOB);
    return event.job;
  }
  static std::string input_of(const bh_job* job) {
    std::size_t size = 0;
    const char* input = bh_job_input(job, &size);
    return {input, size};
  }

  explicit Abi(int most_unread = 0) : supervisor_(most_unread) {}

  FakeSupervisor supervisor_;
  bh_child* child_ = nullptr;
  protocol::Hello hello_;
  char error_[256] = "";
};

}  // namespace bulkhead::test
