// The clients' view: the queue joined to a real dispatcher, with fakes around both.

#include "supervisor/source/embedded_queue.hpp"

#include <gtest/gtest.h>

#include "supervisor/job/dispatcher.hpp"
#include "tests/job/fakes.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
using testing::make_job;

class EmbeddedQueueTest : public ::testing::Test {
 protected:
  testing::ManualClock clock;
  testing::FakeJournal journal;
  testing::FakeWorkers workers;
  Dispatcher dispatcher{{}, clock, journal, 1, [] { return 1.0; }};
  EmbeddedQueueOptions options;
  std::unique_ptr<EmbeddedQueue> queue;

  void SetUp() override { make(); }
  void make() {
    queue = std::make_unique<EmbeddedQueue>(options, clock, dispatcher, journal, [] { return HealthView(); });
    dispatcher.set_workers(workers);
    dispatcher.set_source(*queue);
  }
  Accepted submit(Job job) {
    Accepted answer;
    job.submitted_ms = clock.now().wall_ms;
    queue->submit(std::move(job), [&](Accepted accepted) { answer = std::move(accepted); });
    return answer;
  }
  std::optional<Status> status(std::string_view id) {
    std::optional<Status> status;
    queue->status(id, [&](const JobView* view) {
      if (view) status = view->status;
    });
    return status;
  }
  std::vector<std::string> poll(std::string_view id) {
    std::vector<std::string> chunks;
    queue->stream(id, 0ms, [&](const JobView*, std::vector<Payload> unread) {
      for (auto& chunk : unread) chunks.emplace_back(chunk.bytes());
    });
    return chunks;
  }
};

TEST_F(EmbeddedQueueTest, FollowsAJobThroughItsStates) {
  submit(make_job("a"));
  EXPECT_EQ(status("a"), Status::InQueue);
  dispatcher.ready(1, "w0.1", 1, 0);
  EXPECT_EQ(status("a"), Status::InProgress);
  dispatcher.progress(1, Payload::of("50"));
  queue->status("a", [](const JobView* view) { EXPECT_EQ(view->output.bytes(), "50"); });
  dispatcher.succeeded(1, 1, Payload::of("100"), 1ms, false);
  queue->status("a", [](const JobView* view) {
    EXPECT_EQ(view->status, Status::Completed);
    EXPECT_EQ(view->output.bytes(), "100");
    EXPECT_EQ(view->worker_id, "w0.1");
  });
  EXPECT_FALSE(status("b"));
}

TEST_F(EmbeddedQueueTest, AWaiterIsCalledOnceAtTheEndOrAtItsDeadline) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  std::vector<Status> seen;
  auto note = [&](const JobView* view) { seen.push_back(view->status); };
  queue->wait("a", 5s, note);
  queue->wait("a", 1s, note);
  std::uint64_t gone = queue->wait("a", 1s, note);
  queue->stop_waiting(gone);
  EXPECT_EQ(*queue->wake_at(), clock.now().mono + 1s);
  clock.advance(1s);
  queue->tick();
  EXPECT_EQ(seen, std::vector{Status::InProgress});
  dispatcher.succeeded(1, 1, Payload::of("1"), 1ms, false);
  EXPECT_EQ(seen, (std::vector{Status::InProgress, Status::Completed}));
  queue->wait("a", 5s, note);
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(EmbeddedQueueTest, AWaiterThatIsCalledMayStopAnother) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  std::uint64_t second = 0;
  int calls = 0;
  queue->wait("a", 5s, [&](const JobView*) {
    ++calls;
    queue->stop_waiting(second);
  });
  second = queue->wait("a", 5s, [&](const JobView*) { ++calls; });
  dispatcher.succeeded(1, 1, Payload::of("1"), 1ms, false);
  EXPECT_EQ(calls, 1);
}

