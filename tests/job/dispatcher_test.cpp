// The core through its ports: what children, the journal and the source see of a job's life.

#include "supervisor/job/dispatcher.hpp"

#include <gtest/gtest.h>

#include <random>

#include "tests/job/fakes.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
using testing::make_job;

class DispatcherTest : public ::testing::Test {
 protected:
  testing::ManualClock clock;
  testing::FakeJournal journal;
  testing::FakeWorkers workers;
  testing::FakeSource source;
  Dispatcher dispatcher{{}, clock, journal, 1, [] { return 1.0; }};
  std::vector<Accepted> answers;

  void SetUp() override {
    dispatcher.set_workers(workers);
    dispatcher.set_source(source);
  }

  void submit(Job job) {
    job.submitted_ms = clock.now().wall_ms;
    dispatcher.submit(std::move(job), [this](Accepted answer) { answers.push_back(std::move(answer)); });
  }
  void succeed(RunNumber run, bool refresh = false, std::uint32_t seq = 1) {
    dispatcher.succeeded(run, seq, Payload::of("1"), 1500us, refresh);
  }
  void die(WorkerNumber worker, std::vector<Casualty> casualties) { dispatcher.died(worker, casualties); }
  Casualty entered(RunNumber run) { return {run, true, Payload::of("\"record\""), "WorkerCrash"}; }
  const Outcome& only_report(const std::string& id) {
    EXPECT_EQ(source.reports[id].size(), 1u);
    return source.reports[id].at(0);
  }
  bool ordered(const std::string& order) const {
    return std::find(workers.orders.begin(), workers.orders.end(), order) != workers.orders.end();
  }
};

TEST_F(DispatcherTest, AJobGoesThroughTheJournalInOrder) {
  submit(make_job("a"));
  dispatcher.ready(1, "w0.1", 1, 0);
  succeed(1);
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"accept a", "start a run 1 attempt 1 on w0.1",
                                                     "finish a COMPLETED", "settle a"}));
  EXPECT_EQ(only_report("a").status, Status::Completed);
  EXPECT_EQ(only_report("a").execution_ms, 1);
  EXPECT_TRUE(ordered("ack 1 1"));
}

TEST_F(DispatcherTest, NothingHappensBeforeItIsDurable) {
  journal.immediate = false;
  submit(make_job("a"));
  EXPECT_TRUE(answers.empty());
  journal.flush();
  EXPECT_EQ(answers.size(), 1u);
  dispatcher.ready(1, "w0.1", 1, 0);
  EXPECT_TRUE(workers.sent.empty());
  journal.flush();
  ASSERT_EQ(workers.sent.size(), 1u);
  succeed(1);
  EXPECT_TRUE(source.reports.empty());
  EXPECT_FALSE(ordered("ack 1 1"));
  journal.flush();
  EXPECT_EQ(only_report("a").status, Status::Completed);
  EXPECT_TRUE(ordered("ack 1 1"));
}

TEST_F(DispatcherTest, AFreedChildIsUsedBeforeTheResultIsDurable) {
  journal.immediate = false;
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  submit(make_job("b"));
  journal.flush();
  journal.flush();
  succeed(1);
  journal.flush();
  EXPECT_EQ(workers.sent.size(), 2u);
}

TEST_F(DispatcherTest, AJournalThatRefusesMeansTheJobIsRefused) {
  journal.error = std::make_error_code(std::errc::no_space_on_device);
  submit(make_job("a"));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].refusal, Refusal::StoreUnavailable);
  EXPECT_NE(answers[0].reason.find("No space"), std::string::npos);
  journal.error = {};
  submit(make_job("a"));  // the id is free again
  EXPECT_EQ(answers[1].refusal, Refusal::None);
}

TEST_F(DispatcherTest, AFullQueueAndADrainRefuse) {
  DispatcherOptions options;
  options.queue_max = 1;
  Dispatcher small(options, clock, journal, 1, [] { return 1.0; });
  small.set_workers(workers);
  auto answer = [this](Accepted accepted) { answers.push_back(std::move(accepted)); };
  small.submit(make_job("a"), answer);
  small.submit(make_job("b"), answer);
  EXPECT_EQ(answers[1].refusal, Refusal::Full);
  small.submit(make_job("a"), answer);
  small.drain();
  small.submit(make_job("c"), answer);
  EXPECT_EQ(answers[3].refusal, Refusal::Draining);
}

