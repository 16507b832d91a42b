// The child's library inside this process, against a supervisor that does as the test says.

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "bulkhead/bulkhead.h"
#include "tests/child/fake_supervisor.hpp"

namespace bulkhead::test {
namespace {

using protocol::BlackBox;

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

  FakeSupervisor supervisor_;
  bh_child* child_ = nullptr;
  protocol::Hello hello_;
  char error_[256] = "";
};

TEST_F(Abi, SaysHelloAndRunsAJob) {
  connect_ready();
  EXPECT_EQ(hello_.pid, static_cast<std::uint64_t>(getpid()));
  EXPECT_EQ(hello_.sdk, std::string("bulkhead-c/") + bh_version());
  supervisor_.run(7, "{\"a\":1}");
  bh_job* job = next_job();
  EXPECT_STREQ(bh_job_id(job), "job-7");
  EXPECT_EQ(input_of(job), "{\"a\":1}");
  EXPECT_EQ(bh_job_attempt(job), 1);
  EXPECT_EQ(bh_job_checkpoint(job, nullptr), nullptr);
  EXPECT_EQ(supervisor_.entry_of(7), BlackBox::State::Entered);
  EXPECT_EQ(bh_job_done(job, "42", 2, BH_REFRESH_WORKER), BH_OK);
  EXPECT_EQ(supervisor_.entry_of(7), BlackBox::State::Left);
  const auto done = supervisor_.expect<protocol::Done>();
  EXPECT_EQ(done.run, 7u);
  EXPECT_EQ(done.seq, 1u);
  EXPECT_EQ(done.output, "42");
  EXPECT_TRUE(done.refresh_worker);
}

}  // namespace
}  // namespace bulkhead::test
