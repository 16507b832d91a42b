// Jobs that a child of an earlier supervisor has still, as the core takes them up.

#include <gtest/gtest.h>

#include "supervisor/job/dispatcher.hpp"
#include "supervisor/job/history.hpp"
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
  dispatcher.resumed(7, 0, true);
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
  dispatcher.resumed(7, 2, true);  // two were acknowledged
  for (std::uint32_t seq = 3; seq <= 6; ++seq) chunk(seq);
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"chunk a 15", "chunk a 16"}));
  EXPECT_EQ(source.lines, (std::vector<std::string>{"started a on w0.5 attempt 2", "chunk a 13 3", "chunk a 14 4",
                                                    "chunk a 15 5", "chunk a 16 6"}));
}

TEST_F(AdoptionTest, TheNextAttemptsChunksGoBehindThoseThatWereStored) {
  Recovered job = known();
  job.job.policy.max_attempts = 3;
  job.last_chunk = 10, job.first_chunk = 1;
  take_up(job);
  dispatcher.resumed(7, 8, true);  // the ninth and tenth would come again
  const Casualty casualty{7, true, Payload::of("\"record\""), "WorkerCrash"};
  dispatcher.died(3, {&casualty, 1});
  dispatcher.ready(4, "w0.6", 1, 0);
  clock.advance(1min);
  dispatcher.tick();
  ASSERT_EQ(workers.sent.size(), 1u);
  journal.lines.clear();
  dispatcher.chunk(workers.sent[0].run, 1, Payload::of("1"));
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"chunk a 11"}));
}

TEST_F(AdoptionTest, TheFirstChunkOfAnAttemptGoesOnFromThoseBeforeIt) {
  Recovered job = known();
  job.last_chunk = 10;
  take_up(job);
  dispatcher.resumed(7, 0, true);
  chunk(1);
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"chunk a 11"}));
}

TEST_F(AdoptionTest, ItsDeadlineCountsFromItsFirstStart) {
  Recovered job = known(5s);
  job.job.policy.execution_timeout = 10s;
  take_up(job);
  dispatcher.resumed(7, 0, true);
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
  dispatcher.resumed(7, 0, true);
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
  dispatcher.resumed(7, 0, true);
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

TEST_F(AdoptionTest, WhatWasBeingCancelledIsCancelled) {
  Recovered job = known();
  job.cancelled = true;
  take_up(job);
  workers.orders.clear();  // before its child has connected nobody hears it
  dispatcher.resumed(7, 0, true);
  EXPECT_TRUE(ordered("cancel 7 1"));
  dispatcher.succeeded(7, 1, Payload::of("1"), 1500us, false);
  ASSERT_EQ(source.reports["a"].size(), 1u);
  EXPECT_EQ(source.reports["a"][0].status, Status::Cancelled);
}

TEST_F(AdoptionTest, WhatWasBeingCancelledAndIsLostIsCancelled) {
  Recovered job = known();
  job.cancelled = true;
  dispatcher.recover({std::move(job)}, {}, {});
  ASSERT_EQ(source.reports["a"].size(), 1u);
  EXPECT_EQ(source.reports["a"][0].status, Status::Cancelled);
  EXPECT_TRUE(source.reports["a"][0].error.empty());
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

TEST_F(AdoptionTest, ItKeepsItsHistoryAndItsCheckpoint) {
  Recovered job = known();
  job.job.policy.max_attempts = 3;
  job.history = with_attempt({}, {.attempt = 1, .worker_id = "w0.4", .reason = "crash", .error_type = "WorkerCrash"});
  job.checkpoint = Payload::of("\"third\"");
  job.from_checkpoint = true;
  take_up(std::move(job));
  dispatcher.resumed(7, 0, true);
  const Casualty casualty{7, true, Payload::of("\"record\""), "WorkerCrash"};
  dispatcher.died(3, {&casualty, 1});
  dispatcher.ready(4, "w0.6", 1, 0);
  clock.advance(1min);
  dispatcher.tick();
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].attempt, 3);
  EXPECT_EQ(workers.sent[0].checkpoint, "\"third\"");
  dispatcher.succeeded(100, 1, Payload::of("1"), 1500us, false);
  ASSERT_EQ(source.reports["a"].size(), 1u);
  const std::string history(source.reports["a"][0].history.bytes());
  const std::size_t first = history.find(R"("attempt":1)"), second = history.find(R"("attempt":2)");
  ASSERT_LT(first, second) << history;
  ASSERT_NE(second, std::string::npos) << history;
  EXPECT_NE(history.find(R"("worker_id":"w0.5","reason":"crash","error_type":"WorkerCrash","from_checkpoint":true)"),
            std::string::npos)
      << history;
  EXPECT_NE(history.find(R"("reason":"completed")"), std::string::npos) << history;
}

TEST_F(AdoptionTest, WhatWentWithTheSupervisorIsNoCrash) {
  for (const std::uint8_t retry_on : {kLostByCrash, kLostByLoss}) {
    SCOPED_TRACE(static_cast<int>(retry_on));
    source.reports.clear();
    Recovered job = known();
    job.job.policy.max_attempts = 3;
    job.job.policy.retry_on = retry_on;
    take_up(std::move(job));
    const Casualty casualty{7, true, Payload::of("\"record\""), std::string(kWorkerLost)};
    dispatcher.died(3, {&casualty, 1});
    EXPECT_EQ(source.reports["a"].size(), retry_on == kLostByCrash ? 1u : 0u);
    if (retry_on != kLostByCrash) continue;
    EXPECT_FALSE(source.reports["a"][0].dead);
    EXPECT_NE(source.reports["a"][0].history.bytes().find(R"("reason":"lost","error_type":"WorkerLost")"),
              std::string_view::npos);
  }
  EXPECT_EQ(source.lines.back(), "requeued a");
}

TEST_F(AdoptionTest, OneThatStandsStillIsStoppedOnceItsHandlerIsKnownToRun) {
  Recovered job = known();
  job.job.policy.stall_timeout = 4s;
  take_up(std::move(job));
  const auto wait = [&] {
    for (int second = 0; second < 6; ++second) {
      clock.advance(1s);
      dispatcher.tick();
    }
  };
  wait();
  EXPECT_FALSE(ordered("cancel 7 2"));
  dispatcher.resumed(7, 0, true);
  clock.advance(1s);
  dispatcher.tick();
  EXPECT_FALSE(ordered("cancel 7 2")) << "its time begins anew";
  wait();
  EXPECT_TRUE(ordered("cancel 7 2"));
}

}  // namespace
}  // namespace bulkhead
