// Inputs that crash their children, and runs that stand still.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "supervisor/job/dispatcher.hpp"
#include "tests/job/fakes.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
using testing::make_job;

/// Children that use as much CPU time as they are told to.
class BusyWorkers final : public Workers {
 public:
  testing::FakeWorkers plain;
  std::chrono::microseconds used{0};
  int asked = 0;
  std::map<RunNumber, std::function<void(Payload)>> examined;

  void send(const Assignment& assignment) override { plain.send(assignment); }
  void cancel(RunNumber run, StopReason reason) override { plain.cancel(run, reason); }
  void recall(RunNumber run) override { plain.recall(run); }
  void acknowledge(RunNumber run, std::uint32_t seq) override { plain.acknowledge(run, seq); }
  void terminate(WorkerNumber worker) override { plain.terminate(worker); }
  void kill(WorkerNumber worker, std::string reason) override { plain.kill(worker, std::move(reason)); }
  void refresh(WorkerNumber worker) override { plain.refresh(worker); }
  std::optional<std::chrono::microseconds> cpu_time(WorkerNumber) override {
    ++asked;
    return used;
  }
  void examine(RunNumber run, std::function<void(Payload)> seen) override { examined[run] = std::move(seen); }
};

class Poison : public ::testing::Test {
 protected:
  testing::ManualClock clock;
  testing::FakeJournal journal;
  BusyWorkers workers;
  testing::FakeSource source;
  std::string build = "first";
  Dispatcher dispatcher{{.quarantine = 3}, clock, journal, 1, [] { return 0.0; }};

