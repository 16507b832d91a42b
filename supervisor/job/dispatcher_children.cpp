// What children say, and what becomes of it: the WorkersListener half of the dispatcher. A message about a run that is not
// (any more) somebody's is acknowledged and forgotten.

#include <algorithm>
#include <utility>

#include "supervisor/job/dispatch_record.hpp"

namespace bulkhead {
namespace {

constexpr milliseconds kCheckpointAgain{1'000};

}  // namespace

Dispatcher::Record* Dispatcher::find(RunNumber run) {
  auto found = runs_.find(run);
  return found == runs_.end() ? nullptr : found->second;
}

void Dispatcher::ready(WorkerNumber worker, std::string_view worker_id, int concurrency, int window) {
  Worker& known = known_workers_[worker];
  if (known.id.empty()) known.id = worker_id;
  scheduler_.set_room(worker, concurrency, window);
  pump();
}

void Dispatcher::retiring(WorkerNumber worker) {
  scheduler_.retire(worker);
  watch_inputs(worker);
}

void Dispatcher::started(RunNumber run) {
  Record* record = find(run);
  if (!record || !record->in_window || record->state != State::HandedOut) return;
  record->in_window = false;
  record->started = clock_.now();
  begin_watch(*record);
  arm(*record);
}

void Dispatcher::progress(RunNumber run, Payload value) {
  Record* record = find(run);
  if (!record || record->why != Why::None) return;
  sign_of_life(*record);
  journal_.progress(record->job, value);
  if (record->source) record->source->progress(record->job, std::move(value));
}

void Dispatcher::chunk(RunNumber run, std::uint32_t seq, Payload value) {
  Record* record = find(run);
  if (!record || record->why != Why::None) return workers_->acknowledge(run, seq);
  sign_of_life(*record);
  std::uint32_t number = ++record->chunks;
  // The journal answers in order, so this comes before the run's outcome is durable: the record is still there.
  auto written = [this, record, run, seq, number, value](std::error_code) {
    if (!record->source) return workers_->acknowledge(run, seq);
    record->source->chunk(record->job, number, value, [this, run, seq] { workers_->acknowledge(run, seq); });
  };
  if (number <= record->stored) return written({});
  journal_.chunk(record->job, run, number, value, std::move(written));
}

void Dispatcher::checkpoint(RunNumber run, std::uint32_t seq, Payload data) {
  Record* record = find(run);
  if (!record) return workers_->acknowledge(run, seq);
  sign_of_life(*record);
  record->checkpoint = data;
  write_checkpoint({run, seq, std::move(data), {}});
}

/// The child waits for its acknowledgement: that comes when the checkpoint is durable. One that the disk refuses is tried
/// again for as long as the run goes on.
void Dispatcher::write_checkpoint(Checkpoint checkpoint) {
  Record* record = find(checkpoint.run);
  if (!record) return workers_->acknowledge(checkpoint.run, checkpoint.seq);
  journal_.checkpoint(record->job, checkpoint.run, checkpoint.data, [this, checkpoint](std::error_code error) mutable {
    if (!error) return workers_->acknowledge(checkpoint.run, checkpoint.seq);
    checkpoint.again = clock_.now().mono + kCheckpointAgain;
    refused_checkpoints_.push_back(std::move(checkpoint));
    if (alarm_) alarm_();
  });
}

void Dispatcher::write_refused_checkpoints(std::chrono::steady_clock::time_point now) {
  while (!refused_checkpoints_.empty() && refused_checkpoints_.front().again <= now) {
    Checkpoint checkpoint = std::move(refused_checkpoints_.front());
    refused_checkpoints_.pop_front();
    write_checkpoint(std::move(checkpoint));
  }
}

void Dispatcher::answered(RunNumber run, std::uint32_t seq, Outcome outcome, std::chrono::microseconds run_time,
                          bool refresh) {
  Record* record = find(run);
  if (!record) return workers_->acknowledge(run, seq);
  outcome.worker_id = std::move(record->outcome.worker_id);
  outcome.execution_ms = std::chrono::duration_cast<milliseconds>(run_time).count();
  record->run_time = run_time;
  outcome.refresh_worker = refresh;
  record->outcome = std::move(outcome);
  record->result_seq = seq;
  if (refresh) {
    known_workers_[record->worker].refresh = true;
    scheduler_.retire(record->worker);
    for (auto& [other, waiting] : runs_)
      if (waiting->worker == record->worker && other != run) workers_->recall(other);
  }
  on(*record, Event::Answered);
  pump();
}

void Dispatcher::succeeded(RunNumber run, std::uint32_t seq, Payload output, std::chrono::microseconds run_time,
                           bool refresh) {
  Outcome outcome;
  outcome.status = Status::Completed;
  outcome.output = std::move(output);
  answered(run, seq, std::move(outcome), run_time, refresh);
}

void Dispatcher::failed(RunNumber run, std::uint32_t seq, Payload error, Payload output,
                        std::chrono::microseconds run_time, bool refresh) {
  Outcome outcome;
  outcome.status = Status::Failed;
  outcome.output = std::move(output);
  outcome.error = std::move(error);
  outcome.error_type = "HandlerError";
  answered(run, seq, std::move(outcome), run_time, refresh);
}

void Dispatcher::handed_back(RunNumber run, std::uint32_t seq) {
  workers_->acknowledge(run, seq);
  Record* record = find(run);
  if (!record) return;
  on(*record, Event::HandedBack);
  pump();
}

void Dispatcher::log(const LogLine& line) {
  Record* record = line.run ? find(line.run) : nullptr;
  if (record) sign_of_life(*record);
  if (record && record->source) record->source->log(record->job, line);
  if (log_) log_(line, record ? &record->job : nullptr, record ? record->attempts : 0);
}

void Dispatcher::died(WorkerNumber worker, std::span<const Casualty> casualties) {
  scheduler_.retire(worker);
  // Of several jobs in one process nobody can say whose fault it was.
  const bool one_suspect = std::count_if(casualties.begin(), casualties.end(), [](auto& c) { return c.entered; }) == 1;
  for (const Casualty& casualty : casualties) {
    Record* record = find(casualty.run);
    if (!record) continue;
    record->outcome.status = Status::Failed;
    std::string blamed;
    if (casualty.entered) {
      record->outcome.error = casualty.error;
      record->outcome.error_type = casualty.error_type;
      if (one_suspect && record->why == Why::None && casualty.error_type != kWorkerLost) {
        note_crash(*record, casualty.error);
        blamed = record->fingerprint;
      }
    } else {
      ++record->bystander;
      record->outcome.error = lost_error(
          "handed to " + std::to_string(record->bystander) + " handler processes that died before starting it",
          record->attempts);
      record->outcome.error_type = "WorkerLost";
    }
    on(*record, casualty.entered ? Event::LostEntered : Event::LostUnentered);  // the record may be gone
    if (const Suspect* suspect = blamed.empty() ? nullptr : quarantine_->find(blamed)) journal_.suspect(*suspect);
  }
  // Jobs on their way to this child, of which it never heard, are not among the casualties.
  for (auto& [run, record] : runs_)
    if (record->worker == worker && (record->state == State::Starting || record->state == State::Admitting))
      record->worker_gone = true;
  scheduler_.remove_worker(worker);
  known_workers_.erase(worker);
  release_inputs(worker);
  pump();
}

void Dispatcher::unhealthy(std::string reason, bool never_ready) {
  if (pool_health_) pool_health_(reason, never_ready);
}

void Dispatcher::healthy() {
  if (pool_health_) pool_health_({}, false);
}

}  // namespace bulkhead
