// The last hour, and counts by how jobs ended.

#include <gtest/gtest.h>

#include "supervisor/observe/history.hpp"
#include "supervisor/observe/job_counts.hpp"
#include "supervisor/observe/metrics.hpp"

namespace bulkhead::observe {
namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;
constexpr std::int64_t kHour = 3'600'000;

TEST(Spread, quantiles_are_right_within_a_tenth) {
  for (std::int64_t ms : {1, 2, 3, 7, 50, 999, 60'000, 86'400'000}) {
    Spread spread;
    spread.add(milliseconds(ms));
    EXPECT_NEAR(spread.quantile_ms(0.5) / static_cast<double>(ms), 1.0, 0.1) << ms;
  }
  Spread many;
  for (int ms = 1; ms <= 1000; ++ms) many.add(milliseconds(ms));
  EXPECT_NEAR(many.quantile_ms(0.5), 500, 50);
  EXPECT_NEAR(many.quantile_ms(0.95), 950, 95);
}

TEST(Spread, knows_nothing_of_nothing_and_takes_what_is_out_of_range) {
  Spread spread;
  EXPECT_EQ(spread.quantile_ms(0.5), 0);
  spread.add(milliseconds(-5));
  EXPECT_LT(spread.quantile_ms(0.5), 1);
  spread.clear();
  spread.add(std::chrono::hours(24 * 365));
  EXPECT_GT(spread.quantile_ms(0.5), 1e8);
}

TEST(History, forgets_what_is_older_than_an_hour) {
  History history;
  history.add(kNow, Status::Completed, true, milliseconds(10), milliseconds(100));
  history.add(kNow + 20'000, Status::Failed, true, milliseconds(10), milliseconds(100));
  history.add(kNow + 20'000, Status::Cancelled, false, {}, {});
  auto hour = history.hour(kNow + 20'000);
  EXPECT_EQ(hour.ended.completed, 1U);
  EXPECT_EQ(hour.ended.failed, 1U);
  EXPECT_EQ(hour.ended.cancelled, 1U);
  EXPECT_NEAR(hour.run.p95_ms, 100, 10);
  EXPECT_EQ(history.intervals(kNow + 20'000).size(), 2U);
  EXPECT_EQ(history.hour(kNow + kHour).ended.completed, 0U);
  EXPECT_EQ(history.hour(kNow + kHour).ended.failed, 1U);
  EXPECT_TRUE(history.intervals(kNow + 2 * kHour).empty());
  history.add(kNow + kHour, Status::TimedOut, true, {}, {});  // in the place of the first
  EXPECT_EQ(history.hour(kNow + kHour).ended.timed_out, 1U);
  EXPECT_EQ(history.hour(kNow + kHour).ended.completed, 0U);
}

TEST(JobCounts, an_error_type_that_nobody_knows_is_other) {
  JobCounts counts;
  Job job;
  job.submitted_ms = kNow;
  Outcome outcome;
  outcome.status = Status::Failed;
  outcome.error_type = "MadeUp";
  outcome.started_ms = kNow + 5;
  outcome.finished_ms = kNow + 10;
  counts.ended(job, outcome, std::chrono::microseconds(300));
  outcome.error_type = "WorkerCrash";
  counts.ended(job, outcome, std::chrono::microseconds(300));
  EXPECT_EQ(counts.totals().ended.back(), 1U);
  Snapshot seen;
  seen.jobs = counts.totals();
  std::string text = to_prometheus(seen);
  EXPECT_NE(text.find("error_type=\"other\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("bulkhead_job_run_seconds_bucket{le=\"0.0005\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("bulkhead_job_run_seconds_bucket{le=\"0.00025\"} 0\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace bulkhead::observe
