// Jobs that a child of an earlier supervisor has still: how they come into the core, and how their streams go on.

#include <algorithm>

#include "supervisor/job/dispatch_record.hpp"

namespace bulkhead {

/// Its deadline counts from its first start. Whether it was entered the child will say; where it was not, the deadline
/// begins anew when it is.
void Dispatcher::take_up(Record& record, const Recovered& known, WorkerNumber worker) {
  const Instant now = clock_.now();
  const milliseconds ago(std::max<std::int64_t>(0, now.wall_ms - known.started_ms));
  record.state = State::HandedOut;
  record.run = known.run;
  record.worker = worker;
  record.in_window = true;
  record.from_checkpoint = known.from_checkpoint;
  record.started = {now.mono - ago, known.started_ms};
  record.base = known.first_chunk != 0 ? known.first_chunk - 1 : known.last_chunk;
  record.stored = known.last_chunk;
  record.outcome.worker_id = known.worker_id;
  ++out_;
  Worker& holder = known_workers_[worker];
  holder.id = known.worker_id;
  ++holder.open;
  runs_.emplace(record.run, &record);
  scheduler_.hold(worker);
  begin_watch(record);
  arm_no_sooner(record, options_.connect_time);
  if (record.source)
    record.source->started(record.job, record.outcome.worker_id, record.started.wall_ms, record.attempts);
}

void Dispatcher::resumed(RunNumber run, std::uint32_t chunks, bool entered) {
  Record* record = find(run);
  if (!record) return;
  record->chunks = record->base + chunks;
  if (entered) {
    record->in_window = false;
    begin_watch(*record);
  }
  if (record->state == State::HandedOut) arm_no_sooner(*record, options_.kept_time);
  if (record->state == State::Stopping && record->why == Why::Cancel) workers_->cancel(run, StopReason::Cancel);
}

/// Its deadline counts from its first start, but nothing is late before it could arrive.
void Dispatcher::arm_no_sooner(Record& record, milliseconds than) {
  const auto deadline = std::min(record.expires, record.started.mono + record.job.policy.execution_timeout);
  set_deadline(record, std::max(std::min(deadline, next_look(record)), clock_.now().mono + than));
}

}  // namespace bulkhead