TEST_F(DispatcherTest, ADuplicateIdIsRefused) {
  submit(make_job("a"));
  submit(make_job("a"));
  EXPECT_EQ(answers[1].refusal, Refusal::Duplicate);
}

TEST_F(DispatcherTest, ACrashFailsTheEnteredJobAndSparesTheBystander) {
  dispatcher.ready(1, "w0.1", 1, 1);
  submit(make_job("a"));
  submit(make_job("b"));
  ASSERT_EQ(workers.sent.size(), 2u);
  die(1, {entered(1), {.run = 2, .entered = false}});
  EXPECT_EQ(only_report("a").error_type, "WorkerCrash");
  dispatcher.ready(2, "w0.2", 1, 0);
  ASSERT_EQ(workers.sent.size(), 3u);
  EXPECT_EQ(workers.sent[2].job, "b");
  EXPECT_EQ(workers.sent[2].attempt, 1);
  succeed(3);
  EXPECT_EQ(only_report("b").attempts, 1);
}

TEST_F(DispatcherTest, ABystanderTooOftenIsALostAttempt) {
  submit(make_job("a"));
  for (WorkerNumber worker = 1; worker <= 4; ++worker) {
    EXPECT_TRUE(source.reports.empty());
    dispatcher.ready(worker, "w0", 1, 0);
    die(worker, {{.run = worker, .entered = false}});
  }
  EXPECT_EQ(only_report("a").error_type, "WorkerLost");
}

TEST_F(DispatcherTest, RetriesWaitTheirBackoffAndAreCounted) {
  submit(make_job("a", 3));
  for (int attempt = 1; attempt <= 3; ++attempt) {
    dispatcher.ready(attempt, "w0", 1, 0);
    if (attempt > 1) {
      EXPECT_EQ(workers.sent.size(), attempt - 1u);
      clock.advance(*dispatcher.wake_at() - clock.now().mono > 1h ? 0ms : 800ms);
      dispatcher.tick();
    }
    ASSERT_EQ(workers.sent.size(), static_cast<std::size_t>(attempt));
    EXPECT_EQ(workers.sent.back().attempt, attempt);
    die(attempt, {entered(attempt)});
  }
  EXPECT_EQ(only_report("a").attempts, 3);
  EXPECT_EQ(dispatcher.counts().retried, 2);
}

TEST_F(DispatcherTest, TheNextAttemptGetsTheLastCheckpoint) {
  submit(make_job("a", 2));
  dispatcher.ready(1, "w0.1", 1, 0);
  dispatcher.checkpoint(1, 1, Payload::of("one"));
  dispatcher.checkpoint(1, 2, Payload::of("two"));
  EXPECT_TRUE(ordered("ack 1 2"));
  die(1, {entered(1)});
  clock.advance(1s);
  dispatcher.ready(2, "w0.2", 1, 0);
  EXPECT_EQ(workers.sent.back().checkpoint, "two");
}

TEST_F(DispatcherTest, CancelOfAQueuedJobEndsItAtOnce) {
  submit(make_job("a"));
  EXPECT_TRUE(dispatcher.cancel("a"));
  EXPECT_EQ(only_report("a").status, Status::Cancelled);
  EXPECT_FALSE(dispatcher.cancel("a"));
  dispatcher.ready(1, "w0.1", 1, 0);
  EXPECT_TRUE(workers.sent.empty());
}

TEST_F(DispatcherTest, CancelOfARunningJobClimbsTheLadder) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  dispatcher.cancel("a");
  EXPECT_TRUE(ordered("cancel 1 1"));
  clock.advance(5s);
  dispatcher.tick();
  EXPECT_TRUE(ordered("terminate 1"));
  clock.advance(2s);
  dispatcher.tick();
  EXPECT_TRUE(ordered("kill 1"));
  die(1, {entered(1)});
  EXPECT_EQ(only_report("a").status, Status::Cancelled);
}

