// The loop's side of the journal on the disk. It knows each live job's key and run, so that a write is a few numbers and
// shared payloads in a queue, and so that what makes no sense (a start after the end, a chunk of a lost run) is refused
// before it is written. It owns the state directory, the reader and the writer; nothing else in the process may open the
// journal's files (closing any descriptor of them would drop SQLite's locks).
//
// Shutdown: the writer writes what is queued and ends, the reader ends, the directory is let go. No callback runs.

#include "supervisor/journal/sqlite_journal.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "supervisor/journal/error.hpp"
#include "supervisor/journal/schema.hpp"

namespace bulkhead::journal {
namespace {

constexpr const char* kFile = "journal.db";
/// SQLite's own limit for a row is 1,000,000,000 bytes.
constexpr std::size_t kMaxPayload = std::size_t{512} << 20;
/// The input of a completed job is given up when it is larger than this: what stands in the row itself costs more to
/// remove than to keep.
constexpr std::size_t kSmallInput = 4096;

std::int64_t system_ms() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<milliseconds>(now).count();
}

/// A connection as all of ours are; the first one also makes the file what it is.
Connection connect(const std::filesystem::path& path, const Options& options) {
  Connection connection(path.string(), options.vfs);
  sqlite3_db_config(connection.raw(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  connection.execute("PRAGMA auto_vacuum = INCREMENTAL");  // heard only before there is a table
  if (connection.text("PRAGMA journal_mode = WAL") != "wal") {
    throw std::system_error(std::make_error_code(std::errc::not_supported),
                            path.string() + ": this file system has no shared memory for a write-ahead log");
  }
  connection.execute(options.durability == Durability::Full ? "PRAGMA synchronous = FULL"
                                                            : "PRAGMA synchronous = NORMAL");
  connection.execute("PRAGMA wal_autocheckpoint = 0");         // the checkpointer's work
  connection.execute("PRAGMA journal_size_limit = 67108864");  // of a log that has grown beyond all measure
  connection.execute("PRAGMA secure_delete = ON");             // clients' storage keys are erased, not only unlinked
  connection.execute("PRAGMA cache_size = -16384");            // at most 16 MiB
  connection.execute("PRAGMA cache_spill = 5376");             // 21 MiB: a result of the usual limit is logged once
  connection.execute("PRAGMA temp_store = MEMORY");
  return connection;
}

}  // namespace

SqliteJournal::SqliteJournal(Options options, std::function<void()> wake)
    : options_(std::move(options)), wake_(std::move(wake)), directory_(options_.directory) {
  if (!options_.wall_ms) options_.wall_ms = system_ms;
  open_file();
}

void SqliteJournal::open_file() {
  std::filesystem::path path = directory_.path() / kFile;
  directory_.ensure_file(kFile);
  Connection connection = connect(path, options_);
  migrate(connection, schema_steps(), path.string(), [&](int version) { back_up(connection, directory_, version); });

  std::vector<OpenJob> open = read_open_jobs(connection);
  live_.reserve(open.size());
  recovered_.reserve(open.size());
  for (OpenJob& job : open) {
    Live& live = live_[job.recovered.job.id];
    live.key = job.key;
    live.run = job.recovered.run;
    live.attached = kExtra | kChunks | kCheckpoint | kProgress;
    if (const auto& outcome = job.recovered.outcome) {
      live.finished = true;
      live.expires_ms = job.expires_ms;
      live.drop_input = outcome->status == Status::Completed && job.recovered.job.input.size() > kSmallInput;
    }
    recovered_.push_back(std::move(job.recovered));
  }
  suspects_ = read_suspects(connection);
  next_key_ =
      connection.number("SELECT max(ifnull((SELECT max(key) FROM jobs), 0), ifnull((SELECT max(key) FROM dead), 0))") +
      1;

  // Run numbers are put on record before they are used, and on the disk whatever the durability: a child that outlived
  // a supervisor must never meet its own number again.
  next_run_ = static_cast<RunNumber>(connection.number("SELECT value FROM meta WHERE name = 'next_run'"));
  RunNumber reserved = next_run_ + kRunBlock;
  connection.execute("PRAGMA synchronous = FULL");
  connection.execute(("UPDATE meta SET value = " + std::to_string(reserved) + " WHERE name = 'next_run'").c_str());
  if (options_.durability != Durability::Full) connection.execute("PRAGMA synchronous = NORMAL");

  Writer::Settings settings;
  settings.relaxed = options_.durability != Durability::Full;
  settings.max_bytes = options_.max_bytes;
  settings.log_pages = options_.log_pages;
  settings.reserved = reserved;
  settings.wall_ms = options_.wall_ms;
  settings.letters.number = static_cast<std::int64_t>(options_.dead_max);
  settings.letters.age_ms = options_.dead_ttl.count();
  reader_.emplace(connect(path, options_), [this] { notify(); });
  writer_.emplace(std::move(connection), connect(path, options_), std::move(settings), [this] { notify(); });
}

Figures SqliteJournal::figures() const {
  Figures figures{.kept = true, .commits = writer_->commit_times()};
  for (const char* end : {"", "-wal"}) {
    std::error_code gone;
    const auto size = std::filesystem::file_size(directory_.path() / (std::string(kFile) + end), gone);
    if (!gone) figures.bytes += size;
  }
  return figures;
}

// ---- writes --------------------------------------------------------------------------------------------------------

SqliteJournal::Live* SqliteJournal::live(const Job& job) {
  auto found = live_.find(job.id);
  return found != live_.end() ? &found->second : nullptr;
}

std::error_code SqliteJournal::refusal(const Live* live, RunNumber run) const {
  if (live == nullptr) return Fault::UnknownJob;
  if (live->finished || live->run != run) return Fault::Stale;
  return {};
}

void SqliteJournal::push(Operation operation, std::size_t bytes) {
  ++backlog_;
  backlog_bytes_ += bytes;
  writer_->push(std::move(operation), bytes);
}

void SqliteJournal::accept(const Job& job, Written written) {
  if (job.input.size() > kMaxPayload || job.extra.size() > kMaxPayload) return written(Fault::TooLarge);
  if (backlog_ >= options_.max_backlog || backlog_bytes_ >= options_.max_backlog_bytes)
    return written(Fault::QueueFull);
  auto [place, fresh] = live_.try_emplace(job.id);
  if (!fresh) return written(Fault::Duplicate);
  place->second.key = next_key_++;
  if (!job.extra.empty()) place->second.attached = kExtra;

  Operation operation;
  operation.kind = Operation::Kind::Accept;
  operation.key = place->second.key;
  operation.body = job;
  operation.written = std::move(written);
  push(std::move(operation), job.input.size() + job.extra.size());
}

void SqliteJournal::start(const Job& job, RunNumber run, int attempt, std::string_view worker_id,
                          std::int64_t started_ms, Written written) {
  Live* job_live = live(job);
  if (job_live == nullptr) return written(Fault::UnknownJob);
  if (job_live->finished) return written(Fault::Stale);
  job_live->run = run;

  Operation operation;
  operation.kind = Operation::Kind::Start;
  operation.attached = job_live->attached;
  operation.number = static_cast<std::uint32_t>(attempt);
  operation.key = job_live->key;
  operation.run = run;
  operation.time_ms = started_ms;
  operation.text = worker_id;
  operation.written = std::move(written);
  push(std::move(operation), 0);
}

void SqliteJournal::requeue(const Job& job, RunNumber run, bool counted) {
  Live* job_live = live(job);
  if (refusal(job_live, run)) return;
  job_live->run = 0;

  Operation operation;
  operation.kind = Operation::Kind::Requeue;
  operation.number = counted ? 1 : 0;
  operation.key = job_live->key;
  operation.run = run;
  push(std::move(operation), 0);
}

void SqliteJournal::cancelling(const Job& job, RunNumber run) {
  Live* job_live = live(job);
  if (refusal(job_live, run)) return;

  Operation operation;
  operation.kind = Operation::Kind::Cancelling;
  operation.key = job_live->key;
  operation.run = run;
  push(std::move(operation), 0);
}

void SqliteJournal::history(const Job& job, const Payload& attempts, int attempt, Payload record, Written written) {
  Live* job_live = live(job);
  if (job_live == nullptr) return written(Fault::UnknownJob);
  if (job_live->finished) return written(Fault::Stale);

  const std::size_t bytes = attempts.size() + record.size();
  Operation operation;
  operation.kind = Operation::Kind::History;
  operation.number = static_cast<std::uint32_t>(attempt);
  operation.key = job_live->key;
  operation.body = attempts;
  operation.record = std::move(record);
  operation.written = std::move(written);
  push(std::move(operation), bytes);
}

void SqliteJournal::finish(const Job& job, const Outcome& outcome, Written written) {
  Live* job_live = live(job);
  if (job_live == nullptr) return written(Fault::UnknownJob);
  if (outcome.output.size() + outcome.error.size() > kMaxPayload) return written(Fault::TooLarge);

  Operation operation;
  operation.written = std::move(written);
  if (job_live->finished) return push(std::move(operation), 0);  // an Echo: as safe as the first once it is back
  job_live->finished = true;
  job_live->run = 0;
  job_live->drop_input = outcome.status == Status::Completed && job.input.size() > kSmallInput;
  std::int64_t finished_ms = outcome.finished_ms != 0 ? outcome.finished_ms : options_.wall_ms();
  job_live->expires_ms = finished_ms + (job.sync ? options_.sync_retention : options_.retention).count();

  operation.kind = Operation::Kind::Finish;
  operation.attached = job_live->attached;
  operation.key = job_live->key;
  operation.time_ms = job_live->expires_ms;
  operation.text = job.id;
  operation.body = outcome;
  push(std::move(operation), outcome.output.size() + outcome.error.size());
}

void SqliteJournal::settle(const Job& job) {
  auto place = live_.find(job.id);
  if (place == live_.end() || !place->second.finished) return;
  Operation operation;
  operation.kind = Operation::Kind::Settle;
  operation.number = place->second.drop_input ? 1 : 0;
  operation.key = place->second.key;
  operation.time_ms = place->second.expires_ms;
  live_.erase(place);
  push(std::move(operation), 0);
}

void SqliteJournal::chunk(const Job& job, RunNumber run, std::uint32_t number, Payload chunk, Written written) {
  Live* job_live = live(job);
  if (std::error_code error = refusal(job_live, run)) return written(error);
  if (number > kMaxChunks) return written(Fault::OutOfRange);
  if (chunk.size() > kMaxPayload) return written(Fault::TooLarge);
  job_live->attached |= kChunks;

  std::size_t bytes = chunk.size();
  Operation operation;
  operation.kind = Operation::Kind::Chunk;
  operation.number = number;
  operation.key = job_live->key;
  operation.body = std::move(chunk);
  operation.written = std::move(written);
  push(std::move(operation), bytes);
}

void SqliteJournal::progress(const Job& job, Payload progress) {
  Live* job_live = live(job);
  if (job_live == nullptr || job_live->finished || progress.size() > kMaxPayload) return;
  job_live->attached |= kProgress;

  std::size_t bytes = progress.size();
  Operation operation;
  operation.kind = Operation::Kind::Progress;
  operation.key = job_live->key;
  operation.body = std::move(progress);
  push(std::move(operation), bytes);
}

void SqliteJournal::checkpoint(const Job& job, RunNumber run, Payload data, Written written) {
  Live* job_live = live(job);
  if (std::error_code error = refusal(job_live, run)) return written(error);
  if (data.size() > kMaxPayload) return written(Fault::TooLarge);
  job_live->attached |= kCheckpoint;

  std::size_t bytes = data.size();
  Operation operation;
  operation.kind = Operation::Kind::Checkpoint;
  operation.key = job_live->key;
  operation.body = std::move(data);
  operation.written = std::move(written);
  push(std::move(operation), bytes);
}

void SqliteJournal::after_writes(std::function<void()> done) {
  Operation operation;  // an Echo
  operation.written = [done = std::move(done)](std::error_code) { done(); };
  push(std::move(operation), 0);
}

void SqliteJournal::polled(std::string_view id, std::uint32_t number) {
  Operation operation;
  operation.kind = Operation::Kind::Polled;
  operation.number = number;
  operation.text = id;
  push(std::move(operation), 0);
}

void SqliteJournal::drop_dead(std::string_view id) {
  Operation operation;
  operation.kind = Operation::Kind::DropDead;
  operation.text = id;
  dropped_.insert(operation.text);
  push(std::move(operation), 0);
}

void SqliteJournal::suspect(const Suspect& suspect) {
  Operation operation;
  operation.kind = Operation::Kind::Suspicion;
  operation.body = suspect;
  push(std::move(operation), suspect.record.size());
}

void SqliteJournal::clear_suspects() {
  Operation operation;
  operation.kind = Operation::Kind::ClearSuspects;
  push(std::move(operation), 0);
}

void SqliteJournal::forget(std::string_view id) {
  if (auto place = live_.find(id); place != live_.end()) live_.erase(place);
  if (auto place = unsaved_.find(id); place != unsaved_.end()) unsaved_.erase(place);
  Operation operation;
  operation.kind = Operation::Kind::Forget;
  operation.text = id;
  push(std::move(operation), 0);
}

void SqliteJournal::expire(std::string_view id, std::int64_t at_ms) {
  if (auto place = unsaved_.find(id); place != unsaved_.end()) {
    place->second.expires_ms = std::min(place->second.expires_ms, at_ms);
  }
  Operation operation;
  operation.kind = Operation::Kind::Expire;
  operation.text = id;
  operation.time_ms = at_ms;
  push(std::move(operation), 0);
}

// ---- reads ---------------------------------------------------------------------------------------------------------

void SqliteJournal::lookup(std::string_view id, std::function<void(std::optional<Remembered>)> callback) {
  look_up(id, options_.wall_ms(), std::move(callback));
}

void SqliteJournal::lookup_unsettled(std::string_view id, std::function<void(std::optional<Remembered>)> callback) {
  auto place = live_.find(id);
  if (place == live_.end() || !place->second.finished) return callback(std::nullopt);
  look_up(id, 0, std::move(callback));
}

/// What has not expired at `now_ms`.
void SqliteJournal::look_up(std::string_view id, std::int64_t now_ms,
                            std::function<void(std::optional<Remembered>)> callback) {
  Reader::Query query;
  query.id = id;
  query.now_ms = now_ms;
  // Taken now: by the time of the answer the disk may have it, but the reader may have looked before that.
  std::optional<Unsaved> unsaved;
  if (auto place = unsaved_.find(id); place != unsaved_.end()) unsaved = place->second;
  query.answered = [callback = std::move(callback), unsaved = std::move(unsaved)](Reader::Query& answered) {
    callback(remembered(answered, unsaved));
  };
  reader_->ask(std::move(query));
}

std::optional<Remembered> SqliteJournal::remembered(Reader::Query& query, const std::optional<Unsaved>& unsaved) {
  std::optional<Remembered> result;
  if (unsaved) {
    if (unsaved->expires_ms <= query.now_ms) return result;
    result.emplace();
    result->outcome = unsaved->outcome;
    // The job itself was written when it was accepted; a disk that does not even read leaves its name.
    if (query.found) result->job = std::move(query.found->job);
    result->job.id = query.id;
  } else if (query.found && query.found->outcome && query.found->expires_ms > query.now_ms) {
    result.emplace(Remembered{std::move(query.found->job), std::move(*query.found->outcome)});
  }
  if (result && result->outcome.status == Status::Completed) result->job.input = {};
  return result;
}

void SqliteJournal::chunks(std::string_view id, std::uint32_t from, std::size_t max_bytes,
                           std::function<void(std::vector<StoredChunk>)> callback) {
  ask_chunks(Reader::Query::Kind::Chunks, id, from, max_bytes, std::move(callback));
}

void SqliteJournal::unread(std::string_view id, std::uint32_t after, std::size_t max_bytes,
                           std::function<void(std::vector<StoredChunk>)> callback) {
  ask_chunks(Reader::Query::Kind::Unread, id, after + 1, max_bytes, std::move(callback));
}

void SqliteJournal::ask_chunks(Reader::Query::Kind kind, std::string_view id, std::uint32_t from, std::size_t max_bytes,
                               std::function<void(std::vector<StoredChunk>)> callback) {
  Reader::Query query;
  query.kind = kind;
  query.id = id;
  query.now_ms = options_.wall_ms();
  query.from = from;
  query.max_bytes = max_bytes;
  query.answered = [callback = std::move(callback)](Reader::Query& answered) { callback(std::move(answered.chunks)); };
  reader_->ask(std::move(query));
}

void SqliteJournal::lookup_key(std::string_view key, std::function<void(std::optional<std::string>)> callback) {
  Reader::Query query;
  query.kind = Reader::Query::Kind::IdempotencyKey;
  query.id = key;
  query.now_ms = options_.wall_ms();
  query.answered = [callback = std::move(callback)](Reader::Query& answered) {
    callback(std::move(answered.found_id));
  };
  reader_->ask(std::move(query));
}

void SqliteJournal::dead_letters(std::size_t most, std::function<void(std::vector<DeadLetter>)> callback) {
  Reader::Query query;
  query.kind = Reader::Query::Kind::DeadLetters;
  query.max_bytes = most;
  query.answered = [dropped = dropped_, callback = std::move(callback)](Reader::Query& answered) {
    std::erase_if(answered.letters, [&](const DeadLetter& letter) { return dropped.contains(letter.job.id); });
    callback(std::move(answered.letters));
  };
  reader_->ask(std::move(query));
}

void SqliteJournal::dead_letter(std::string_view id, std::function<void(std::optional<DeadLetter>)> callback) {
  if (dropped_.contains(id)) return callback(std::nullopt);
  Reader::Query query;
  query.kind = Reader::Query::Kind::DeadLetter;
  query.id = id;
  query.answered = [callback = std::move(callback)](Reader::Query& answered) {
    if (answered.letters.empty()) return callback(std::nullopt);
    callback(std::move(answered.letters.front()));
  };
  reader_->ask(std::move(query));
}

void SqliteJournal::jobs(JobsQuery wanted, std::function<void(JobsPage)> callback) {
  Reader::Query query;
  query.kind = Reader::Query::Kind::Listing;
  query.now_ms = options_.wall_ms();
  query.wanted = std::move(wanted);
  query.answered = [callback = std::move(callback)](Reader::Query& answered) { callback(std::move(answered.page)); };
  reader_->ask(std::move(query));
}

void SqliteJournal::record(std::string_view id, std::size_t most,
                           std::function<void(std::optional<JobRecord>)> callback) {
  Reader::Query query;
  query.kind = Reader::Query::Kind::Record;
  query.id = id;
  query.now_ms = options_.wall_ms();
  query.max_bytes = most;
  query.answered = [callback = std::move(callback)](Reader::Query& answered) { callback(std::move(answered.record)); };
  reader_->ask(std::move(query));
}

std::vector<Recovered> SqliteJournal::recover() { return std::exchange(recovered_, {}); }

// ---- completions ---------------------------------------------------------------------------------------------------

void SqliteJournal::notify() {
  if (!woken_.exchange(true)) wake_();
}

std::size_t SqliteJournal::poll() {
  woken_.store(false);
  std::vector<Batch> done;
  writer_->collect(done, health_);
  std::size_t count = 0;
  for (Batch& batch : done) {
    for (Operation& operation : batch.operations) complete(operation, batch.kept);
    count += batch.operations.size();
    backlog_bytes_ -= batch.bytes;
    writer_->recycle(std::move(batch));
  }
  for (Reader::Query& query : reader_->collect()) {
    if (query.error) {
      health_.error = query.error;
      health_.text = "the journal cannot be read: " + query.error_text;
      unreadable_ = health_.text;
    }
    query.answered(query);
    unreadable_.clear();
    ++count;
  }
  return count;
}

void SqliteJournal::complete(Operation& operation, bool kept) {
  if (kept) {
    --health_.unsaved;
    if (operation.kind == Operation::Kind::Finish) {
      auto place = unsaved_.find(operation.text);
      if (place != unsaved_.end() && place->second.key == operation.key) unsaved_.erase(place);
    }
  } else if (operation.error) {
    // The disk's refusal, not the journal's own, leaves what must not be lost with the writer.
    bool unsaved = is_kept(operation.kind) && operation.error.category() == sqlite_category();
    if (unsaved) ++health_.unsaved;
    if (unsaved && operation.kind == Operation::Kind::Finish) {
      unsaved_.insert_or_assign(operation.text,
                                Unsaved{operation.key, std::get<Outcome>(operation.body), operation.time_ms});
    } else if (operation.kind == Operation::Kind::Accept) {
      auto place = live_.find(std::get<Job>(operation.body).id);
      if (place != live_.end() && place->second.key == operation.key) live_.erase(place);
    }
  }
  if (operation.kind == Operation::Kind::DropDead && (kept || !operation.error)) {
    if (auto place = dropped_.find(operation.text); place != dropped_.end()) dropped_.erase(place);
  }
  if (!kept) --backlog_;
  if (operation.written) operation.written(operation.error);
}

}  // namespace bulkhead::journal
