// Counts what becomes of jobs, as it happens: some increments each, no allocation, no lock. One thread.

#pragma once

#include "supervisor/observe/history.hpp"
#include "supervisor/observe/snapshot.hpp"

namespace bulkhead::observe {

class JobCounts final : public JobsWatcher {
 public:
  const JobTotals& totals() const { return totals_; }
  const History& history() const { return history_; }

  void accepted() override { ++totals_.accepted; }
  void refused(Refusal refusal) override;
  void retried() override { ++totals_.retried; }
  void ended(const Job& job, const Outcome& outcome, std::chrono::microseconds run_time) override;

 private:
  JobTotals totals_;
  History history_;
};

}  // namespace bulkhead::observe