TEST_F(DispatcherTest, AResultAfterCancelStaysCancelled) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  dispatcher.cancel("a");
  succeed(1);
  EXPECT_EQ(only_report("a").status, Status::Cancelled);
  EXPECT_TRUE(only_report("a").output.empty());
}

TEST_F(DispatcherTest, CancelWhileTheStartIsWrittenNeverReachesTheChild) {
  submit(make_job("a"));
  journal.immediate = false;
  dispatcher.ready(1, "w0.1", 1, 0);
  dispatcher.cancel("a");
  EXPECT_EQ(journal.lines.back(), "cancelling a run 1") << "whatever is killed now";
  journal.flush();
  journal.flush();
  EXPECT_TRUE(workers.sent.empty());
  EXPECT_EQ(only_report("a").status, Status::Cancelled);
  EXPECT_EQ(dispatcher.unfinished(), 0u);
}

TEST_F(DispatcherTest, ADeadlineFailsTheJobInRunpodsWords) {
  dispatcher.ready(1, "w0.1", 1, 0);
  Job job = make_job("a", 5);
  job.policy.execution_timeout = 3s;
  submit(std::move(job));
  clock.jump_wall(1h);  // moves no deadline
  dispatcher.tick();
  EXPECT_FALSE(ordered("cancel 1 2"));
  clock.advance(3s);
  dispatcher.tick();
  EXPECT_TRUE(ordered("cancel 1 2"));
  die(1, {entered(1)});
  EXPECT_EQ(only_report("a").status, Status::Failed);
  EXPECT_EQ(only_report("a").error.bytes(), "\"executionTimeout exceeded\"");
}

TEST_F(DispatcherTest, AJobThatExpiresInTheQueueTimesOut) {
  Job job = make_job("a");
  job.policy.ttl = 10s;
  submit(std::move(job));
  EXPECT_EQ(*dispatcher.wake_at(), clock.now().mono + 10s);
  clock.advance(10s);
  dispatcher.tick();
  EXPECT_EQ(only_report("a").status, Status::TimedOut);
}

TEST_F(DispatcherTest, RefreshComesAfterTheResultIsSafeAndNoJobIsSentBetween) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  submit(make_job("b"));
  journal.immediate = false;
  succeed(1, true);
  EXPECT_FALSE(ordered("refresh 1"));
  EXPECT_EQ(workers.sent.size(), 1u);
  journal.flush();
  EXPECT_TRUE(ordered("refresh 1"));
  EXPECT_EQ(workers.sent.size(), 1u);
  die(1, {});
  dispatcher.ready(2, "w0.2", 1, 0);
  journal.flush();
  EXPECT_EQ(workers.sent.back().worker, 2u);
}

TEST_F(DispatcherTest, RefreshWaitsForNeighboursAndRecallsTheUnstarted) {
  dispatcher.ready(1, "w0.1", 2, 1);
  for (const char* id : {"a", "b", "c"}) submit(make_job(id));
  succeed(1, true);
  EXPECT_TRUE(ordered("recall 3"));
  EXPECT_FALSE(ordered("refresh 1"));
  dispatcher.handed_back(3, 1);
  EXPECT_FALSE(ordered("refresh 1"));
  succeed(2);
  EXPECT_TRUE(ordered("refresh 1"));
}

TEST_F(DispatcherTest, AChildThatDiesBeforeTheHandOutCostsNoAttempt) {
  submit(make_job("a"));
  journal.immediate = false;
  dispatcher.ready(1, "w0.1", 1, 0);
  die(1, {});
  journal.flush();
  EXPECT_TRUE(workers.sent.empty());
  EXPECT_EQ(dispatcher.unfinished(), 0u);
  dispatcher.ready(2, "w0.2", 1, 0);
  journal.flush();
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].attempt, 1);
}

TEST_F(DispatcherTest, ChunksAreAcknowledgedWhenTheSourceTookThem) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  dispatcher.chunk(1, 1, Payload::of("\"x\""));
  EXPECT_FALSE(ordered("ack 1 1"));
  source.chunks_to_take.at(0)();
  EXPECT_TRUE(ordered("ack 1 1"));
}

