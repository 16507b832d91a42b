#include "supervisor/pool/runs.hpp"

#include <cassert>
#include <utility>

namespace bulkhead::pool {

Run& Runs::add(RunNumber number, Worker& worker, std::string_view job_id, int attempt) {
  std::unique_ptr<Run> run;
  if (spare_.empty()) {
    run = std::make_unique<Run>();
  } else {
    run = std::move(spare_.back());
    spare_.pop_back();
    std::string text = std::move(run->job_id);
    *run = Run();
    run->job_id = std::move(text);
  }
  run->number = number;
  run->worker = &worker;
  run->job_id = job_id;
  run->attempt = attempt;
  run->handed = std::chrono::steady_clock::now();
  Run& added = *run;
  const bool fresh = runs_.emplace(number, std::move(run)).second;
  assert(fresh);
  static_cast<void>(fresh);
  return added;
}

Run* Runs::find(RunNumber number) {
  auto found = runs_.find(number);
  return found == runs_.end() ? nullptr : found->second.get();
}

void Runs::erase(Run& run) {
  assert(!run.is_linked());
  auto found = runs_.find(run.number);
  assert(found != runs_.end());
  run.progress = {};
  spare_.push_back(std::move(found->second));
  runs_.erase(found);
}

}  // namespace bulkhead::pool