TEST_F(EmbeddedQueueTest, ACancelledJobIsFinalAtOnceAndStaysSo) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  EXPECT_EQ(queue->cancel("a"), Endpoint::CancelResult::Cancelled);
  EXPECT_EQ(status("a"), Status::Cancelled);
  dispatcher.succeeded(1, 1, Payload::of("1"), 1ms, false);
  EXPECT_EQ(status("a"), Status::Cancelled);
  EXPECT_EQ(queue->cancel("a"), Endpoint::CancelResult::AlreadyFinal);
  EXPECT_EQ(queue->cancel("b"), Endpoint::CancelResult::Unknown);
}

TEST_F(EmbeddedQueueTest, AJobWhoseCancelWasUnderWayIsCancelledFromTheStart) {
  Recovered known;
  known.job = make_job("a");
  known.cancelled = true;
  queue->recovered(known);
  EXPECT_EQ(status("a"), Status::Cancelled);
}

TEST_F(EmbeddedQueueTest, EachChunkIsGivenOnceAndUnreadOnesStopTheHandler) {
  options.stream_bytes_max = 10;
  make();
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  dispatcher.chunk(1, 1, Payload::of("\"abc\""));
  EXPECT_EQ(workers.orders.back(), "ack 1 1");
  dispatcher.chunk(1, 2, Payload::of("\"defgh\""));
  EXPECT_EQ(workers.orders.back(), "ack 1 1");  // nobody reads: no credit
  EXPECT_EQ(poll("a"), (std::vector<std::string>{"\"abc\"", "\"defgh\""}));
  EXPECT_EQ(workers.orders.back(), "ack 1 2");
  EXPECT_TRUE(poll("a").empty());
  dispatcher.chunk(1, 3, Payload::of("3"));
  dispatcher.succeeded(1, 4, Payload::of("[]"), 1ms, false);
  EXPECT_EQ(poll("a"), std::vector<std::string>{"3"});
}

TEST_F(EmbeddedQueueTest, APollMayWaitForAChunkOrTheEnd) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  std::vector<std::string> answers;
  auto wait = [&](milliseconds time) {
    return queue->stream("a", time, [&](const JobView* view, std::vector<Payload> unread) {
      std::string answer(to_string(view->status));
      for (auto& chunk : unread) answer.append(" ").append(chunk.bytes());
      answers.push_back(answer);
    });
  };
  wait(5s);
  wait(5s);
  EXPECT_TRUE(answers.empty());
  dispatcher.chunk(1, 1, Payload::of("1"));
  EXPECT_EQ(answers, std::vector<std::string>{"IN_PROGRESS 1"}) << "the second waits on: each chunk once";
  clock.advance(5s);
  EXPECT_EQ(queue->wake_at(), clock.now().mono);
  queue->tick();
  EXPECT_EQ(answers.back(), "IN_PROGRESS");
  queue->stop_waiting(wait(5s));
  wait(5s);
  EXPECT_EQ(answers.size(), 2u);
  dispatcher.succeeded(1, 2, Payload::of("[]"), 1ms, false);
  EXPECT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers.back(), "COMPLETED");
  EXPECT_EQ(wait(5s), 0u);
  EXPECT_EQ(answers.size(), 4u) << "what is over is not waited for";
}

TEST_F(EmbeddedQueueTest, AfterARestartPollsGoOnWhereTheyWere) {
  Recovered known{.job = make_job("a", 2), .attempts = 1, .run = 1, .last_chunk = 3, .polled = 1};
  journal.stored["a"] = {{1, Payload::of("1")}, {2, Payload::of("2")}, {3, Payload::of("3")}};
  queue->recovered(known);
  std::vector<Recovered> all;
  all.push_back(std::move(known));
  dispatcher.recover(std::move(all));
  EXPECT_EQ(poll("a"), (std::vector<std::string>{"2", "3"}));
  EXPECT_EQ(journal.positions["a"], 3u);
  EXPECT_TRUE(poll("a").empty());
  clock.advance(1min);
  dispatcher.tick();
  dispatcher.ready(1, "w0.1", 1, 0);
  ASSERT_EQ(status("a"), Status::InProgress);
  dispatcher.chunk(1, 1, Payload::of("\"anew\""));
  EXPECT_EQ(journal.lines.back(), "chunk a 4") << "numbers go on: a follower's last one is never another chunk's";
  EXPECT_EQ(poll("a"), std::vector<std::string>{"\"anew\""});
}