TEST_F(DispatcherTest, ChunksReachTheSourceThoughTheResultIsAlreadyHere) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  journal.immediate = false;
  dispatcher.chunk(1, 1, Payload::of("\"x\""));
  succeed(1, false, 2);
  journal.flush();
  EXPECT_EQ(std::count(source.lines.begin(), source.lines.end(), "chunk a 1 \"x\""), 1);
  EXPECT_EQ(only_report("a").status, Status::Completed);
}

TEST_F(DispatcherTest, LateMessagesOfAnEarlierAttemptAreAcknowledgedAndIgnored) {
  submit(make_job("a", 2));
  dispatcher.ready(1, "w0.1", 1, 0);
  die(1, {entered(1)});
  clock.advance(1s);
  dispatcher.ready(2, "w0.2", 1, 0);
  succeed(1);  // the first attempt's, somehow
  EXPECT_TRUE(source.reports.empty());
  dispatcher.progress(1, Payload::of("9"));
  EXPECT_EQ(std::count(source.lines.begin(), source.lines.end(), "progress a 9"), 0);
}

TEST_F(DispatcherTest, RecoveryDeliversRequeuesAndFails) {
  Recovered finished, running, retryable, queued;
  finished.job = make_job("finished");
  finished.outcome = Outcome{};
  finished.outcome->status = Status::Completed;
  running.job = make_job("running");
  running.run = 7, running.attempts = 1;
  retryable.job = make_job("retryable", 2);
  retryable.run = 8, retryable.attempts = 1;
  queued.job = make_job("queued");
  dispatcher.recover({finished, running, retryable, queued});
  EXPECT_EQ(only_report("finished").status, Status::Completed);
  EXPECT_EQ(only_report("running").error_type, "WorkerLost");
  dispatcher.ready(1, "w0.1", 2, 0);
  ASSERT_EQ(workers.sent.size(), 2u);
  EXPECT_EQ(workers.sent[0].job, "retryable");
  EXPECT_EQ(workers.sent[0].attempt, 2);
  EXPECT_EQ(workers.sent[1].job, "queued");
}

TEST_F(DispatcherTest, AJobThatCanRunAtOnceIsAcceptedAndStartedInOneWrite) {
  journal.immediate = false;
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  submit(make_job("b"));
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"accept a", "start a run 1 attempt 1 on w0.1", "accept b"}));
  EXPECT_TRUE(workers.sent.empty());
  journal.flush();
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].job, "a");
  succeed(1);
  journal.flush();
  journal.flush();
  ASSERT_EQ(workers.sent.size(), 2u);
  EXPECT_EQ(workers.sent[1].job, "b");
}

TEST_F(DispatcherTest, AJobBeingAcceptedIsNotOvertakenByALaterOne) {
  journal.immediate = false;
  submit(make_job("early"));
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("late"));
  journal.flush();
  journal.flush();
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].job, "early");
}

TEST_F(DispatcherTest, ARefusedAcceptanceTakesItsStartWithIt) {
  journal.immediate = false;
  dispatcher.ready(1, "w0.1", 1, 0);
  std::vector<Refusal> told;
  dispatcher.submit(make_job("a"), [&](Accepted answer) { told.push_back(answer.refusal); });
  journal.error = std::make_error_code(std::errc::no_space_on_device);
  journal.flush();
  EXPECT_EQ(told, std::vector{Refusal::StoreUnavailable});
  EXPECT_TRUE(workers.sent.empty());
  EXPECT_EQ(dispatcher.unfinished(), 0u);
  journal.error = {};
  submit(make_job("b"));
  journal.flush();
  ASSERT_EQ(workers.sent.size(), 1u) << "the child's place is free again";
  EXPECT_EQ(workers.sent[0].job, "b");
}

TEST_F(DispatcherTest, AStartThatIsRefusedAtOnceLeavesTheJobToBeAccepted) {
  journal.immediate = false;
  dispatcher.ready(1, "w0.1", 1, 0);
  journal.refuse_starts = true;
  std::vector<Refusal> told;
  dispatcher.submit(make_job("a"), [&](Accepted answer) { told.push_back(answer.refusal); });
  journal.refuse_starts = false;
  journal.flush();
  EXPECT_EQ(told, std::vector{Refusal::None});
  EXPECT_TRUE(workers.sent.empty());
  clock.advance(1s);
  dispatcher.tick();
  journal.flush();
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].attempt, 1);
}

