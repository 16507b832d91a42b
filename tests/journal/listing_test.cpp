// Jobs as onlookers ask for them, of every journal the same.

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "tests/journal/harness.hpp"

namespace bulkhead::journal::testing {
namespace {

std::uint8_t bit(Status status) { return static_cast<std::uint8_t>(1u << static_cast<unsigned>(status)); }

class Listing : public ::testing::TestWithParam<Durability> {
 protected:
  Options options() {
    Options options;
    options.directory = directory_ / "state";
    options.durability = GetParam();
    options.wall_ms = [this] { return now_ms_.load(); };
    return options;
  }

  static JobsPage page(Session& journal, const JobsQuery& query) {
    std::optional<JobsPage> answer;
    journal->jobs(query, [&](JobsPage page) { answer = std::move(page); });
    EXPECT_TRUE(journal.loop().run(*journal, [&] { return answer.has_value(); }));
    return answer.value_or(JobsPage());
  }
  static std::vector<std::string> ids(Session& journal, JobsQuery query = {}) {
    std::vector<std::string> ids;
    do {
      const JobsPage some = page(journal, query);
      for (const ListedJob& job : some.jobs) ids.push_back(job.id);
      query.before = some.before;
    } while (query.before != 0);
    return ids;
  }
  static std::optional<JobRecord> record(Session& journal, std::string_view id, std::size_t most = 1 << 16) {
    std::optional<std::optional<JobRecord>> answer;
    journal->record(id, most, [&](std::optional<JobRecord> record) { answer = std::move(record); });
    EXPECT_TRUE(journal.loop().run(*journal, [&] { return answer.has_value(); }));
    return answer.value_or(std::nullopt);
  }
  /// a failed, b completed, c runs, d waits.
  void fill(Session& journal) {
    RunNumber run = journal->next_run();
    for (const char* id : {"a", "b", "c", "d"}) EXPECT_FALSE(journal.accept(make_job(id)));
    for (const char* id : {"a", "b", "c"}) EXPECT_FALSE(journal.start(make_job(id), run++, 1, "w2.7"));
    Outcome wrong = failed(R"("lost")", now_ms_);
    wrong.worker_id = "w2.7";
    EXPECT_FALSE(journal.finish(make_job("a"), wrong));
    EXPECT_FALSE(journal.finish(make_job("b"), completed("1", now_ms_)));
    journal->settle(make_job("a"));
    journal->settle(make_job("b"));
  }

  std::atomic<std::int64_t> now_ms_{1'700'000'000'000};
  TemporaryDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(Journals, Listing, ::testing::Values(Durability::Full, Durability::Memory),
                         [](const auto& named) { return named.param == Durability::Full ? "full" : "memory"; });

using Ids = std::vector<std::string>;

TEST_P(Listing, NewestFirstInPages) {
  Session journal(options());
  EXPECT_EQ(ids(journal), Ids());
  fill(journal);
  EXPECT_EQ(ids(journal), (Ids{"d", "c", "b", "a"}));
  EXPECT_EQ(ids(journal, {.limit = 1}), (Ids{"d", "c", "b", "a"}));
  EXPECT_EQ(page(journal, {.limit = 3}).jobs.size(), 3u);
}

TEST_P(Listing, ByWhatIsKnown) {
  Session journal(options());
  fill(journal);
  EXPECT_EQ(ids(journal, {.states = bit(Status::InQueue)}), Ids{"d"});
  EXPECT_EQ(ids(journal, {.states = bit(Status::InProgress)}), Ids{"c"});
  EXPECT_EQ(ids(journal, {.states = static_cast<std::uint8_t>(bit(Status::Failed) | bit(Status::Completed))}),
            (Ids{"b", "a"}));
  EXPECT_EQ(ids(journal, {.error_type = "WorkerLost"}), Ids{"a"});
  EXPECT_EQ(ids(journal, {.worker = "w2"}), (Ids{"c", "a"}));
  EXPECT_EQ(ids(journal, {.worker = "w2.7"}), (Ids{"c", "a"}));
  EXPECT_EQ(ids(journal, {.worker = "w"}), Ids());
  EXPECT_EQ(ids(journal, {.id = "b"}), Ids{"b"});
}

TEST_P(Listing, AJobThatWaitsAgainIsInTheQueue) {
  Session journal(options());
  RunNumber run = journal->next_run();
  EXPECT_FALSE(journal.accept(make_job("a")));
  EXPECT_FALSE(journal.start(make_job("a"), run));
  journal->requeue(make_job("a"), run, false);
  journal.drain();
  const JobsPage found = page(journal, {});
  ASSERT_EQ(found.jobs.size(), 1u);
  EXPECT_EQ(found.jobs[0].status, Status::InQueue);
  EXPECT_EQ(found.jobs[0].attempts, 0);
  EXPECT_EQ(found.jobs[0].worker_id, "");
}

TEST_P(Listing, WhatIsNoLongerKeptIsNotListed) {
  Session journal(options());
  fill(journal);
  now_ms_ += 365LL * 86'400'000;
  EXPECT_EQ(ids(journal), (Ids{"d", "c"}));
  EXPECT_FALSE(record(journal, "a"));
}

TEST_P(Listing, ARetriedJobIsListedOnce) {
  Session journal(options());
  fill(journal);
  EXPECT_FALSE(journal.accept(make_job("a")));
  EXPECT_EQ(ids(journal), (Ids{"a", "d", "c", "b"}));
  journal->forget("d");
  journal.drain();
  EXPECT_EQ(ids(journal), (Ids{"a", "c", "b"}));
}

TEST_P(Listing, OneWithAllThatIsKept) {
  Session journal(options());
  RunNumber run = journal->next_run();
  const Job job = make_job("a", R"({"n":1})");
  EXPECT_FALSE(journal.accept(job));
  EXPECT_FALSE(journal.start(job, run, 2, "w0.3"));
  EXPECT_FALSE(journal.chunk(job, run, 5, "1"));
  journal->history(job, payload("{}"), 1, payload(R"("{\"signal\":\"SIGSEGV\"}")"), [](std::error_code) {});
  journal.drain();
  auto found = record(journal, "a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->listed.status, Status::InProgress);
  EXPECT_EQ(found->listed.attempts, 2);
  EXPECT_EQ(found->listed.worker_id, "w0.3");
  EXPECT_EQ(found->input.bytes(), R"({"n":1})");
  EXPECT_EQ(found->input_size, 7);
  EXPECT_EQ(found->history.bytes(), "{}");
  EXPECT_EQ(found->crash.bytes(), R"("{\"signal\":\"SIGSEGV\"}")");
  EXPECT_EQ(found->chunks, 5u);
  found = record(journal, "a", 6);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->input.empty());
  EXPECT_EQ(found->input_size, 7);
  EXPECT_FALSE(record(journal, "b"));
}

TEST_P(Listing, ManyJobsTakeManyPages) {
  Session journal(options());
  constexpr int kJobs = 5'000;
  int accepted = 0;
  for (int i = 0; i < kJobs; ++i)
    journal->accept(make_job("job-" + std::to_string(i)), [&](std::error_code error) {
      EXPECT_FALSE(error);
      ++accepted;
    });
  ASSERT_TRUE(journal.loop().run(*journal, [&] { return accepted == kJobs; }));
  EXPECT_EQ(ids(journal, {.id = "job-0"}), Ids{"job-0"});
  EXPECT_EQ(ids(journal).size(), static_cast<std::size_t>(kJobs));
}

}  // namespace
}  // namespace bulkhead::journal::testing
