// What the supervisor's core needs from the rest of the house, and what the rest may ask of it. Interfaces live here,
// with their consumer, so that a fake needs only this header. All calls happen on the supervisor's one thread, and
// every callback is called on it later or at once, exactly once, unless its callee is destroyed first.

#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "supervisor/job/job.hpp"

namespace bulkhead {

/// Names one attempt of one job for ever: never used twice within a state directory. On the wire it is
/// protocol::Run.
using RunNumber = std::uint64_t;

/// A child: 1, 2, 3 … in the order the pool started them; never reused within a supervisor's life.
using WorkerNumber = std::uint32_t;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
};

// ---- the journal ---------------------------------------------------------------------------------------------------

/// One line of what the journal knew when it was opened.
struct Recovered {
  Job job;
  int attempts = 0;                ///< counted so far
  RunNumber run = 0;               ///< of the attempt that was under way, 0 if none was
  std::int64_t started_ms = 0;     ///< of that attempt
  std::string worker_id;           ///< of that attempt
  std::optional<Outcome> outcome;  ///< finished, but not settled: deliver it
  bool cancelled = false;          ///< a cancel of that attempt was under way
  bool from_checkpoint = false;    ///< that attempt began with one
  Payload checkpoint;              ///< the newest, or none
  Payload history;                 ///< of the attempts before it (history.hpp)
  std::uint32_t first_chunk = 0;   ///< the lowest number of a chunk of that attempt that is kept; 0: none is
  std::uint32_t last_chunk = 0;    ///< the highest number of a chunk so far; further ones go on from there
  std::uint32_t polled = 0;        ///< chunks up to this one were given to clients that poll
};

/// What `lookup` finds of a job that has left the core.
struct Remembered {
  Job job;
  Outcome outcome;
};

/// A job that used up its attempts by crashing, kept for whoever looks into it.
struct DeadLetter {
  Job job;
  Outcome outcome;
  std::vector<Payload> records;  ///< of its crashes, oldest first: JSON strings, as in `error`
};

/// An input that has crashed children.
struct Suspect {
  std::string fingerprint;  ///< of the input's bytes
  std::string build;        ///< of the handler that it crashed
  int crashes = 0;
  Payload record;  ///< of the first crash
};

/// One piece of a streamed result.
struct StoredChunk {
  std::uint32_t number = 0;
  Payload chunk;
};

/// The durable record. Each write calls back when it is as durable as configured; an error means it is not, and the
/// caller decides. Writes of one job become durable in the order they were made.
class Journal {
 public:
  using Written = std::function<void(std::error_code)>;

