// Inputs that crash: which of them may be handed out, and which are refused. What is known of them is in quarantine.hpp.

#include <algorithm>
#include <utility>

#include "supervisor/job/dispatch_record.hpp"

namespace bulkhead {

void Dispatcher::recover_suspects(std::vector<Suspect> suspects) {
  if (quarantine_ && options_.quarantine > 0) quarantine_->recover(std::move(suspects));
}

const std::string& Dispatcher::fingerprint_of(Record& record) {
  if (record.fingerprint.empty()) record.fingerprint = quarantine_->fingerprint(record.job.input);
  return record.fingerprint;
}

bool Dispatcher::quarantined(const Payload& input) {
  if (!quarantine_ || quarantine_->empty() || options_.quarantine == 0) return false;
  const Suspect* suspect = quarantine_->find(quarantine_->fingerprint(input));
  return suspect != nullptr && suspect->crashes >= options_.quarantine;
}

std::size_t Dispatcher::clear_quarantine() {
  journal_.clear_suspects();
  return quarantine_ ? quarantine_->clear() : 0;
}

const Suspect* Dispatcher::suspect_of(Record& record) {
  if (!quarantine_ || quarantine_->empty() || options_.quarantine == 0) return nullptr;
  return quarantine_->find(fingerprint_of(record));
}

/// Runs of this input that children hold.
int Dispatcher::running(const std::string& fingerprint) {
  return static_cast<int>(std::count_if(runs_.begin(), runs_.end(),
                                        [&](const auto& run) { return fingerprint_of(*run.second) == fingerprint; }));
}

/// Whether a job that was about to get a child does not: its input is refused, or runs as often as it may. Then it is
/// looked at again after a while; the longer the queue, the later.
bool Dispatcher::hold_back(Record& record) {
  const Suspect* suspect = suspect_of(record);
  if (!suspect) return false;
  const int left = options_.quarantine - suspect->crashes;
  if (left <= 0) {
    refuse_as_suspect(record, *suspect);
    on(record, Event::StopWanted);
    return true;
  }
  if (running(record.fingerprint) < left) return false;
  record.not_before = clock_.now().mono + milliseconds(50 + scheduler_.queued() / 10);
  enqueue(record, false);
  return true;
}

/// From now on the record is to end as quarantined; what its input did first is its error.
void Dispatcher::refuse_as_suspect(Record& record, const Suspect& suspect) {
  record.why = Why::Quarantined;
  std::string error = R"("{\"error_type\":\"Quarantined\",\"error_message\":\"this input has crashed )" +
                      std::to_string(suspect.crashes) +
                      R"( handler processes and is refused; `bulkhead dead clear` or a new build of the handler )"
                      R"(lifts that\")";
  // The record is an object as the text of a string: without its quotes it fits in here as it is.
  if (const auto crash = suspect.record.bytes(); crash.starts_with("\"{") && crash.ends_with("}\""))
    error.append(R"(,\"first_crash\":)").append(crash.substr(1, crash.size() - 2));
  record.outcome.error = Payload::of(error + "}\"");
}

/// From a child's end to the moment in which it is known how it ended, its stack has to be read: meanwhile copies of what it ran
/// would go on to others, more of them than may.
void Dispatcher::watch_inputs(WorkerNumber worker) {
  if (!quarantine_ || options_.quarantine == 0) return;
  for (auto& [run, record] : runs_) {
    if (record->worker != worker || record->in_window || record->why != Why::None) continue;
    quarantine_->watch(fingerprint_of(*record));
    watched_.emplace_back(worker, record->fingerprint);
  }
}

void Dispatcher::release_inputs(WorkerNumber worker) {
  for (const auto& [whose, fingerprint] : watched_)
    if (whose == worker) quarantine_->release(fingerprint);
  std::erase_if(watched_, [&](const auto& one) { return one.first == worker; });
}

/// Copies of a suspect input that wait in a child's window come back where there are too many. The journal is told by whoever
/// calls, once it knows what became of the job: cut off in between, a crash is not counted, and never counted twice.
void Dispatcher::note_crash(Record& record, const Payload& crash) {
  if (!quarantine_ || options_.quarantine == 0) return;
  const Suspect& suspect = quarantine_->crashed(fingerprint_of(record), crash);
  int left = options_.quarantine - suspect.crashes;
  std::vector<RunNumber> waiting;
  for (auto& [run, other] : runs_) {
    if (other == &record || fingerprint_of(*other) != record.fingerprint) continue;
    if (other->in_window)
      waiting.push_back(run);
    else
      --left;
  }
  for (const RunNumber run : waiting)
    if (--left < 0) workers_->recall(run);
}

}  // namespace bulkhead
