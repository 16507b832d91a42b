// The pool's pure parts: back-off, dispatch window, log tail, log budget, runs.

#include <gtest/gtest.h>

#include "supervisor/pool/backoff.hpp"
#include "supervisor/pool/hidden_modules.hpp"
#include "supervisor/pool/log_tail.hpp"
#include "supervisor/pool/runs.hpp"
#include "supervisor/pool/window.hpp"

namespace bulkhead::pool {
namespace {

using std::chrono::microseconds;

TEST(Backoff, DoublesItsCeilingAndStaysBelowTheLongest) {
  Backoff backoff(
      {.first = milliseconds(250), .longest = milliseconds(1500), .slow = milliseconds(1), .patience = 100});
  std::vector<std::int64_t> waits;
  for (int i = 0; i < 6; ++i) waits.push_back(backoff.failed(0.5).count());
  EXPECT_EQ(waits, (std::vector<std::int64_t>{125, 250, 500, 750, 750, 750}));
}

TEST(Backoff, HasFullJitter) {
  Backoff backoff(BackoffTimes{});
  EXPECT_EQ(backoff.failed(0.0).count(), 0);
  EXPECT_EQ(backoff.failed(0.999).count(), 499);
}

TEST(Backoff, LosesPatienceAfterARowAndThenGoesSlowly) {
  Backoff backoff({.first = milliseconds(1), .longest = milliseconds(10), .slow = milliseconds(30'000), .patience = 3});
  backoff.failed(0.5);
  backoff.failed(0.5);
  EXPECT_FALSE(backoff.exhausted());
  EXPECT_EQ(backoff.failed(0.5).count(), 30'000);
  EXPECT_TRUE(backoff.exhausted());
  EXPECT_EQ(backoff.failed(0.0).count(), 27'000);
  backoff.succeeded();
  EXPECT_FALSE(backoff.exhausted());
  EXPECT_EQ(backoff.failures(), 0);
}

TEST(Backoff, SurvivesAnEndlessRow) {
  Backoff backoff(
      {.first = milliseconds(250), .longest = milliseconds(30'000), .slow = milliseconds(5), .patience = 1000});
  for (int i = 0; i < 999; ++i) EXPECT_LE(backoff.failed(1.0).count(), 30'000);
}

TEST(Backoff, ACommandThatCannotBeExecutedIsOneTooMany) {
  Backoff backoff(BackoffTimes{});
  backoff.lose_patience();
  EXPECT_FALSE(backoff.exhausted());
  backoff.failed(0.5);
  EXPECT_TRUE(backoff.exhausted());
}

TEST(Window, StaysClosedUntilAStreakOfTinyRuns) {
  Window window(std::nullopt);
  for (int i = 1; i < Window::kStreak; ++i) EXPECT_FALSE(window.ended(microseconds(5)));
  EXPECT_EQ(window.size(), 0);
  EXPECT_TRUE(window.ended(microseconds(5)));
  EXPECT_EQ(window.size(), 1);
}

TEST(Window, GrowsInSteps) {
  Window window(std::nullopt);
  std::vector<int> sizes;
  for (int i = 0; i < 5 * Window::kStreak; ++i)
    if (window.ended(microseconds(5))) sizes.push_back(window.size());
  EXPECT_EQ(sizes, (std::vector<int>{1, 4, 16}));
}

TEST(Window, ARunOfAMillisecondBreaksTheStreakAndASlowOneClosesIt) {
  Window window(std::nullopt);
  for (int i = 0; i < Window::kStreak; ++i) window.ended(microseconds(5));
  for (int i = 1; i < Window::kStreak; ++i) window.ended(microseconds(5));
  EXPECT_FALSE(window.ended(Window::kTiny));
  EXPECT_EQ(window.size(), 1);
  EXPECT_FALSE(window.ended(microseconds(5)));  // a new streak
  EXPECT_TRUE(window.ended(Window::kSlow));
  EXPECT_EQ(window.size(), 0);
}

TEST(Window, OutputClosesIt) {
  Window window(std::nullopt);
  for (int i = 0; i < Window::kStreak; ++i) window.ended(microseconds(5));
  EXPECT_TRUE(window.close());
  EXPECT_EQ(window.size(), 0);
  EXPECT_FALSE(window.close());
}

TEST(Window, AFixedOneIsFixed) {
  Window window(7);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(window.ended(microseconds(1)));
  EXPECT_FALSE(window.ended(std::chrono::seconds(5)));
  EXPECT_FALSE(window.close());
  EXPECT_EQ(window.size(), 7);
}

TEST(LogTail, KeepsTheLastLinesOldestFirst) {
  LogTail tail;
  for (int i = 0; i < 120; ++i) tail.add(1, std::to_string(i));
  const auto lines = tail.of(1);
  ASSERT_EQ(lines.size(), LogTail::kLines);
  EXPECT_EQ(lines.front(), "70");
  EXPECT_EQ(lines.back(), "119");
  EXPECT_EQ(tail.last(2), "118\n119");
}

TEST(LogTail, ShowsNobodyTheLinesOfAnotherJob) {
  LogTail tail;
  tail.add(0, "loading");
  tail.add(1, "secret");
  tail.add(2, "mine");
  EXPECT_EQ(tail.of(2), (std::vector<std::string>{"loading", "mine"}));
}

TEST(LogBudget, LetsABurstPassThenARate) {
  LogBudget budget;
  LogBudget::Time now{std::chrono::hours(1)};
  std::int64_t passed = 0;
  for (int i = 0; i < 100'000; ++i) passed += budget.take(now);
  EXPECT_EQ(passed, LogBudget::kBurst);
  EXPECT_EQ(budget.dropped(), 0u);  // while lines are being dropped there is no room to say so
  now += std::chrono::seconds(1);
  passed = 0;
  for (int i = 0; i < 100'000; ++i) passed += budget.take(now);
  EXPECT_EQ(passed, LogBudget::kPerSecond);
  now += std::chrono::seconds(1);
  EXPECT_TRUE(budget.take(now));
  EXPECT_EQ(budget.dropped(), 200'000 - LogBudget::kBurst - LogBudget::kPerSecond);
  EXPECT_EQ(budget.dropped(), 0u);
}

TEST(LogBudget, EarnsAtMostOneBurst) {
  LogBudget budget;
  LogBudget::Time now{std::chrono::hours(1)};
  for (int i = 0; i < 100'000; ++i) budget.take(now);
  now += std::chrono::hours(5);
  std::int64_t passed = 0;
  for (int i = 0; i < 100'000; ++i) passed += budget.take(now);
  EXPECT_EQ(passed, LogBudget::kBurst);
}

TEST(Runs, AreFoundUntilErasedAndComeBackClean) {
  Runs runs;
  alignas(16) unsigned char place[16];  // a run only remembers where its worker is
  Worker& nobody = reinterpret_cast<Worker&>(place);
  auto& first = runs.add(7, nobody, "job", 2);
  first.started = first.over = true;
  first.sequence.take(1);
  EXPECT_EQ(runs.find(7), &first);
  EXPECT_EQ(runs.find(8), nullptr);
  runs.erase(first);
  EXPECT_EQ(runs.find(7), nullptr);
  auto& second = runs.add(8, nobody, "other", 1);
  EXPECT_EQ(&second, &first) << "not allocated again";
  EXPECT_FALSE(second.started || second.over);
  EXPECT_EQ(second.sequence.seen(), 0u);
  EXPECT_EQ(second.job_id, "other");
  runs.erase(second);
}

TEST(HiddenModules, FlagsThatIgnoreThePath) {
  EXPECT_EQ(ignoring_flag({"python3", "-I", "handler.py"}), "-I");
  EXPECT_EQ(ignoring_flag({"/usr/bin/python3.11", "-W", "error", "-usE", "handler.py"}), "-usE");
  EXPECT_EQ(ignoring_flag({"python3", "-XIE", "-WE", "handler.py", "-I"}), "");
  EXPECT_EQ(ignoring_flag({"python3", "-m", "handler", "-E"}), "");
  EXPECT_EQ(ignoring_flag({"./handler", "-I"}), "");
  EXPECT_EQ(ignoring_flag({}), "");
}

TEST(HiddenModules, LinesThatTell) {
  EXPECT_EQ(sign_of("--- Starting Serverless Worker |  Version 1.12.0 ---"), Sign::OtherWorker);
  EXPECT_EQ(sign_of("ModuleNotFoundError: No module named 'runpod'"), Sign::NoModule);
  EXPECT_EQ(sign_of("ModuleNotFoundError: No module named 'torch'"), Sign::None);
  EXPECT_EQ(sign_of(""), Sign::None);
}

}  // namespace
}  // namespace bulkhead::pool