  virtual ~Journal() = default;
  /// std::errc::file_exists: the id or the idempotency key belongs to another job.
  virtual void accept(const Job& job, Written written) = 0;
  virtual void start(const Job& job, RunNumber run, int attempt, std::string_view worker_id, std::int64_t started_ms,
                     Written written) = 0;
  /// The run was handed back unentered, or is to be tried again: the job is queued again. `counted`: the attempt
  /// stays counted.
  virtual void requeue(const Job& job, RunNumber run, bool counted) = 0;
  /// Its client was told CANCELLED, and the attempt under way is being stopped: however that ends, this is the outcome.
  virtual void cancelling(const Job&, RunNumber) {}
  /// The attempts of a live job that have ended (history.hpp), in place of what was known of them. `record`: what is to
  /// be kept of the crash of number `attempt`, or none.
  virtual void history(const Job&, const Payload& /*attempts*/, int /*attempt*/, Payload /*record*/, Written written) {
    written({});
  }
  virtual void finish(const Job& job, const Outcome& outcome, Written written) = 0;
  /// The outcome was taken by whoever asked for the job.
  virtual void settle(const Job& job) = 0;
  virtual void chunk(const Job& job, RunNumber run, std::uint32_t number, Payload chunk, Written written) = 0;
  virtual void progress(const Job& job, Payload progress) = 0;
  virtual void checkpoint(const Job& job, RunNumber run, Payload data, Written written) = 0;
  /// Asked in the callback of one of the reads that follow: why it found nothing, if that is because the record could not be
  /// read. Empty: there is nothing.
  virtual std::string_view unreadable() const { return {}; }
  /// A finished job whose retention has not ended.
  virtual void lookup(std::string_view id, std::function<void(std::optional<Remembered>)> found) = 0;
  /// A finished job that is not settled, though its retention may have ended: what is still to be delivered.
  virtual void lookup_unsettled(std::string_view id, std::function<void(std::optional<Remembered>)> found) {
    lookup(id, std::move(found));
  }
  /// The id of the job that was accepted under an idempotency key.
  virtual void lookup_key(std::string_view, std::function<void(std::optional<std::string>)> found) { found({}); }
  /// Chunks of a live or remembered job with numbers from `from` on, in order, as many as fit in `max_bytes` but at
  /// least one if there is one. Sees every chunk that was called back.
  virtual void chunks(std::string_view, std::uint32_t /*from*/, std::size_t /*max_bytes*/,
                      std::function<void(std::vector<StoredChunk>)> found) {
    found({});
  }
  /// The same, from behind `after` and behind what polled() was last told of the job.
  virtual void unread(std::string_view, std::uint32_t /*after*/, std::size_t /*max_bytes*/,
                      std::function<void(std::vector<StoredChunk>)> found) {
    found({});
  }
  /// Chunks up to `number` were given to clients that poll. Nobody waits for it: after a crash it may be missing.
  virtual void polled(std::string_view, std::uint32_t) {}
  /// Dead letters, newest first, without inputs and records. (A finish with Outcome::dead makes one.)
  virtual void dead_letters(std::size_t /*most*/, std::function<void(std::vector<DeadLetter>)> found) { found({}); }
  virtual void dead_letter(std::string_view /*id*/, std::function<void(std::optional<DeadLetter>)> found) { found({}); }
  /// The letter is not wanted any more. Nobody waits for it.
  virtual void drop_dead(std::string_view /*id*/) {}
  /// What is known of a suspect, in place of what was. Nobody waits for it.
  virtual void suspect(const Suspect&) {}
  virtual void clear_suspects() {}
  /// Forgets a job and all that hangs on it.
  virtual void forget(std::string_view id) = 0;
  /// Ends a finished job's retention at `at_ms` (wall time), if that is earlier than it would end.
  virtual void expire(std::string_view, std::int64_t) {}
  /// Calls back when all that was written before is as durable as it will be. While the disk refuses, that is soon.
  virtual void after_writes(std::function<void()> done) { done(); }
  /// Writes waiting to become durable: the caller's sign to slow down.
  virtual std::size_t backlog() const = 0;
};

// ---- the pool ------------------------------------------------------------------------------------------------------

/// What to run where. The strings and payloads are shared, not copied.
struct Assignment {
  WorkerNumber worker = 0;
  RunNumber run = 0;
  const Job* job = nullptr;
  int attempt = 1;
  Payload checkpoint;
};

enum class StopReason : std::uint8_t { Cancel = 1, Timeout = 2, Drain = 3 };

/// The children, as the core commands them. Unknown runs and workers are ignored: they may have ended meanwhile.
class Workers {
 public:
  virtual ~Workers() = default;
  virtual void send(const Assignment& assignment) = 0;
  virtual void cancel(RunNumber run, StopReason reason) = 0;
  virtual void recall(RunNumber run) = 0;
  /// Everything of this run up to `seq` is safe: the child may forget it, and send more.
  virtual void acknowledge(RunNumber run, std::uint32_t seq) = 0;
  /// Steps of the ladder for a child whose run does not stop. Each ends in WorkersListener::died.
  virtual void terminate(WorkerNumber worker) = 0;
  virtual void kill(WorkerNumber worker, std::string reason) = 0;
  /// A clean child in this one's place: it and everything it started is ended.
  virtual void refresh(WorkerNumber worker) = 0;
  /// CPU time that a child and what it started have used; none where that cannot be told.
  virtual std::optional<std::chrono::microseconds> cpu_time(WorkerNumber) { return {}; }
  /// Where all of a child's threads are, and that of a run of its: a crash record, as a JSON string, or none.
  virtual void examine(RunNumber, std::function<void(Payload record)> seen) { seen({}); }
};

inline constexpr std::string_view kWorkerLost = "WorkerLost";

/// What the handler's process was doing with a run when it died.
struct Casualty {
  RunNumber run = 0;
  bool entered = false;    ///< false: a bystander, handed out but never started
  Payload error;           ///< entered: the crash record, a JSON string
  std::string error_type;  ///< kWorkerLost where it went for want of a supervisor, which is no crash of the job's
};

/// One line a child wrote or logged.
struct LogLine {
  RunNumber run = 0;  ///< 0: outside any job
  std::string_view worker_id;
  int level = 2;            ///< 0 trace … 4 error (protocol::Level)
  std::string_view stream;  ///< "stdout", "stderr" or "log"
  std::string_view text;
};