TEST_F(DispatcherTest, AChildThatDiesWhileItsJobIsAcceptedCostsNothing) {
  journal.immediate = false;
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  die(1, {});
  journal.flush();
  EXPECT_TRUE(workers.sent.empty());
  dispatcher.ready(2, "w0.2", 1, 0);
  journal.flush();
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].worker, 2u);
  EXPECT_EQ(workers.sent[0].attempt, 1);
}

TEST_F(DispatcherTest, AJobCancelledWhileItIsAcceptedNeverRuns) {
  journal.immediate = false;
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  EXPECT_TRUE(dispatcher.cancel("a"));
  journal.flush();
  journal.flush();
  EXPECT_TRUE(workers.sent.empty());
  EXPECT_EQ(only_report("a").status, Status::Cancelled);
}

TEST_F(DispatcherTest, RecoveryDoesNotCountARunThatWasNeverEntered) {
  Recovered handed, entered;
  handed.job = make_job("handed");
  handed.run = 7, handed.attempts = 1, handed.worker_id = "w0.3";
  entered.job = make_job("entered");
  entered.run = 8, entered.attempts = 1, entered.worker_id = "w0.3";
  dispatcher.recover({handed, entered}, [](RunNumber run, std::string_view child) {
    EXPECT_EQ(child, "w0.3");
    return run == 7;
  });
  EXPECT_EQ(only_report("entered").error_type, "WorkerLost");
  dispatcher.ready(1, "w0.1", 2, 0);
  ASSERT_EQ(workers.sent.size(), 1u);
  EXPECT_EQ(workers.sent[0].job, "handed");
  EXPECT_EQ(workers.sent[0].attempt, 1);
}

TEST_F(DispatcherTest, DrainLetsRunsFinishAndStopRunsEndsThem) {
  dispatcher.ready(1, "w0.1", 2, 0);
  submit(make_job("a"));
  submit(make_job("b"));
  dispatcher.drain();
  EXPECT_EQ(dispatcher.unfinished(), 2u);
  succeed(1);
  dispatcher.stop_runs();
  EXPECT_TRUE(ordered("cancel 2 3"));
  die(1, {entered(2)});
  EXPECT_EQ(only_report("b").error_type, "Shutdown");
  EXPECT_EQ(dispatcher.unfinished(), 0u);
}

TEST_F(DispatcherTest, AJobWithoutATimeIsSubmittedNow) {
  Job job = make_job("a");
  job.submitted_ms = 0;
  dispatcher.submit(std::move(job), [](Accepted) {});
  EXPECT_EQ(*dispatcher.wake_at(), clock.now().mono + 24h);
}

TEST_F(DispatcherTest, TheSourceHearsHowMuchRoomThereIs) {
  dispatcher.ready(1, "w0.1", 2, 4);
  EXPECT_EQ(source.last_room, 2);
  submit(make_job("a"));
  EXPECT_EQ(source.last_room, 1);
  succeed(1);
  EXPECT_EQ(source.last_room, 2);
  dispatcher.drain();
  EXPECT_EQ(source.last_room, 0);
}