TEST_F(EmbeddedQueueTest, StreamsOfForgottenJobsAreReadFromTheJournal) {
  journal.remembered.emplace("a", Remembered{make_job("a"), Outcome{.status = Status::Completed}});
  journal.stored["a"] = {{1, Payload::of("1")}, {2, Payload::of("2")}, {3, Payload::of("3")}};
  journal.positions["a"] = 1;
  Endpoint::Position position{1, 0};
  std::vector<std::string> followed;
  auto follow = [&] {
    queue->follow("a", position, [&](const JobView* view, Endpoint::News news) {
      EXPECT_EQ(view->status, Status::Completed);
      for (auto& chunk : news.chunks) followed.emplace_back(chunk.bytes());
      position = news.position;
    });
  };
  follow();
  follow();
  EXPECT_EQ(followed, (std::vector<std::string>{"2", "3"}));
  EXPECT_EQ(position.chunk, 3u);
  EXPECT_EQ(poll("a"), (std::vector<std::string>{"2", "3"}));
  journal.positions.clear();  // not yet on the disk
  EXPECT_TRUE(poll("a").empty());
}

TEST_F(EmbeddedQueueTest, ResultsAreKeptForTheirRetentionThenLookedUp) {
  dispatcher.ready(1, "w0.1", 1, 0);
  Job sync = make_job("s");
  sync.sync = true;
  submit(std::move(sync));
  submit(make_job("a"));
  dispatcher.succeeded(1, 1, Payload::of("1"), 1ms, false);
  dispatcher.succeeded(2, 1, Payload::of("2"), 1ms, false);
  clock.advance(60s);
  queue->tick();
  EXPECT_FALSE(status("s"));
  EXPECT_EQ(status("a"), Status::Completed);
  clock.advance(30min);
  queue->tick();
  EXPECT_FALSE(status("a"));
  Remembered known{make_job("a"), Outcome{}};
  known.outcome.status = Status::Completed;
  journal.remembered.emplace("a", known);
  EXPECT_EQ(status("a"), Status::Completed);
}

TEST_F(EmbeddedQueueTest, MemoryForFinishedJobsIsBounded) {
  options.kept_max = 3;
  options.kept_bytes_max = 1000;
  make();
  dispatcher.ready(1, "w0.1", 1, 0);
  for (int i = 0; i < 10; ++i) {
    Job job = make_job("j" + std::to_string(i));
    job.sync = i % 2 == 0;
    submit(std::move(job));
    dispatcher.succeeded(i + 1, 1, Payload::of(std::string(300, '1')), 1ms, false);
    EXPECT_EQ(status("j" + std::to_string(i)), Status::Completed);
  }
  int kept = 0;
  for (int i = 0; i < 10; ++i) kept += status("j" + std::to_string(i)).has_value();
  EXPECT_LE(kept, 3);
}

TEST_F(EmbeddedQueueTest, AResultTooLargeToKeepIsGivenToWhoWaitsAndThenLeftToTheJournal) {
  options.kept_bytes_max = 1000;
  make();
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  std::size_t seen = 0;
  queue->wait("a", 1min, [&](const JobView* view) { seen = view->output.size(); });
  dispatcher.succeeded(1, 1, Payload::of(std::string(5000, '1')), 1ms, false);
  EXPECT_EQ(seen, 5000u);
  EXPECT_FALSE(status("a"));  // this journal remembers nothing
}