/// The children, as the core hears of them. Implemented by the core. Payloads may be kept.
class WorkersListener {
 public:
  virtual ~WorkersListener() = default;
  /// A child is set up (or changed its mind): it runs up to `concurrency` jobs at once, and may be handed
  /// `window` more than that.
  virtual void ready(WorkerNumber worker, std::string_view worker_id, int concurrency, int window) = 0;
  /// The child takes no further jobs (it is being refreshed, recycled or drained); its runs go on. died() follows.
  virtual void retiring(WorkerNumber worker) = 0;
  virtual void started(RunNumber run) = 0;
  /// A child that was there before this supervisor has it still. `chunks` of the run came and were acknowledged before;
  /// what follows comes behind them, some of it for the second time. `entered`: its handler was called.
  virtual void resumed(RunNumber, std::uint32_t /*chunks*/, bool /*entered*/) {}
  virtual void progress(RunNumber run, Payload value) = 0;
  /// Number `seq` of this run's reliable messages; to be acknowledged when it was taken.
  virtual void chunk(RunNumber run, std::uint32_t seq, Payload value) = 0;
  virtual void checkpoint(RunNumber run, std::uint32_t seq, Payload data) = 0;
  virtual void succeeded(RunNumber run, std::uint32_t seq, Payload output, std::chrono::microseconds run_time,
                         bool refresh) = 0;
  virtual void failed(RunNumber run, std::uint32_t seq, Payload error, Payload output,
                      std::chrono::microseconds run_time, bool refresh) = 0;
  virtual void handed_back(RunNumber run, std::uint32_t seq) = 0;
  virtual void log(const LogLine& line) = 0;
  /// The child is gone and its socket read to the end; every run it still held is named.
  virtual void died(WorkerNumber worker, std::span<const Casualty> casualties) = 0;
  /// Too many set-ups failed in a row. `never_ready`: no child ever became ready.
  virtual void unhealthy(std::string reason, bool never_ready) = 0;
  virtual void healthy() = 0;
};

// ---- where jobs come from ------------------------------------------------------------------------------------------

enum class Refusal : std::uint8_t { None, Full, Duplicate, Draining, StoreUnavailable, NotFailed, Quarantined };

/// The answer to a submission. `refusal == None` means: durable, and it will end exactly once.
struct Accepted {
  Refusal refusal = Refusal::None;
  std::string reason;
  std::string id;  ///< Duplicate: the job that was accepted before under the same idempotency key, if that is why
};

/// The core, as a source speaks to it.
class Intake {
 public:
  virtual ~Intake() = default;
  virtual void submit(Job job, std::function<void(Accepted)> answered) = 0;
  /// False when the job is not known, or is over already; otherwise it will be reported with Status::Cancelled.
  virtual bool cancel(std::string_view id) = 0;
  /// Cancels all queued jobs; returns their ids.
  virtual std::vector<std::string> purge() = 0;
  /// Whether a job with this input would be refused at once.
  virtual bool quarantined(const Payload&) { return false; }
  /// Suspects are none any more; how many there were.
  virtual std::size_t clear_quarantine() { return 0; }
};

/// Where jobs come from and results go back to. Implemented per source; called by the core.
class Source {
 public:
  virtual ~Source() = default;
  /// So many further jobs could start at once now. Called when the number changes.
  virtual void room(int jobs) = 0;
  virtual void started(const Job& job, std::string_view worker_id, std::int64_t started_ms, int attempt) = 0;
  /// The attempt was lost; the job waits for its next. `history`: of its attempts (history.hpp).
  virtual void requeued(const Job& job, const Payload& history) = 0;
  virtual void progress(const Job& job, Payload value) = 0;
  /// `taken` is called when another chunk may come: the source's way to slow a handler down. After a restart a chunk may
  /// come again under its number.
  virtual void chunk(const Job& job, std::uint32_t number, Payload value, std::function<void()> taken) = 0;
  /// The end. `settled` is called when whoever asked has it (or never will).
  virtual void report(const Job& job, const Outcome& outcome, std::function<void()> settled) = 0;
  virtual void log(const Job& job, const LogLine& line) = 0;
};

// ---- the endpoint, as HTTP asks it ---------------------------------------------------------------------------------

/// What clients see of one job.
struct JobView {
  std::string_view id;
  Status status = Status::InQueue;
  std::int64_t submitted_ms = 0;
  std::int64_t started_ms = 0;   ///< 0: not yet
  std::int64_t finished_ms = 0;  ///< 0: not yet
  std::int64_t execution_ms = 0;
  std::string_view worker_id;
  int attempts = 0;
  Payload output;  ///< final output, or the latest progress while it runs
  Payload error;
  Payload history;  ///< of its attempts (history.hpp)
};

