// Attempts that are lost: which of them are tried again, when, and what is told of them.

#include <gtest/gtest.h>

#include "supervisor/job/dispatcher.hpp"
#include "supervisor/job/history.hpp"
#include "tests/job/fakes.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
using testing::make_job;

class Attempts : public ::testing::Test {
 protected:
  testing::ManualClock clock;
  testing::FakeJournal journal;
  testing::FakeWorkers workers;
  testing::FakeSource source;
  double chance = 0;
  Dispatcher dispatcher{{}, clock, journal, 1, [this] { return chance; }};

  void SetUp() override {
    dispatcher.set_workers(workers);
    dispatcher.set_source(source);
    dispatcher.ready(1, "w0.1", 1, 0);
  }
  Job job(int attempts, std::uint8_t retry_on) {
    Job job = make_job("a", attempts);
    job.submitted_ms = clock.now().wall_ms;
    job.policy.retry_on = retry_on;
    return job;
  }
  void submit(Job job) {
    dispatcher.submit(std::move(job), [](const Accepted&) {});
  }
  void crash(WorkerNumber worker, RunNumber run) {
    Casualty casualty{run, true, Payload::of(R"("{\"error_type\":\"WorkerCrash\"}")"), "WorkerCrash"};
    dispatcher.died(worker, {&casualty, 1});
    dispatcher.ready(worker + 1, "w0." + std::to_string(worker + 1), 1, 0);
  }
  void fail(RunNumber run) { dispatcher.failed(run, 1, Payload::of("\"no\""), {}, 5us, false); }
  void tick(milliseconds by) {
    clock.advance(by);
    dispatcher.tick();
  }
  const Outcome& outcome() { return source.reports["a"].at(0); }
};

TEST_F(Attempts, ATimeOutIsRetriedOnlyWhereAskedFor) {
  for (bool asked : {false, true}) {
    source.reports.clear();
    workers.sent.clear();
    Job timed = job(2, asked ? kLostByTimeout : kLostByCrash);
    timed.policy.execution_timeout = 10s;
    submit(timed);
    const RunNumber run = workers.sent.at(0).run;
    tick(11s);
    EXPECT_EQ(workers.orders.back(), "cancel " + std::to_string(run) + " 2");
    dispatcher.succeeded(run, 1, Payload::of("1"), 1us, false);  // too late
    EXPECT_EQ(source.reports["a"].size(), asked ? 0u : 1u);
    EXPECT_EQ(workers.orders.back(), "ack " + std::to_string(run) + " 1");
    if (!asked) continue;
    tick(1s);
    ASSERT_EQ(workers.sent.size(), 2u);
    EXPECT_EQ(workers.sent[1].attempt, 2);
    dispatcher.succeeded(workers.sent[1].run, 1, Payload::of("2"), 1us, false);
    EXPECT_EQ(outcome().status, Status::Completed);
    EXPECT_NE(outcome().history.bytes().find(R"("reason":"timeout","error_type":"ExecutionTimeout")"),
              std::string_view::npos);
  }
}

TEST_F(Attempts, AHandlersErrorIsRetriedOnlyWhereAskedFor) {
  submit(job(2, kLostByCrash | kLostByTimeout | kLostByLoss));
  fail(1);
  EXPECT_EQ(outcome().error_type, "HandlerError");
  EXPECT_TRUE(outcome().history.empty()) << "nothing was lost";
  source.reports.clear();
  submit(job(2, kLostByError));
  fail(2);
  EXPECT_TRUE(source.reports.empty());
  tick(1s);
  fail(3);
  EXPECT_EQ(outcome().attempts, 2);
  EXPECT_EQ(outcome().error.bytes(), "\"no\"") << "a handler's error is left as it is";
  EXPECT_FALSE(outcome().dead);
}

TEST_F(Attempts, ACrashIsNotRetriedWhereOnlyTimeOutsAre) {
  submit(job(5, kLostByTimeout));
  crash(1, 1);
  EXPECT_EQ(outcome().error_type, "WorkerCrash");
  EXPECT_TRUE(outcome().dead);
}

TEST_F(Attempts, TheWaitDoublesUpToItsEndAndIsNeverShorterThanItsBeginning) {
  Job patient = job(5, kLostByCrash);
  patient.policy.retry_backoff_min = 1s;
  patient.policy.retry_backoff_max = 5s;
  submit(patient);
  RunNumber run = 1;
  WorkerNumber worker = 1;
  for (milliseconds most : {2000ms, 4000ms, 5000ms}) {
    chance = run % 2 == 0 ? 0.999999 : 0;
    const milliseconds wait = chance > 0 ? most : 1000ms;
    crash(worker++, run++);
    tick(wait - 10ms);
    EXPECT_EQ(workers.sent.size(), run - 1) << "before " << wait.count();
    tick(10ms);
    EXPECT_EQ(workers.sent.size(), run) << "after " << wait.count();
  }
}

TEST_F(Attempts, ADrainDoesNotWakeUpForWhatIsNotTriedAgain) {
  submit(job(5, kLostByCrash));
  crash(1, 1);
  EXPECT_TRUE(dispatcher.wake_at());
  dispatcher.drain();
  const auto wake = dispatcher.wake_at();
  tick(1min);
  EXPECT_EQ(workers.sent.size(), 1u);
  EXPECT_TRUE(!wake || *wake > clock.now().mono) << "a time in the past is no time to sleep until";
}

TEST_F(Attempts, ACancelEndsAJobWhoseTimeOutWouldBeRetried) {
  Job timed = job(3, kLostByTimeout);
  timed.policy.execution_timeout = 10s;
  submit(timed);
  tick(11s);
  EXPECT_TRUE(dispatcher.cancel("a"));
  fail(1);
  EXPECT_EQ(outcome().status, Status::Cancelled);
}

TEST_F(Attempts, TheHistoryTellsOfEachAndOfWhereItBegan) {
  submit(job(3, kLostByCrash));
  const std::int64_t begun = clock.now().wall_ms;
  clock.advance(5s);
  dispatcher.checkpoint(1, 1, Payload::of("{}"));
  crash(1, 1);
  tick(1s);
  crash(2, 2);
  tick(2s);
  crash(3, 3);
  const std::string expected =
      R"({"attempt":1,"started_at":)" + std::to_string(begun) + R"(,"ended_at":)" + std::to_string(begun + 5000) +
      R"(,"worker_id":"w0.1","reason":"crash","error_type":"WorkerCrash","from_checkpoint":false},)";
  const std::string_view history = outcome().history.bytes();
  EXPECT_EQ(history.substr(0, expected.size()), expected);
  EXPECT_EQ(std::count(history.begin(), history.end(), '\n'), 2);
  EXPECT_NE(history.find(R"("worker_id":"w0.3","reason":"crash","error_type":"WorkerCrash","from_checkpoint":true})"),
            std::string_view::npos);
  EXPECT_TRUE(outcome().error.bytes().ends_with(R"(\"from_checkpoint\":true}]}")")) << outcome().error.bytes();
  EXPECT_TRUE(outcome().dead);
}

TEST_F(Attempts, OneThatAnEndingSupervisorCutOffFollowsThePolicy) {
  Recovered retried, ended;
  retried.job = job(2, kLostByLoss);
  ended.job = job(2, kLostByCrash);
  ended.job.id = "b";
  for (Recovered* one : {&retried, &ended}) {
    one->attempts = 1;
    one->run = 70 + static_cast<RunNumber>(one == &ended);
    one->started_ms = 1000;
    one->worker_id = "w9.9";
  }
  dispatcher.recover({retried, ended});
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].attempt, 2);
  EXPECT_EQ(source.reports["b"].at(0).error_type, "WorkerLost");
  EXPECT_NE(source.reports["b"][0].history.bytes().find(R"("worker_id":"w9.9","reason":"lost")"),
            std::string_view::npos);
}

TEST(History, KeepsTheLastOnesAndNoNumberTwice) {
  Payload history;
  for (int attempt = 1; attempt <= 100; ++attempt)
    for (int twice = 0; twice < 2; ++twice) history = with_attempt(history, {.attempt = attempt, .reason = "crash"});
  EXPECT_EQ(std::count(history.bytes().begin(), history.bytes().end(), '\n') + 1, kMostAttemptsKept);
  EXPECT_TRUE(history.bytes().starts_with(R"({"attempt":69,)")) << history.bytes();
}

}  // namespace
}  // namespace bulkhead
