#include "supervisor/observe/job_counts.hpp"

#include <algorithm>

namespace bulkhead::observe {

void JobCounts::refused(Refusal refusal) {
  if (auto reason = static_cast<std::size_t>(refusal); reason < kRefusals) ++totals_.refused[reason];
}

void JobCounts::ended(const Job& job, const Outcome& outcome, std::chrono::microseconds run_time) {
  auto is_it = [&](const JobEnd& end) {
    if (end.status != outcome.status) return false;
    return outcome.status != Status::Failed || end.error_type == outcome.error_type;
  };
  auto end = std::find_if(kJobEnds.begin(), kJobEnds.end() - 1, is_it);
  ++totals_.ended[static_cast<std::size_t>(end - kJobEnds.begin())];

  const bool ran = outcome.started_ms != 0;
  const milliseconds waited(std::max<std::int64_t>(0, outcome.started_ms - job.submitted_ms));
  if (ran) {
    totals_.wait.add(waited);
    totals_.run.add(run_time);
  }
  history_.add(outcome.finished_ms, outcome.status, ran, waited, std::chrono::duration_cast<milliseconds>(run_time));
}

}  // namespace bulkhead::observe