  void SetUp() override {
    dispatcher.set_workers(workers);
    dispatcher.set_source(source);
    dispatcher.set_fingerprints([](std::string_view input) { return std::string(input); }, [this] { return build; });
  }
  void submit(const std::string& id, const std::string& input, milliseconds stall = 0ms) {
    Job job = make_job(id);
    job.input = Payload::of(input);
    job.submitted_ms = clock.now().wall_ms;
    job.policy.stall_timeout = stall;
    dispatcher.submit(std::move(job), [](const Accepted&) {});
  }
  void crash(WorkerNumber worker, std::vector<RunNumber> runs) {
    std::vector<Casualty> casualties;
    for (RunNumber run : runs)
      casualties.push_back({run, true, Payload::of(R"("{\"error_type\":\"WorkerCrash\"}")"), "WorkerCrash"});
    dispatcher.died(worker, casualties);
  }
  void tick(milliseconds by) {
    clock.advance(by);
    dispatcher.tick();
  }
  const Outcome& outcome(const std::string& id) { return source.reports[id].at(0); }
  std::size_t sent() const { return workers.plain.sent.size(); }
};

TEST_F(Poison, AnInputIsRefusedOnceItHasCrashedItsChildren) {
  for (int n = 1; n <= 3; ++n) {
    submit("bad" + std::to_string(n), "bad");
    dispatcher.ready(n, "w", 1, 0);
    crash(n, {static_cast<RunNumber>(n)});
    EXPECT_EQ(outcome("bad" + std::to_string(n)).error_type, "WorkerCrash");
  }
  dispatcher.ready(4, "w", 1, 0);
  submit("bad4", "bad");
  EXPECT_EQ(sent(), 3u);
  EXPECT_EQ(outcome("bad4").error_type, "Quarantined");
  EXPECT_EQ(outcome("bad4").status, Status::Failed);
  EXPECT_FALSE(outcome("bad4").dead);
  EXPECT_TRUE(outcome("bad4").error.bytes().ends_with(R"(,\"first_crash\":{\"error_type\":\"WorkerCrash\"}}")"))
      << outcome("bad4").error.bytes();
  EXPECT_TRUE(dispatcher.quarantined(Payload::of("bad")));
  submit("good", "good");
  EXPECT_EQ(workers.plain.sent.back().job, "good");
  EXPECT_EQ(dispatcher.clear_quarantine(), 1u);
  EXPECT_FALSE(dispatcher.quarantined(Payload::of("bad")));
}

TEST_F(Poison, ASuspectRunsNoMoreOftenAtOnceThanItMayCrash) {
  dispatcher.ready(1, "w", 1, 0);
  submit("bad0", "bad");
  for (int n = 1; n <= 4; ++n) submit("bad" + std::to_string(n), "bad");
  crash(1, {1});
  dispatcher.ready(2, "w", 8, 0);
  submit("good", "good");
  EXPECT_EQ(sent(), 4u) << "two copies, and the good one";
  EXPECT_EQ(workers.plain.sent.back().job, "good") << "which does not wait behind them";
  dispatcher.succeeded(2, 1, Payload::of("1"), 1us, false);
  tick(1s);
  EXPECT_EQ(sent(), 5u) << "one ended, so another may run";
}

TEST_F(Poison, CopiesWaitWhileItIsNotYetKnownHowAChildEnded) {
  dispatcher.ready(1, "w", 1, 0);
  submit("bad0", "bad");
  dispatcher.retiring(1);  // its process is gone
  dispatcher.ready(2, "w", 8, 0);
  for (int n = 1; n <= 4; ++n) submit("bad" + std::to_string(n), "bad");
  EXPECT_EQ(sent(), 3u) << "the one that died, and as many as are left to three";
  crash(1, {1});
  EXPECT_EQ(sent(), 3u);
  EXPECT_FALSE(dispatcher.quarantined(Payload::of("bad")));
}

TEST_F(Poison, WhatAChildRanThatEndedInPeaceIsNoSuspect) {
  dispatcher.ready(1, "w", 1, 0);
  submit("good0", "good");
  dispatcher.retiring(1);
  dispatcher.succeeded(1, 1, Payload::of("1"), 1us, false);
  dispatcher.died(1, {});
  dispatcher.ready(2, "w", 8, 0);
  for (int n = 1; n <= 6; ++n) submit("good" + std::to_string(n), "good");
  EXPECT_EQ(sent(), 7u);
  EXPECT_EQ(dispatcher.clear_quarantine(), 0u);
}

TEST_F(Poison, OfSeveralJobsInOneChildNobodyIsBlamed) {
  dispatcher.ready(1, "w", 2, 0);
  submit("a", "a");
  submit("b", "b");
  crash(1, {1, 2});
  EXPECT_EQ(dispatcher.clear_quarantine(), 0u);
}

TEST_F(Poison, ACrashCountsOnceItsJobIsSettledSoThatNoRestartCountsItTwice) {
  dispatcher.ready(1, "w", 1, 0);
  submit("bad", "bad");
  crash(1, {1});
  const auto place = [&](const std::string& line) {
    return std::find(journal.lines.begin(), journal.lines.end(), line) - journal.lines.begin();
  };
  EXPECT_LT(place("finish bad FAILED"), place("suspect bad 1"));
  EXPECT_LT(place("suspect bad 1"), std::ssize(journal.lines));
}

TEST_F(Poison, ARefusalIsNoCrashRecord) {
  dispatcher.recover_suspects({{.fingerprint = "bad", .build = "first", .crashes = 2, .record = {}}});
  dispatcher.ready(1, "w", 1, 0);
  Job job = make_job("bad", 3);
  job.input = Payload::of("bad");
  job.submitted_ms = clock.now().wall_ms;
  dispatcher.submit(std::move(job), [](const Accepted&) {});
  crash(1, {1});
  dispatcher.ready(2, "w", 1, 0);
  tick(60s);
  ASSERT_EQ(outcome("bad").error_type, "Quarantined");
  EXPECT_TRUE(outcome("bad").dead);
  EXPECT_EQ(journal.crashes, std::vector<std::string>{R"("{\"error_type\":\"WorkerCrash\"}")"});
}

TEST_F(Poison, AnotherBuildStartsFromNothing) {
  Suspect known{.fingerprint = "bad", .build = "first", .crashes = 3}, old = known;
  old.fingerprint = "old";
  old.build = "before";
  dispatcher.recover_suspects({known, old});
  EXPECT_TRUE(dispatcher.quarantined(Payload::of("bad")));
  EXPECT_FALSE(dispatcher.quarantined(Payload::of("old")));
  build = "second";
  EXPECT_FALSE(dispatcher.quarantined(Payload::of("bad")));
}

TEST_F(Poison, ARunThatStandsStillIsExaminedAndStopped) {
  dispatcher.ready(1, "w", 1, 0);
  submit("a", "{}", 4s);
  EXPECT_EQ(workers.asked, 0) << "a job that ends at once costs no look";
  for (int second = 0; second < 4; ++second) tick(1s);
  EXPECT_TRUE(workers.examined.empty()) << "the first look has nothing to compare with";
  tick(1s);
  ASSERT_EQ(workers.examined.count(1), 1u);
  EXPECT_TRUE(workers.plain.orders.empty()) << "not before its stacks are taken";
  workers.examined[1](Payload::of(R"("{\"error_type\":\"Stalled\"}")"));
  EXPECT_EQ(workers.plain.orders.back(), "cancel 1 2");
  crash(1, {1});
  EXPECT_EQ(outcome("a").error_type, "Stalled");
  EXPECT_EQ(outcome("a").error.bytes(), R"("{\"error_type\":\"Stalled\"}")");
  EXPECT_NE(outcome("a").history.bytes().find(R"("reason":"stall")"), std::string_view::npos);
  EXPECT_FALSE(outcome("a").dead);
}

TEST_F(Poison, WordsAndWorkAreSignsOfLife) {
  dispatcher.ready(1, "w", 1, 0);
  submit("a", "{}", 4s);
  for (int second = 0; second < 20; ++second) {
    if (second % 3 == 0) dispatcher.progress(1, Payload::of("1"));
    tick(1s);
  }
  for (int second = 0; second < 20; ++second) {
    workers.used += 10ms;
    tick(1s);
  }
  EXPECT_TRUE(workers.examined.empty());
  for (int second = 0; second < 20; ++second) {
    if (second % 3 == 0) workers.used -= 50ms;  // one of its processes has ended, and took its time along
    tick(1s);
  }
  EXPECT_TRUE(workers.examined.empty());
  for (int second = 0; second < 6 && workers.examined.empty(); ++second) {
    workers.used += 1ms;  // a heartbeat's worth
    tick(1s);
  }
  EXPECT_EQ(workers.examined.size(), 1u);
  tick(60s);  // nobody says where it stands
  EXPECT_EQ(workers.plain.orders.back(), "cancel 1 2");
}

}  // namespace
}  // namespace bulkhead
