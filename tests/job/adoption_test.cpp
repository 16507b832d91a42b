// Jobs that a child of an earlier supervisor has still, as the core takes them up.

#include <gtest/gtest.h>

#include "supervisor/job/dispatcher.hpp"
#include "tests/job/fakes.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
using testing::make_job;

class AdoptionTest : public ::testing::Test {
 protected:
  testing::ManualClock clock;
  testing::FakeJournal journal;
  testing::FakeWorkers workers;
  testing::FakeSource source;
  Dispatcher dispatcher{{}, clock, journal, 100, [] { return 1.0; }};

  void SetUp() override {
    dispatcher.set_workers(workers);
    dispatcher.set_source(source);
  }

  /// Run 7 of job "a", which child 3 ("w0.5") has had for `ago`.
  Recovered known(milliseconds ago = 1s) {
    Recovered job;
    job.job = make_job("a");
    job.job.submitted_ms = job.started_ms = clock.now().wall_ms - ago.count();
    job.run = 7, job.attempts = 2, job.worker_id = "w0.5";
    return job;
  }
  void take_up(Recovered job) {
    dispatcher.recover({std::move(job)}, {}, [](const Recovered& asked) {
      EXPECT_EQ(asked.job.id, "a");
      return asked.run == 7 ? WorkerNumber{3} : WorkerNumber{0};
    });
  }
  void chunk(std::uint32_t seq) { dispatcher.chunk(7, seq, Payload::of(std::to_string(seq))); }
  bool ordered(const std::string& order) const {
    return std::find(workers.orders.begin(), workers.orders.end(), order) != workers.orders.end();
  }
};

TEST_F(AdoptionTest, ItGoesOnAsIfNothingHadBeen) {
  take_up(known());
  EXPECT_EQ(source.lines, (std::vector<std::string>{"started a on w0.5 attempt 2"}));
  EXPECT_TRUE(journal.lines.empty()) << "nothing is new";
  EXPECT_EQ(dispatcher.unfinished(), 1u);
  dispatcher.resumed(7, 0);
  dispatcher.succeeded(7, 1, Payload::of("1"), 1500us, false);
  ASSERT_EQ(source.reports["a"].size(), 1u);
  EXPECT_EQ(source.reports["a"][0].status, Status::Completed);
  EXPECT_EQ(source.reports["a"][0].worker_id, "w0.5");
  EXPECT_EQ(source.reports["a"][0].attempts, 2);
  EXPECT_TRUE(ordered("ack 7 1"));
  EXPECT_EQ(dispatcher.unfinished(), 0u);
}

TEST_F(AdoptionTest, ItTakesItsChildsRoom) {
  take_up(known());
  dispatcher.ready(3, "w0.5", 1, 0);
  dispatcher.submit(make_job("b"), [](Accepted) {});
  EXPECT_TRUE(workers.sent.empty());
  dispatcher.succeeded(7, 1, Payload::of("1"), 1500us, false);
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].worker, 3u);
  EXPECT_EQ(workers.sent[0].run, 100u);
}

TEST_F(AdoptionTest, ChunksThatComeAgainAreNotWrittenAgain) {
  Recovered job = known();
  job.first_chunk = 11, job.last_chunk = 14;  // ten of an earlier attempt, then four
  take_up(job);
  dispatcher.resumed(7, 2);  // two were acknowledged
  for (std::uint32_t seq = 3; seq <= 6; ++seq) chunk(seq);
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"chunk a 15", "chunk a 16"}));
  EXPECT_EQ(source.lines, (std::vector<std::string>{"started a on w0.5 attempt 2", "chunk a 13 3", "chunk a 14 4",
                                                    "chunk a 15 5", "chunk a 16 6"}));
}

TEST_F(AdoptionTest, TheFirstChunkOfAnAttemptGoesOnFromThoseBeforeIt) {
  Recovered job = known();
  job.last_chunk = 10;
  take_up(job);
  dispatcher.resumed(7, 0);
  chunk(1);
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"chunk a 11"}));
}

TEST_F(AdoptionTest, ItsDeadlineCountsFromItsFirstStart) {
  Recovered job = known(5s);
  job.job.policy.execution_timeout = 10s;
  take_up(job);
  dispatcher.resumed(7, 0);
  clock.advance(4999ms);
  dispatcher.tick();
  EXPECT_TRUE(workers.orders.empty());
  clock.advance(1ms);
  dispatcher.tick();
  EXPECT_TRUE(ordered("cancel 7 2"));
}

TEST_F(AdoptionTest, AResultThatCouldNotBeSentInTimeIsNotLate) {
  Recovered job = known(11s);
  job.job.policy.execution_timeout = 10s;
  take_up(job);
  clock.advance(1s);
  dispatcher.tick();
  dispatcher.resumed(7, 0);
  dispatcher.tick();
  EXPECT_TRUE(workers.orders.empty());
  dispatcher.succeeded(7, 1, Payload::of("1"), 9'000'000us, false);
  ASSERT_EQ(source.reports["a"].size(), 1u);
  EXPECT_EQ(source.reports["a"][0].status, Status::Completed);
}

TEST_F(AdoptionTest, WhatIsStillRunningBehindItsDeadlineIsStopped) {
  Recovered job = known(11s);
  job.job.policy.execution_timeout = 10s;
  take_up(job);
  dispatcher.resumed(7, 0);
  clock.advance(DispatcherOptions().kept_time);
  dispatcher.tick();
  EXPECT_TRUE(ordered("cancel 7 2"));
}

TEST_F(AdoptionTest, AChildThatDoesNotConnectKeepsNoDeadlineForEver) {
  Recovered job = known(11s);
  job.job.policy.execution_timeout = 10s;
  take_up(job);
  clock.advance(DispatcherOptions().connect_time);
  dispatcher.tick();
  EXPECT_TRUE(ordered("cancel 7 2"));
}

TEST_F(AdoptionTest, WhatItsChildDoesNotHaveWaitsAgainUncounted) {
  take_up(known());
  dispatcher.handed_back(7, 0);
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"requeue a uncounted"}));
  dispatcher.ready(3, "w0.5", 1, 0);
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].attempt, 2);
}

TEST_F(AdoptionTest, ADeadChildsJobEndsAsAnyOther) {
  take_up(known());
  const Casualty casualty{7, true, Payload::of("\"record\""), "WorkerCrash"};
  dispatcher.died(3, {&casualty, 1});
  ASSERT_EQ(source.reports["a"].size(), 1u);
  EXPECT_EQ(source.reports["a"][0].error.bytes(), "\"record\"");
  EXPECT_EQ(dispatcher.unfinished(), 0u);
}

}  // namespace
}  // namespace bulkhead
