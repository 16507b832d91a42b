// Children of an earlier supervisor, from their record to the moment in which they are like any other.
//
// - An adopted child is one that has not said hello yet. If it held runs the core takes it for a serving one from the start,
//   so that its death is told like any other; else it becomes a spare when it is ready.
// - Its hello names the runs it holds. Those the core wants go on where they were; one it does not name was never entered,
//   or the child is not to be trusted. What it holds and nobody wants is stopped, which costs a child that runs nothing
//   else.
// - A child that does not connect in time is killed, and its runs are told as those of any child that crashed.
//
// Version 1 of the protocol cannot say where a stream stands: such a child is told to end with its supervisor.

#include <algorithm>
#include <utility>

#include "supervisor/pool/pool.hpp"

namespace bulkhead::pool {
namespace {

constexpr std::uint32_t kSaysWhereStreamsStand = 2;

}  // namespace

// ---- a worker --------------------------------------------------------------------------------------------------------

void Worker::adopt(const ChildRecord& record, process::Child child, const std::vector<Former>& runs) {
  adopted_ = true;
  line_ = site_.link.expect(Token::of(record.token), *this);
  for (const Former& former : runs) {
    Run& run = site_.runs.add(former.run, *this, former.job_id, former.attempt);
    run.handed = former.started;
    open_.push_back(run);
    ++jobs_taken_;
  }
  if (!runs.empty()) {
    known_ = true;
    set_up_at_ = stepped_ = std::chrono::steady_clock::now();
  }
  process_.adopt(record, std::move(child));
  arm(site_.options.adoption_time, &Worker::adoption_overdue);
}

/// Its runs are gone with the supervisor that had them, and not by a crash: it could not be adopted, or it had ended by
/// itself, as a child does for which no supervisor comes.
bool Worker::lost_with_supervisor() const {
  if (!adopted_) return false;
  if (dismissed_) return true;
  if (greeted_ || cause_ != Cause::Itself || !process_.status()) return false;
  return process_.status()->how != process::ExitStatus::How::Killed && !process_.crash();
}

void Worker::adoption_overdue() {
  dismiss("it did not connect to the supervisor that followed the one that had started it");
}

void Worker::welcome(const protocol::Hello& hello, std::uint32_t version) {
  const Options& options = site_.options;
  protocol::Welcome welcome{.version = version,
                            .worker_id = id_,
                            .heartbeat_ms = static_cast<std::uint32_t>(options.heartbeat.count()),
                            .chunk_window = options.chunk_window,
                            .chunk_window_bytes = options.chunk_window_bytes,
                            .max_body = options.limits.max_body,
                            .max_chunk = options.limits.max_chunk,
                            .orphan_buffer = options.orphan_buffer,
                            .max_checkpoint = options.limits.max_checkpoint};
  if (version >= kSaysWhereStreamsStand)
    welcome.orphan_timeout_ms = static_cast<std::uint64_t>(options.orphan_timeout.count());
  if (!adopted_) return send(welcome);
  welcome.seen = resume(hello, version);
  if (!settle_missing_runs(welcome.seen)) return;
  arm(options.setup_timeout, &Worker::setup_timed_out);
  send(welcome);
  for (Run& run : open_)
    if (run.stop) send(protocol::Cancel{.run = run.number, .reason = *run.stop});
}

/// The runs it holds that are wanted.
std::vector<protocol::Acked> Worker::resume(const protocol::Hello& hello, std::uint32_t version) {
  std::vector<protocol::Acked> seen;
  const auto words = process_.last_words();
  bool runs_for_nobody = false;
  for (const protocol::Held& held : hello.held) {
    Run* run = find(held.run);
    const bool same = run && run->job_id == held.job_id && run->attempt == static_cast<int>(held.attempt);
    if (!same || version < kSaysWhereStreamsStand) {
      runs_for_nobody = runs_for_nobody || (held.entered && !(words && words->was_left(held.run)));
      continue;
    }
    run->started = held.entered;
    if (held.entered) run->entered = run->handed;
    run->acknowledged = held.first_kept - 1;
    run->sequence = protocol::Sequence(run->acknowledged);
    seen.push_back({held.run, run->acknowledged});
    site_.listener.resumed(held.run, held.chunks, held.entered);
  }
  if (runs_for_nobody && seen.empty()) dismiss("it ran a job that nobody waits for any more");
  return seen;
}

/// What it does not hold although it had been handed it. False: the child is ended.
bool Worker::settle_missing_runs(const std::vector<protocol::Acked>& seen) {
  const auto words = process_.last_words();
  std::vector<RunNumber> never_came;
  for (Run& run : open_) {
    if (std::any_of(seen.begin(), seen.end(), [&](const protocol::Acked& one) { return one.run == run.number; }))
      continue;
    if (!words || words->was_entered(run.number)) {
      dismiss("it does not know a job any more that it had begun");
      break;
    }
    never_came.push_back(run.number);
  }
  if (state_ >= WorkerState::Ending) return false;
  for (const RunNumber number : never_came) {
    Run& run = *find(number);
    open_.erase(open_.iterator_to(run));
    site_.runs.erase(run);
    site_.listener.handed_back(number, 0);
  }
  return true;
}

// ---- the pool --------------------------------------------------------------------------------------------------------

/// Who of the predecessor's children can be proved to be one, dead or alive. All else with our cookie is ended.
void Pool::find_former_children() {
  if (options_.cookie_prefix.empty()) return;
  auto reports = std::make_shared<process::ReapReports>(process::Descriptor(options_.reap_reports));
  process::Spared spared;
  if (options_.orphan_timeout.count() > 0) {
    for (ChildRecord& record : read_child_records(options_.runtime_dir / "children")) {
      auto adopted = process::adopt(executor_, record.process, reports);
      if (!adopted) continue;
      spared.cookies.insert(record.cookie);
      if (!adopted->gone) spared.processes.insert(record.process.pid);
      former_.push_back(
          {.number = ++last_number_, .record = std::move(record), .process = std::move(*adopted), .runs = {}});
    }
    // A place's newest child stays in it.
    std::sort(former_.begin(), former_.end(),
              [](const FormerChild& a, const FormerChild& b) { return a.record.generation() > b.record.generation(); });
  }
  end_leftovers(spared);
}

std::set<std::string> Pool::kept_scratch() const {
  std::set<std::string> names;
  for (const FormerChild& former : former_) names.insert(former.record.scratch);
  return names;
}

bool Pool::is_kept(const std::filesystem::path& file) const {
  const std::string name = file.stem();  // "w2.7" of "w2.7.box"
  return std::any_of(former_.begin(), former_.end(),
                     [&](const FormerChild& former) { return former.record.id == name; });
}

WorkerNumber Pool::claim(const Recovered& known, const Instant& now) {
  const auto former = std::find_if(former_.begin(), former_.end(), [&](const FormerChild& one) {
    return one.record.id == known.worker_id && known.run >= one.record.first_run;
  });
  if (former == former_.end()) return 0;
  const milliseconds ago(std::max<std::int64_t>(0, now.wall_ms - known.started_ms));
  former->runs.push_back({known.run, known.job.id, known.attempts, now.mono - ago});
  return former->number;
}

void Pool::adopt_former_children() {
  for (FormerChild& former : std::exchange(former_, {})) {
    make_places(former.record.place() + 1);
    Place& place = places_[static_cast<std::size_t>(former.record.place())];
    place.generation = std::max(place.generation, former.record.generation());
    auto worker =
        std::make_unique<Worker>(*site_, former.number, place.index, former.record.id, options_.max_jobs_per_worker);
    Worker& adopted = *worker;
    workers_.emplace(former.number, std::move(worker));
    if (place.worker == nullptr) place.worker = &adopted;
    if (!former.runs.empty()) ++serving_;
    adopted.adopt(former.record, std::move(former.process.child), former.runs);
    const bool wanted = !former.process.gone && former.record.command == digest_of(options_.command) &&
                        place.worker == &adopted && is_wanted(place) && !adopted.has_had_its_jobs();
    if (wanted) continue;
    if (former.runs.empty())
      adopted.dismiss("it is not one of the children that are wanted now");
    else
      adopted.withhold_jobs(), outdated_.insert(former.number);
  }
  deal_out_devices();
}

}  // namespace bulkhead::pool
