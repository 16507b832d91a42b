// What every journal promises the core, whatever its durability.

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "supervisor/journal/error.hpp"
#include "supervisor/journal/memory_journal.hpp"
#include "tests/journal/harness.hpp"

namespace bulkhead::journal::testing {
namespace {

class Port : public ::testing::TestWithParam<Durability> {
 protected:
  Options options() {
    Options options;
    options.directory = directory_ / "state";
    options.durability = GetParam();
    options.wall_ms = [this] { return now_ms_.load(); };
    return options;
  }

  std::atomic<std::int64_t> now_ms_{1'700'000'000'000};
  TemporaryDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(Journals, Port, ::testing::Values(Durability::Full, Durability::Relaxed, Durability::Memory),
                         [](const auto& named) {
                           return named.param == Durability::Full      ? "full"
                                  : named.param == Durability::Relaxed ? "relaxed"
                                                                       : "memory";
                         });

TEST_P(Port, ALifeFromAcceptanceToSettlement) {
  Session journal(options());
  Job job = make_job("a", R"({"prompt":"hi"})");
  EXPECT_FALSE(journal.accept(job));
  RunNumber run = journal->next_run();
  EXPECT_FALSE(journal.start(job, run));
  EXPECT_FALSE(journal.lookup("a").has_value()) << "not finished: the core knows it";
  Outcome outcome = completed(R"({"text":"ho"})", now_ms_);
  outcome.worker_id = "worker-1";
  outcome.started_ms = now_ms_ - 7;
  outcome.execution_ms = 7;
  outcome.refresh_worker = true;
  EXPECT_FALSE(journal.finish(job, outcome));
  journal->settle(job);
  journal.drain();

  auto found = journal.lookup("a");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->job.id, "a");
  EXPECT_EQ(found->job.submitted_ms, job.submitted_ms);
  EXPECT_EQ(found->outcome.status, Status::Completed);
  EXPECT_EQ(found->outcome.output.bytes(), R"({"text":"ho"})");
  EXPECT_TRUE(found->outcome.error.empty());
  EXPECT_EQ(found->outcome.worker_id, "worker-1");
  EXPECT_EQ(found->outcome.attempts, 1);
  EXPECT_EQ(found->outcome.started_ms, now_ms_ - 7);
  EXPECT_EQ(found->outcome.finished_ms, now_ms_);
  EXPECT_EQ(found->outcome.execution_ms, 7);
  EXPECT_TRUE(found->outcome.refresh_worker);
  EXPECT_FALSE(journal.lookup("b").has_value());
}

TEST_P(Port, CallbacksComeInTheOrderOfTheCalls) {
  Session journal(options());
  std::vector<int> order;
  std::vector<Job> jobs;
  for (int i = 0; i < 500; ++i) jobs.push_back(make_job("job-" + std::to_string(i)));
  for (int i = 0; i < 500; ++i) {
    journal->accept(jobs[static_cast<std::size_t>(i)], [&, i](std::error_code error) {
      EXPECT_FALSE(error);
      order.push_back(2 * i);
    });
    // In the same breath: a free worker was waiting.
    journal->start(jobs[static_cast<std::size_t>(i)], journal->next_run() + static_cast<RunNumber>(i), 1, "w", 1,
                   [&, i](std::error_code error) {
                     EXPECT_FALSE(error);
                     order.push_back(2 * i + 1);
                   });
  }
  ASSERT_TRUE(journal.run([&] { return order.size() == 1000; }));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST_P(Port, ACallbackMayWriteMore) {
  Session journal(options());
  Job job = make_job("a");
  bool done = false;
  journal->accept(job, [&](std::error_code) {
    journal->start(job, journal->next_run(), 1, "w", 1, [&](std::error_code) {
      journal->finish(job, completed("1"), [&](std::error_code error) {
        EXPECT_FALSE(error);
        journal->settle(job);
        done = true;
      });
    });
  });
  EXPECT_TRUE(journal.run([&] { return done; }));
}

TEST_P(Port, AnIdIsTakenOnce) {
  Session journal(options());
  Job job = make_job("a");
  EXPECT_FALSE(journal.accept(job));
  EXPECT_EQ(journal.accept(job), Fault::Duplicate);
  EXPECT_EQ(journal.accept(job), std::errc::file_exists);
  EXPECT_FALSE(journal.finish(job, completed("1", now_ms_)));
  EXPECT_EQ(journal.accept(job), Fault::Duplicate) << "not delivered yet";
  journal->settle(job);
  EXPECT_EQ(journal.accept(job), Fault::Duplicate) << "a finished result is never computed again";
  auto found = journal.lookup("a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->outcome.output.bytes(), "1");
}

TEST_P(Port, AJobThatDidNotCompleteMayBeRetriedUnderItsId) {
  Session journal(options());
  Job job = make_job("a", "17");
  EXPECT_FALSE(journal.accept(job));
  EXPECT_FALSE(journal.finish(job, failed("\"boom\"", now_ms_)));
  journal->settle(job);
  auto found = journal.lookup("a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->job.input.bytes(), "17") << "a retry needs it";
  EXPECT_EQ(found->outcome.error.bytes(), "\"boom\"");
  EXPECT_EQ(found->outcome.error_type, "WorkerLost");

  EXPECT_FALSE(journal.accept(job));
  EXPECT_FALSE(journal.lookup("a")) << "its former end is gone with its former life";
  EXPECT_FALSE(journal.finish(job, completed("2", now_ms_)));
  journal->settle(job);
  found = journal.lookup("a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->outcome.status, Status::Completed);
}

TEST_P(Port, AnIdempotencyKeyIsTakenOnce) {
  auto id_of = [](Session& journal, std::string_view key) {
    std::optional<std::optional<std::string>> answer;
    journal->lookup_key(key, [&](std::optional<std::string> id) { answer = std::move(id); });
    EXPECT_TRUE(journal.run([&] { return answer.has_value(); }));
    return answer->value_or("");
  };
  Session journal(options());
  Job a = make_job("a"), b = make_job("b"), plain = make_job("plain"), other = make_job("other");
  a.idempotency_key = b.idempotency_key = "key";
  EXPECT_FALSE(journal.accept(plain));
  EXPECT_FALSE(journal.accept(other)) << "no key is no key";
  EXPECT_EQ(id_of(journal, "key"), "");
  EXPECT_EQ(id_of(journal, ""), "");
  EXPECT_FALSE(journal.accept(a));
  EXPECT_EQ(id_of(journal, "key"), "a");
  EXPECT_EQ(journal.accept(b), Fault::DuplicateKey);
  EXPECT_EQ(journal.accept(b), std::errc::file_exists);
  EXPECT_FALSE(journal.finish(a, failed("1", now_ms_)));
  journal->settle(a);
  EXPECT_EQ(journal.accept(b), Fault::DuplicateKey) << "the same key is the same job, however that ended";
  EXPECT_EQ(id_of(journal, "key"), "a");
  EXPECT_FALSE(journal.accept(a)) << "a retry keeps its key";
  EXPECT_FALSE(journal.finish(a, completed("1", now_ms_)));
  journal->settle(a);
  journal.drain();
  now_ms_ += 31 * 60'000;
  EXPECT_EQ(id_of(journal, "key"), "");
  EXPECT_FALSE(journal.accept(b)) << "forgotten, and free again";
  EXPECT_EQ(id_of(journal, "key"), "b");
}

TEST_P(Port, TheFirstOutcomeCounts) {
  Session journal(options());
  Job job = make_job("a");
  EXPECT_FALSE(journal.accept(job));
  EXPECT_FALSE(journal.finish(job, completed("1", now_ms_)));
  EXPECT_FALSE(journal.finish(job, failed("\"late\"", now_ms_))) << "a replay is harmless";
  journal->settle(job);
  journal->settle(job);
  journal.drain();
  auto found = journal.lookup("a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->outcome.status, Status::Completed);
  EXPECT_EQ(found->outcome.output.bytes(), "1");
}

TEST_P(Port, WhatComesTooLateIsRefused) {
  Session journal(options());
  Job job = make_job("a");
  RunNumber run = journal->next_run();
  EXPECT_EQ(journal.start(job, run), Fault::UnknownJob);
  EXPECT_FALSE(journal.accept(job));
  EXPECT_FALSE(journal.start(job, run));
  EXPECT_EQ(journal.chunk(job, run, kMaxChunks + 1, "x"), Fault::OutOfRange);
  EXPECT_EQ(journal.chunk(job, run + 1, 1, "1"), Fault::Stale) << "of a run that is not under way";
  EXPECT_FALSE(journal.chunk(job, run, 1, "1"));
  journal->requeue(job, run, true);
  EXPECT_EQ(journal.chunk(job, run, 2, "2"), Fault::Stale);
  EXPECT_EQ(journal.checkpoint(job, run, "x"), Fault::Stale);
  EXPECT_FALSE(journal.finish(job, completed("1")));
  EXPECT_EQ(journal.start(job, run + 2), Fault::Stale);
  EXPECT_EQ(journal.chunk(job, run, 3, "3"), Fault::Stale);
  journal->settle(job);
  EXPECT_EQ(journal.finish(job, completed("2")), Fault::UnknownJob);
  EXPECT_EQ(journal.start(make_job("b"), run), Fault::UnknownJob);
}

TEST_P(Port, ChunksAreReadBackInOrderFromAnyNumber) {
  Session journal(options());
  Job job = make_job("a");
  RunNumber run = journal->next_run();
  journal.accept(job);
  journal.start(job, run);
  for (std::uint32_t i = 1; i <= 5; ++i)
    EXPECT_FALSE(journal.chunk(job, run, i, std::string(10, static_cast<char>('0' + i))));
  EXPECT_FALSE(journal.chunk(job, run, 3, "again")) << "a repeat is harmless";

  auto all = journal.chunks("a");
  ASSERT_EQ(all.size(), 5u);
  for (std::uint32_t i = 1; i <= 5; ++i) {
    EXPECT_EQ(all[i - 1].number, i);
    EXPECT_EQ(all[i - 1].chunk.bytes(), std::string(10, static_cast<char>('0' + i)));
  }
  EXPECT_EQ(journal.chunks("a", 4).size(), 2u);
  EXPECT_EQ(journal.chunks("a", 2, 25).size(), 2u) << "as many as fit";
  EXPECT_EQ(journal.chunks("a", 2, 1).size(), 1u) << "but one at least";
  EXPECT_TRUE(journal.chunks("a", 6).empty());
  EXPECT_TRUE(journal.chunks("b").empty());

  journal.finish(job, completed("[]", now_ms_));
  journal->settle(job);
  EXPECT_EQ(journal.chunks("a").size(), 5u) << "kept with the result";
  now_ms_ += 31 * 60'000;
  EXPECT_TRUE(journal.chunks("a").empty());
}

TEST_P(Port, HowFarPollsHaveReadIsNoted) {
  using Numbers = std::vector<std::uint32_t>;
  Session journal(options());
  Job job = make_job("a");
  RunNumber run = journal->next_run();
  journal.accept(job);
  journal->polled("a", 0);
  journal.start(job, run);
  for (std::uint32_t i = 1; i <= 5; ++i) journal.chunk(job, run, i, "x");
  EXPECT_EQ(journal.unread("a"), (Numbers{1, 2, 3, 4, 5}));
  journal->polled("a", 2);
  journal->polled("a", 3);
  journal->polled("nobody", 3);
  journal.drain();
  EXPECT_EQ(journal.unread("a"), (Numbers{4, 5}));
  EXPECT_EQ(journal.unread("a", 1), (Numbers{4, 5}));
  EXPECT_EQ(journal.unread("a", 4), (Numbers{5}));
  EXPECT_EQ(journal.chunks("a").size(), 5u) << "they are still there for others";
  journal.finish(job, completed("[]", now_ms_));
  journal->settle(job);
  EXPECT_EQ(journal.unread("a"), (Numbers{4, 5}));
  journal->polled("a", 5);
  journal.drain();
  EXPECT_TRUE(journal.unread("a").empty());
  now_ms_ += 31 * 60'000;
  EXPECT_TRUE(journal.unread("a").empty());
}

TEST_P(Port, ANewAttemptStreamsAnew) {
  Session journal(options());
  Job job = make_job("a");
  RunNumber run = journal->next_run();
  journal.accept(job);
  journal.start(job, run);
  journal.chunk(job, run, 1, "old");
  journal.chunk(job, run, 2, "old");
  journal->requeue(job, run, true);
  journal.start(job, run + 1, 2);
  EXPECT_TRUE(journal.chunks("a").empty());
  journal.chunk(job, run + 1, 1, "new");
  auto chunks = journal.chunks("a");
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].chunk.bytes(), "new");
}

TEST_P(Port, ResultsAreRememberedForTheirTimeAndNoLonger) {
  Session journal(options());
  Job slow = make_job("async"), quick = make_job("sync");
  quick.sync = true;
  for (const Job& job : {slow, quick}) {
    journal.accept(job);
    journal.finish(job, completed("1", now_ms_));
    journal->settle(job);
  }
  now_ms_ += 59'999;
  EXPECT_TRUE(journal.lookup("sync"));
  now_ms_ += 1;
  EXPECT_FALSE(journal.lookup("sync"));
  EXPECT_TRUE(journal.lookup("async"));
  now_ms_ += 29 * 60'000 - 1;
  EXPECT_TRUE(journal.lookup("async"));
  now_ms_ += 1;
  EXPECT_FALSE(journal.lookup("async"));
  EXPECT_FALSE(journal.accept(quick)) << "an expired id is free again";
}

TEST_P(Port, RetentionCanBeShortenedButNotProlonged) {
  Session journal(options());
  Job job = make_job("a");
  journal.accept(job);
  journal.finish(job, completed("1", now_ms_));
  journal->settle(job);
  journal->expire("a", now_ms_ + 24 * 3'600'000);
  journal->expire("a", now_ms_ + 1'000);
  journal->expire("nobody", now_ms_);
  journal.drain();
  EXPECT_TRUE(journal.lookup("a"));
  now_ms_ += 1'000;
  EXPECT_FALSE(journal.lookup("a"));
}

TEST_P(Port, WhatIsNotSettledIsFoundForItsDeliveryThoughItHasExpired) {
  Session journal(options());
  Job job = make_job("a"), other = make_job("b");
  journal.accept(job);
  journal.accept(other);
  EXPECT_FALSE(journal.lookup_unsettled("a")) << "it has not ended";
  journal.finish(job, failed("\"no\"", now_ms_));
  journal->expire("a", now_ms_ + 1'000);
  journal.drain();
  now_ms_ += 2 * 3'600'000;
  EXPECT_FALSE(journal.finish(other, completed("1", now_ms_)));  // makes a journal that sweeps do so
  EXPECT_FALSE(journal.lookup("a"));
  auto found = journal.lookup_unsettled("a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->outcome.error.bytes(), "\"no\"");
  journal->settle(job);
  journal.drain();
  EXPECT_FALSE(journal.lookup_unsettled("a"));
  EXPECT_FALSE(journal.lookup_unsettled("nobody"));
}

TEST_P(Port, AForgottenJobIsGone) {
  Session journal(options());
  Job finished = make_job("finished"), waiting = make_job("waiting");
  journal.accept(finished);
  journal.accept(waiting);
  journal.finish(finished, completed("1", now_ms_));
  journal->settle(finished);
  journal->forget("finished");
  journal->forget("waiting");
  journal->forget("nobody");
  journal.drain();
  EXPECT_FALSE(journal.lookup("finished"));
  EXPECT_EQ(journal.start(waiting, journal->next_run()), Fault::UnknownJob);
  EXPECT_FALSE(journal.accept(finished));
  EXPECT_FALSE(journal.accept(waiting));
}

TEST_P(Port, BacklogCountsWhatIsNotYetWritten) {
  Session journal(options());
  EXPECT_EQ(journal->backlog(), 0u);
  int written = 0;
  for (int i = 0; i < 10; ++i) {
    journal->accept(make_job(std::to_string(i)), [&](std::error_code) { ++written; });
  }
  EXPECT_EQ(journal->backlog() + static_cast<std::size_t>(written), 10u);
  journal.drain();
  EXPECT_EQ(written, 10);
}

TEST_P(Port, ARemovedStoreCallsNobodyBack) {
  {
    Session journal(options());
    bool opened = true;
    for (int i = 0; i < 100; ++i) {
      journal->accept(make_job(std::to_string(i)), [&](std::error_code) { EXPECT_TRUE(opened); });
    }
    opened = false;
    if (GetParam() == Durability::Memory) opened = true;
  }
  if (GetParam() == Durability::Memory) return;
  Session journal(options());
  EXPECT_EQ(journal->recover().size(), 100u) << "but writes what it was given";
}

TEST_P(Port, RunNumbersNeverComeBack) {
  RunNumber before = 0;
  for (int i = 0; i < 3; ++i) {
    Session journal(options());
    EXPECT_GT(journal->next_run(), before);
    before = journal->next_run() + 10'000;  // this many were used
    now_ms_ += 1'000;
  }
}

TEST(MemoryJournal, ForgetsTheOldestResultsWhenThereIsNoRoom) {
  Options options;
  options.durability = Durability::Memory;
  options.max_bytes_in_memory = 10 * (1'000 + MemoryJournal::kRecordBytes);
  Session journal(std::move(options));
  for (int i = 0; i < 20; ++i) {
    Job job = make_job(std::to_string(i));
    journal.accept(job);
    journal.finish(job, completed(std::string(1'000, 'x'), 4'000'000'000'000 + i));
    journal->settle(job);
  }
  EXPECT_FALSE(journal.lookup("0"));
  EXPECT_FALSE(journal.lookup("9"));
  EXPECT_TRUE(journal.lookup("10"));
  EXPECT_TRUE(journal.lookup("19"));
  Job job = make_job("streams");
  journal.accept(job);
  journal.start(job, 1);
  EXPECT_FALSE(journal.chunk(job, 1, 1, std::string(14'000, 'x')));
  EXPECT_EQ(journal.chunk(job, 1, 2, std::string(14'000, 'x')), std::errc::no_space_on_device);
}

TEST(MemoryJournal, RefusesJobsWhereResultsThatWaitForTheirDeliveryTakeAllRoom) {
  Options options;
  options.durability = Durability::Memory;
  options.max_bytes_in_memory = 10 * (1'000 + MemoryJournal::kRecordBytes);
  Session journal(std::move(options));
  int accepted = 0;
  std::error_code refused;
  for (; accepted < 20; ++accepted) {
    Job job = make_job(std::to_string(accepted));
    refused = journal.accept(job);
    if (refused) break;
    journal.finish(job, completed(std::string(1'000, 'x'), 4'000'000'000'000));
  }
  EXPECT_EQ(accepted, 11);
  EXPECT_EQ(refused, std::errc::no_space_on_device);
  journal->settle(make_job("0"));
  EXPECT_FALSE(journal.accept(make_job("again"))) << "one was delivered";
}

}  // namespace
}  // namespace bulkhead::journal::testing
