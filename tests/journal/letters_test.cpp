// What is kept of jobs that crashed for good, and a journal looked at from outside.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

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
  static bool eventually(const std::function<bool()>& done) {
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!done()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }

  TemporaryDirectory directory_;
  std::atomic<std::int64_t> now_ms_{1'700'000'000'000};
};

TEST_F(Letters, WhatCrashedForGoodIsALetterUntilThereAreTooMany) {
  Options few = options();
  few.dead_max = 2;
  Session journal(few);
  auto die = [&](const std::string& id) {
    Job job = make_job(id, R"({"of":")" + id + R"("})");
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
  journal->forget("c");  // the letter outlives its job, with its records
  journal->drop_dead("b");
  EXPECT_TRUE(eventually([&] { return letters() == std::vector<std::string>{"c"}; }));
  EXPECT_TRUE(eventually([&] { return count("SELECT count(*) FROM crashes") == 1; })) << "those of a letter";
  EXPECT_EQ(verify(path()), std::vector<std::string>{});
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