TEST_F(EmbeddedQueueTest, AFollowerHearsEveryChangeAndEveryChunkOnce) {
  submit(make_job("a"));
  std::vector<std::string> heard;
  Endpoint::Position at;
  std::function<void()> follow = [&] {
    queue->follow("a", at, [&](const JobView* view, Endpoint::News news) {
      heard.emplace_back(to_string(view->status));
      for (const Payload& chunk : news.chunks) heard.emplace_back(chunk.bytes());
      at = news.position;
      if (!is_final(view->status)) follow();
    });
  };
  follow();
  dispatcher.ready(1, "w0.1", 1, 0);
  dispatcher.chunk(1, 1, Payload::of("1"));
  dispatcher.progress(1, Payload::of("9"));
  dispatcher.chunk(1, 2, Payload::of("2"));
  dispatcher.succeeded(1, 3, Payload::of("[]"), 1ms, false);
  EXPECT_EQ(heard, (std::vector<std::string>{"IN_QUEUE", "IN_PROGRESS", "IN_PROGRESS", "1", "IN_PROGRESS",
                                             "IN_PROGRESS", "2", "COMPLETED"}));
  EXPECT_EQ(poll("a"), (std::vector<std::string>{"1", "2"}));  // a follower takes nothing from polls
  std::size_t again = 0;
  queue->follow("a", {1, 0}, [&](const JobView*, Endpoint::News news) { again = news.chunks.size(); });
  EXPECT_EQ(again, 1u);  // resumed after the first
}

TEST_F(EmbeddedQueueTest, AFollowersReadingLetsASlowedHandlerGoOn) {
  options.stream_bytes_max = 4;
  make();
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  dispatcher.chunk(1, 1, Payload::of("\"abc\""));
  EXPECT_TRUE(workers.orders.empty());
  Endpoint::Position at;
  queue->follow("a", at, [&](const JobView*, Endpoint::News news) { at = news.position; });
  EXPECT_TRUE(workers.orders.empty());
  queue->follow("a", at, [](const JobView*, Endpoint::News) {});
  EXPECT_EQ(workers.orders.back(), "ack 1 1");
}

TEST_F(EmbeddedQueueTest, WhatTheJournalDoesNotGiveAtOnceIsLeftForTheNextPoll) {
  options.stream_bytes_max = 4;
  make();
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  Endpoint::Position at;
  auto follow = [&] { queue->follow("a", at, [&](const JobView*, Endpoint::News news) { at = news.position; }); };
  for (std::uint32_t number = 1; number <= 4; ++number) {  // a follower lets memory go of all but the last
    dispatcher.chunk(1, number, Payload::of("\"" + std::to_string(number) + "bc\""));
    follow();
  }
  follow();
  dispatcher.succeeded(1, 5, Payload::of("[]"), 1ms, false);
  journal.stored["a"] = {{1, Payload::of("1")}, {2, Payload::of("2")}, {3, Payload::of("3")}, {4, Payload::of("4")}};
  journal.most = 2;  // the cap of one reading
  journal.unreadable_reads = 2;
  int without = 0;
  queue->stream("a", 0ms, [&](const JobView* view, const std::vector<Payload>&) { without += view == nullptr; });
  queue->follow("a", {}, [&](const JobView* view, const Endpoint::News&) { without += view == nullptr; });
  EXPECT_EQ(without, 2) << "what could not be read is not passed over";
  std::vector<std::string> polled;
  std::vector<Status> told;
  for (int i = 0; i < 4; ++i) {
    queue->stream("a", 0ms, [&](const JobView* view, std::vector<Payload> unread) {
      told.push_back(view->status);
      for (auto& chunk : unread) polled.emplace_back(chunk.bytes().substr(chunk.bytes()[0] == '"', 1));
    });
  }
  EXPECT_EQ(polled, (std::vector<std::string>{"1", "2", "3", "4"}));
  EXPECT_EQ(told.front(), Status::InProgress) << "who is told of the end asks no more";
  EXPECT_EQ(told.back(), Status::Completed);
}