/// RunPod's /health.
struct HealthView {
  struct {
    std::int64_t completed = 0, failed = 0, in_progress = 0, in_queue = 0, retried = 0;
  } jobs;
  struct {
    int idle = 0, initializing = 0, ready = 0, running = 0, throttled = 0, unhealthy = 0;
  } workers;
};

/// The queue on this machine, as the HTTP routes use it. Implemented by source/.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual void submit(Job job, std::function<void(Accepted)> answered) = 0;
  /// Calls back with the job's view now, or nullptr when it is unknown. The view is valid during the call only
  /// (its payloads may be kept). May look into the journal first.
  using Seen = std::function<void(const JobView*)>;
  virtual void status(std::string_view id, Seen seen) = 0;
  /// Like status, but waits up to `wait` for a final state. The returned number may be given to `stop_waiting`.
  virtual std::uint64_t wait(std::string_view id, milliseconds wait, Seen seen) = 0;
  /// The caller has gone away: its callback will not be called.
  virtual void stop_waiting(std::uint64_t waiter) = 0;
  /// Unread chunks (each given once), with the job's view. Where there are none yet and the job is not final, waits up
  /// to `wait` for one. The returned number may be given to `stop_waiting`.
  using Unread = std::function<void(const JobView*, std::vector<Payload>)>;
  virtual std::uint64_t stream(std::string_view id, milliseconds wait, Unread seen) = 0;
  enum class CancelResult : std::uint8_t { Unknown, AlreadyFinal, Cancelled };
  virtual CancelResult cancel(std::string_view id) = 0;
  virtual std::size_t purge() = 0;
  /// Calls back when what was asked for before (a cancel, a purge) would be known after a crash, too.
  virtual void when_durable(std::function<void()> done) { done(); }
  virtual HealthView health() const = 0;

  /// How far somebody has followed a job: chunks up to `chunk`, and all else up to `change` (opaque; 0: nothing).
  struct Position {
    std::uint32_t chunk = 0;
    std::uint64_t change = 0;
  };
  struct News {
    std::vector<Payload> chunks;  ///< the last one has number `position.chunk`
    Position position;            ///< to ask with next
  };
  /// Follows a job: calls back once, as soon as there is something its caller does not know (a chunk beyond
  /// `known.chunk`, another state, another progress value), and at once when the job is final or unknown. A final view
  /// without chunks is the end. May give a part of the chunks at a time. Takes no chunk away from `stream`, but counts
  /// as a reader of those up to `known.chunk`. The returned number may be given to `stop_waiting`.
  virtual std::uint64_t follow(std::string_view id, Position known, std::function<void(const JobView*, News)> seen) {
    status(id, [known, seen = std::move(seen)](const JobView* view) { seen(view, {{}, known}); });
    return 0;
  }
  /// The chunks above `after`, as follow gives them; where there are none and the job is not final, waits up to `wait` for
  /// one, and for nothing else.
  virtual std::uint64_t stream_after(std::string_view id, std::uint32_t after, milliseconds,
                                     std::function<void(const JobView*, News)> seen) {
    return follow(id, {after, 0}, std::move(seen));
  }
  /// Runs a job that ended FAILED or TIMED_OUT once more: same id and input, its old result gone. None when it is
  /// unknown; Refusal::NotFailed when it is in any other state.
  virtual void retry(std::string_view, std::function<void(std::optional<Accepted>)> answered) { answered({}); }
  /// Keeps a job's result for at most `ttl` from its end on, or from now if it has ended. Never for longer than before.
  virtual void shorten(std::string_view, milliseconds) {}
  /// Dead letters, newest first, without inputs and records; and one of them with everything.
  virtual void dead_letters(std::size_t /*most*/, std::function<void(std::span<const DeadLetter>)> seen) { seen({}); }
  virtual void dead_letter(std::string_view, std::function<void(const DeadLetter*)> seen) { seen(nullptr); }
  /// Runs a dead letter's job once more under its id; the letter goes when that was accepted. None when it is unknown.
  virtual void retry_dead(std::string_view, std::function<void(std::optional<Accepted>)> answered) { answered({}); }
  /// False when it is unknown.
  virtual void drop_dead(std::string_view, std::function<void(bool)> dropped) { dropped(false); }
  virtual std::size_t clear_quarantine() { return 0; }
  /// Up to `most` jobs that wait or run, in the order they came. The views are valid during the call only.
  virtual void list(std::size_t, std::function<void(std::span<const JobView>)> seen) const { seen({}); }
};

}  // namespace bulkhead
