// What is kept of jobs that crashed for good, and a journal looked at from outside.

#include <atomic>
#include <filesystem>

#include "supervisor/journal/letters.hpp"
#include "supervisor/journal/maintenance.hpp"
#include "supervisor/journal/sqlite.hpp"
#include "tests/journal/harness.hpp"

namespace bulkhead::journal::testing {
namespace {

class Letters : public ::testing::Test {
 protected:
  Options options() {
    Options options;
    options.directory = directory_ / "state";
    options.wall_ms = [this] { return now_ms_.load(); };
    return options;
  }
  std::string path() { return (directory_ / "state/journal.db").string(); }
  std::int64_t count(const char* sql) { return Connection(path()).number(sql); }

  TemporaryDirectory directory_;
  std::atomic<std::int64_t> now_ms_{1'700'000'000'000};
};

TEST_F(Letters, WhatCrashedForGoodIsALetterUntilThereAreTooMany) {
  Options few = options();
  few.dead_max = 2;
  Session journal(few);
  auto die = [&](const std::string& id) {
    Job job = make_job(id, R"({"of":")" + id + R"("})");
    job.idempotency_key = "key-" + id;
    job.policy.retry_on = kLostByCrash;
    EXPECT_FALSE(journal.accept(job));
    EXPECT_FALSE(journal.start(job, journal->next_run()));
    Outcome outcome = failed(R"("crash")", now_ms_);
    outcome.dead = true;
    outcome.history = payload(R"({"attempt":1})");
    bool kept = false;
    journal->history(job, outcome.history, 1, payload(R"("first")"), [&](std::error_code error) { kept = !error; });
    EXPECT_FALSE(journal.finish(job, outcome));
    EXPECT_TRUE(kept);
    journal->settle(job);
    now_ms_ += 10;
  };
  auto letters = [&] {
    std::vector<std::string> ids;
    bool answered = false;
    journal->dead_letters(10, [&](std::vector<DeadLetter> found) {
      for (const DeadLetter& letter : found) ids.push_back(letter.job.id);
      answered = true;
    });
    journal.loop().run(*journal, [&] { return answered; });
    return ids;
  };
  for (const char* id : {"a", "b", "c"}) die(id);
  EXPECT_EQ(letters(), (std::vector<std::string>{"c", "b"}));
  auto settled = journal.lookup("c");
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->outcome.history.bytes(), R"({"attempt":1})");
  EXPECT_EQ(settled->job.policy.retry_on, kLostByCrash);
  std::optional<std::optional<DeadLetter>> letter;
  journal->dead_letter("c", [&](std::optional<DeadLetter> found) { letter = std::move(found); });
  journal.loop().run(*journal, [&] { return letter.has_value(); });
  ASSERT_TRUE(letter && *letter);
  EXPECT_EQ((*letter)->job.idempotency_key, "key-c") << "whoever repeats the request names this job";
  journal->forget("c");  // the letter outlives its job, with its records
  journal->drop_dead("b");
  EXPECT_TRUE(eventually([&] { return letters() == std::vector<std::string>{"c"}; }));
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM crashes") == 1; })) << "those of a letter";
  EXPECT_EQ(verify(path()), std::vector<std::string>{});
}

TEST_F(Letters, TheEndOfADeadJobToldTwiceKeepsItsCrashRecords) {
  Job job = make_job("a");
  Outcome outcome = failed(R"("crash")", now_ms_);
  outcome.dead = true;
  outcome.history = payload(R"({"attempt":1})");
  {
    Session journal(options());
    EXPECT_FALSE(journal.accept(job));
    EXPECT_FALSE(journal.start(job, journal->next_run()));
    journal->history(job, outcome.history, 1, payload(R"("first")"), [](std::error_code) {});
    EXPECT_FALSE(journal.finish(job, outcome));
  }
  // As a process does that was not told that its write had been taken: the operation comes a second time.
  Connection connection(path());
  journal::Letters letters(connection, {});
  letters.bury(connection.number("SELECT key FROM jobs"), "a", now_ms_);
  EXPECT_EQ(count("SELECT count(*) FROM dead"), 1);
  EXPECT_EQ(count("SELECT count(*) FROM crashes"), 1);
}

TEST_F(Letters, OfTooManyTheOldestGoAtTheNextOne) {
  { Session journal(options()); }
  Connection connection(path());
  connection.execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) INSERT INTO dead "
      "SELECT i, 'd' || i, i, 0, 0, 0, 0, 1, '', '', NULL, NULL, NULL, NULL, '', '', 1, 0, 0, NULL, NULL, x'78' FROM n;"
      "INSERT INTO jobs SELECT i + 4000, 'j' || i, 0, 0, 0, 0, 1, '', '', x'7878' FROM (SELECT key AS i FROM dead);"
      "INSERT INTO outcomes SELECT key, 3, 0, '', '', 1, 0, key, 0, 0, NULL, NULL FROM jobs");
  journal::Letters letters(connection, {.number = 4'000, .age_ms = 10'000, .input_bytes = 10'000});
  const auto bury = [&](int n) { letters.bury(4'000 + n, "j" + std::to_string(n), 0); };
  bury(1);
  EXPECT_EQ(count("SELECT count(*) FROM dead"), 3'998) << "of very many some go at once";
  EXPECT_EQ(count("SELECT min(key) FROM dead"), 4);
  bury(2);
  bury(3);
  EXPECT_EQ(count("SELECT count(*) FROM dead"), 4'000);
  letters.drop("j1");
  letters.drop("j2");
  bury(4);
  EXPECT_EQ(count("SELECT count(*) FROM dead"), 3'999) << "what was dropped makes room";
  letters.trim(4'100);
  letters.trim(10'500);
  EXPECT_EQ(count("SELECT min(key) FROM dead"), 501) << "what is too old goes";
  journal::Letters few(connection, {.number = 5, .age_ms = 10'000, .input_bytes = 5});
  few.trim(0);
  EXPECT_EQ(count("SELECT count(*) FROM dead"), 3) << "two of two bytes, and one of one";
}

TEST_F(Letters, SuspectsAreBoundedAndOfOneBuild) {
  { Session journal(options()); }
  Connection(path()).execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10050) "
      "INSERT INTO suspects SELECT 's' || i, 'now', 1 + i % 2, NULL FROM n;"
      "INSERT INTO suspects VALUES ('old', 'before', 9, NULL)");
  {
    Session journal(options());
    EXPECT_EQ(journal->suspects().size(), 10'000u);
    journal->suspect({.fingerprint = "new", .build = "now", .crashes = 1, .record = payload("1")});
    EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM suspects") == 10'000; }));
  }
  EXPECT_EQ(count("SELECT count(*) FROM suspects WHERE build = 'before'"), 0);
  EXPECT_EQ(count("SELECT count(*) FROM suspects WHERE fingerprint = 'new'"), 1);
  EXPECT_EQ(count("SELECT count(*) FROM suspects WHERE crashes = 2"), 5'025) << "those of the fewest crashes went";
}

TEST_F(Letters, AFaultIsFoundAndACopyIsWhole) {
  {
    Session journal(options());
    for (int i = 0; i < 50; ++i) journal.accept(make_job("job-" + std::to_string(i)));
    back_up_to(path(), directory_ / "copy.db");  // while it is open
    EXPECT_THROW(back_up_to(path(), directory_ / "copy.db"), std::system_error) << "it is there";
  }
  EXPECT_EQ(verify(directory_ / "copy.db"), std::vector<std::string>{});
  EXPECT_NE(inspect(directory_ / "copy.db", now_ms_).find("\"waiting\": 50"), std::string::npos);
  Connection(path()).execute("DELETE FROM jobs WHERE id = 'job-7'; UPDATE open SET run = 5 WHERE key = 9");
  auto faults = verify(path());
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_NE(faults[0].find("no row of its own (key 8)"), std::string::npos) << faults[0];
  EXPECT_NE(faults[1].find("without an attempt (key 9)"), std::string::npos) << faults[1];
}

}  // namespace
}  // namespace bulkhead::journal::testing