TEST_F(EmbeddedQueueTest, AFailedJobRunsAgainUnderItsId) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  std::optional<Accepted> answer;
  queue->retry("a", [&](std::optional<Accepted> given) { answer = std::move(given); });
  EXPECT_EQ(answer->refusal, Refusal::NotFailed);
  dispatcher.failed(1, 1, Payload::of("\"e\""), {}, 1ms, false);
  Remembered known{make_job("a"), Outcome{}};
  journal.remembered.emplace("a", known);
  queue->retry("a", [&](std::optional<Accepted> given) { answer = std::move(given); });
  EXPECT_EQ(answer->refusal, Refusal::None);
  EXPECT_EQ(status("a"), Status::InProgress);
  queue->retry("b", [&](std::optional<Accepted> given) { answer = std::move(given); });
  EXPECT_FALSE(answer);
}

TEST_F(EmbeddedQueueTest, AnIdempotencyKeyStandsForOneJob) {
  Job first = make_job("a"), second = make_job("b"), third = make_job("c");
  first.idempotency_key = second.idempotency_key = third.idempotency_key = "k";
  journal.immediate = false;
  Accepted at_first, later;
  queue->submit(std::move(first), [&](Accepted accepted) { at_first = std::move(accepted); });
  queue->submit(std::move(second), [&](Accepted accepted) { later = std::move(accepted); });
  EXPECT_TRUE(later.id.empty());  // the first is not durable yet: neither is this answer
  journal.flush();
  EXPECT_EQ(at_first.refusal, Refusal::None);
  EXPECT_EQ(later.id, "a");
  EXPECT_EQ(submit(std::move(third)).id, "a");
  EXPECT_FALSE(status("b"));
}

TEST_F(EmbeddedQueueTest, AKeyThatOnlyTheJournalRemembersStandsForItsJob) {
  journal.error = std::make_error_code(std::errc::file_exists);
  journal.keys["k"] = "old";
  Job job = make_job("new");
  job.idempotency_key = "k";
  Accepted answer = submit(std::move(job));
  EXPECT_EQ(answer.refusal, Refusal::Duplicate);
  EXPECT_EQ(answer.id, "old");
  EXPECT_FALSE(status("new"));
}

TEST_F(EmbeddedQueueTest, AClientMayShortenTheRetention) {
  dispatcher.ready(1, "w0.1", 1, 0);
  submit(make_job("a"));
  queue->shorten("a", 5s);
  dispatcher.succeeded(1, 1, Payload::of("1"), 1ms, false);
  EXPECT_EQ(*queue->wake_at(), clock.now().mono + 5s);
  queue->shorten("a", 2s);
  queue->shorten("a", 9s);  // never longer again
  clock.advance(2s);
  queue->tick();
  EXPECT_FALSE(status("a"));
}

TEST_F(EmbeddedQueueTest, ListsWhatWaitsAndRuns) {
  dispatcher.ready(1, "w0.1", 1, 0);
  for (const char* id : {"a", "b", "c", "d"}) submit(make_job(id));
  dispatcher.succeeded(1, 1, Payload::of("1"), 1ms, false);
  std::vector<std::string> ids;
  queue->list(2, [&](std::span<const JobView> views) {
    for (const JobView& view : views) ids.emplace_back(view.id);
  });
  EXPECT_EQ(ids, (std::vector<std::string>{"b", "c"}));
}

TEST_F(EmbeddedQueueTest, PurgeCancelsWhatWaitsOnly) {
  dispatcher.ready(1, "w0.1", 1, 0);
  for (const char* id : {"a", "b", "c"}) submit(make_job(id));
  journal.immediate = false;
  EXPECT_EQ(queue->purge(), 2u);
  EXPECT_EQ(status("a"), Status::InProgress);
  EXPECT_EQ(status("b"), Status::Cancelled) << "before that is durable, too";
  journal.flush();
  EXPECT_EQ(status("b"), Status::Cancelled);
}

}  // namespace
}  // namespace bulkhead