/// Random lives: whatever happens in whatever order, every accepted job is reported exactly once, and no place leaks.
TEST_F(DispatcherTest, EveryAcceptedJobEndsExactlyOnceUnderRandomEvents) {
  std::mt19937 random(11);
  std::map<RunNumber, WorkerNumber> out;
  std::map<WorkerNumber, int> alive;
  WorkerNumber next_worker = 0;
  std::size_t taken = 0;
  int submitted = 0;
  journal.immediate = false;
  auto absorb = [&] {
    for (; taken < workers.sent.size(); ++taken) out[workers.sent[taken].run] = workers.sent[taken].worker;
  };
  auto kill_worker = [&](WorkerNumber worker) {
    std::vector<Casualty> casualties;
    for (auto it = out.begin(); it != out.end();) {
      if (it->second == worker) {
        casualties.push_back(random() % 2 ? entered(it->first) : Casualty{.run = it->first});
        it = out.erase(it);
      } else {
        ++it;
      }
    }
    alive.erase(worker);
    die(worker, casualties);
  };
  for (int step = 0; step < 30'000; ++step) {
    absorb();
    switch (random() % 9) {
      case 0:
        if (alive.size() < 4) dispatcher.ready(++next_worker, "w", 1 + random() % 3, random() % 3), alive[next_worker];
        break;
      case 1:
      case 2: submit(make_job("j" + std::to_string(submitted++), 1 + random() % 3)); break;
      case 3:
      case 4:
        if (!out.empty()) {
          auto it = std::next(out.begin(), random() % out.size());
          RunNumber run = it->first;
          out.erase(it);
          succeed(run, random() % 20 == 0);
        }
        break;
      case 5:
        if (!out.empty() && random() % 4 == 0) {
          RunNumber run = out.begin()->first;
          out.erase(out.begin());
          dispatcher.handed_back(run, 1);
        }
        break;
      case 6: journal.flush(); break;
      case 7:
        if (!alive.empty() && random() % 3 == 0) kill_worker(alive.begin()->first);
        if (submitted > 0 && random() % 3 == 0) dispatcher.cancel("j" + std::to_string(random() % submitted));
        break;
      case 8:
        clock.advance(milliseconds(random() % 500));
        dispatcher.tick();
        break;
    }
  }
  for (int round = 0; round < 200'000 && source.reports.size() < static_cast<std::size_t>(submitted); ++round) {
    journal.flush();
    absorb();
    while (!alive.empty()) kill_worker(alive.begin()->first);
    journal.flush();
    dispatcher.ready(++next_worker, "w", 8, 0);
    alive[next_worker];
    journal.flush();
    absorb();
    for (auto& [run, worker] : std::exchange(out, {})) succeed(run);
    clock.advance(1s);
    dispatcher.tick();
  }
  journal.flush();
  EXPECT_EQ(source.reports.size(), static_cast<std::size_t>(submitted));
  for (auto& [id, reports] : source.reports) EXPECT_EQ(reports.size(), 1u) << id;
  EXPECT_EQ(answers.size(), static_cast<std::size_t>(submitted));
  EXPECT_EQ(dispatcher.unfinished(), 0u);
}

TEST_F(DispatcherTest, AJobIsNotSettledBeforeItsSourceSaysSoAndKeepsNoPayloadMeanwhile) {
  source.settle_later = true;
  Job job = make_job("a");
  auto input = std::make_shared<std::string>("[1]"), extra = std::make_shared<std::string>("{}");
  job.input = Payload(input, *input);
  job.extra = Payload(extra, *extra);
  submit(std::move(job));
  dispatcher.ready(1, "w0.1", 1, 0);
  auto output = std::make_shared<std::string>("1");
  dispatcher.succeeded(1, 1, Payload(output, *output), 1ms, false);
  EXPECT_EQ(journal.lines.back(), "finish a COMPLETED");
  source.reports.clear();
  workers.sent.clear();
  EXPECT_EQ(input.use_count(), 1);
  EXPECT_EQ(extra.use_count(), 1);
  EXPECT_EQ(output.use_count(), 1);
  EXPECT_EQ(dispatcher.unfinished(), 0U);
  EXPECT_FALSE(dispatcher.cancel("a"));
  source.to_settle.front()();
  EXPECT_EQ(journal.lines.back(), "settle a");
}

TEST_F(DispatcherTest, ACancelDuringAnotherStopStillEndsTheJobAsCancelled) {
  Job job = make_job("a");
  job.policy.execution_timeout = 3s;
  submit(std::move(job));
  dispatcher.ready(1, "w0.1", 1, 0);
  clock.advance(3s);
  dispatcher.tick();
  ASSERT_TRUE(ordered("cancel 1 2"));   // its time is up: the handler is told to stop
  EXPECT_TRUE(dispatcher.cancel("a"));  // and the client that it was cancelled
  die(1, {entered(1)});
  EXPECT_EQ(only_report("a").status, Status::Cancelled);
}

}  // namespace
}  // namespace bulkhead
