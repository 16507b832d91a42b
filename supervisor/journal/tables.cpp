// What keeps the invariants of docs/JOURNAL.md, operation by operation:
//
//  - `jobs` has a row from acceptance until the job is forgotten, `open` from acceptance until it is settled, and
//    `outcomes` from its end until it is forgotten. A job is recovered if and only if it is in `open`; it is delivered
//    again instead of run again if and only if it is in `outcomes` too.
//  - An outcome is inserted once and never changed: INSERT OR IGNORE makes the first one count.
//  - Every operation may be repeated without harm: a replay finds its row, or misses it, and does nothing.
//  - The big columns stand last in their rows, and rows that change (`open`) hold nothing big: SQLite rewrites a row as
//    a whole. Keys grow, so that new rows go to the right edge of each tree and touch few pages.

#include "supervisor/journal/tables.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <string>
#include <utility>

#include "supervisor/journal/error.hpp"

namespace bulkhead::journal {
namespace {

constexpr std::int64_t kSync = 1, kLowPriority = 2;  // jobs.flags
constexpr std::int64_t kRefreshWorker = 1;           // outcomes.flags
/// Rows of `chunks` removed at once, so that the end of a very long stream stalls nobody.
constexpr int kChunksPerSweep = 2'000;

std::int64_t slot(JobKey key, std::uint32_t number) { return key * (std::int64_t{kMaxChunks} + 1) + number; }

/// Numbers of chunks begin with 1; in the slot of number 0 stands up to which one clients that poll were given them.
std::string polled_text(std::uint32_t number) { return std::to_string(number); }
std::uint32_t read_polled(std::string_view text) {
  std::uint32_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// From here on a payload is written into its row's place, not bound: SQLite would copy it once more to build the row.
constexpr std::size_t kLarge = std::size_t{1} << 20;
bool is_large(const Payload& payload) { return payload.size() >= kLarge; }

Statement& bind_payload(Statement& statement, int index, const Payload& payload) {
  return is_large(payload) ? statement.bind_room(index, payload.size()) : statement.bind_blob(index, payload.bytes());
}

const std::string kJobColumns =
    "j.id, j.submitted_ms, j.execution_timeout_ms, j.ttl_ms, j.flags, j.max_attempts, j.webhook, "
    "j.idempotency_key, p.retry_on, p.retry_min_ms, p.retry_max_ms, p.stall_timeout_ms, j.input";
constexpr int kJobWidth = 13;
/// What the columns are of; a policy has a row only where it differs from the usual one.
const std::string kPolicyTable = "LEFT JOIN policies p ON p.key = j.key ";
bool is_usual(const Policy& policy) {
  const Policy usual;
  return policy.retry_on == usual.retry_on && policy.retry_backoff_min == usual.retry_backoff_min &&
         policy.retry_backoff_max == usual.retry_backoff_max && policy.stall_timeout == usual.stall_timeout;
}

Job read_job(const Statement& row, int column) {
  Job job;
  job.id = row.bytes(column);
  job.submitted_ms = row.number(column + 1);
  job.policy.execution_timeout = milliseconds(row.number(column + 2));
  job.policy.ttl = milliseconds(row.number(column + 3));
  job.policy.low_priority = (row.number(column + 4) & kLowPriority) != 0;
  job.sync = (row.number(column + 4) & kSync) != 0;
  job.policy.max_attempts = static_cast<int>(row.number(column + 5));
  job.webhook = row.bytes(column + 6);
  job.idempotency_key = row.bytes(column + 7);
  if (!row.is_null(column + 8)) {
    job.policy.retry_on = static_cast<std::uint8_t>(row.number(column + 8));
    job.policy.retry_backoff_min = milliseconds(row.number(column + 9));
    job.policy.retry_backoff_max = milliseconds(row.number(column + 10));
    job.policy.stall_timeout = milliseconds(row.number(column + 11));
  }
  job.input = payload(row.bytes(column + 12));
  return job;
}

const std::string kOutcomeColumns =
    "r.status, r.flags, r.error_type, r.worker_id, r.attempts, r.started_ms, r.finished_ms, r.execution_ms, "
    "r.expires_ms, h.history, r.error, r.output";
constexpr int kOutcomeWidth = 12;
const std::string kOutcomeTables = "LEFT JOIN outcomes r ON r.key = j.key LEFT JOIN histories h ON h.key = j.key ";
constexpr int kExpiresColumn = 8;  // counted from the first
constexpr int kHistoryColumn = 9;

std::optional<Outcome> read_outcome(const Statement& row, int column) {
  if (row.is_null(column)) return std::nullopt;
  Outcome outcome;
  outcome.status = static_cast<Status>(row.number(column));
  outcome.refresh_worker = (row.number(column + 1) & kRefreshWorker) != 0;
  outcome.error_type = row.bytes(column + 2);
  outcome.worker_id = row.bytes(column + 3);
  outcome.attempts = static_cast<int>(row.number(column + 4));
  outcome.started_ms = row.number(column + 5);
  outcome.finished_ms = row.number(column + 6);
  outcome.execution_ms = row.number(column + 7);
  outcome.history = payload(row.bytes(column + 9));
  outcome.error = payload(row.bytes(column + 10));
  outcome.output = payload(row.bytes(column + 11));
  return outcome;
}

}  // namespace

Tables::Tables(Connection& c, const LetterLimits& letters)
    : connection_(c),
      letters_(c, letters),
      insert_job_(
          c,
          "INSERT INTO jobs (key, id, submitted_ms, execution_timeout_ms, ttl_ms, flags, max_attempts, webhook, "
          "idempotency_key, input) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
      insert_open_(c, "INSERT INTO open (key) VALUES (?1)"),
      insert_extra_(c, "INSERT INTO extras (key, extra) VALUES (?1, ?2)"),
      insert_outcome_(
          c,
          "INSERT OR IGNORE INTO outcomes (key, status, flags, error_type, worker_id, attempts, started_ms, "
          "finished_ms, execution_ms, expires_ms, error, output) "
          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"),
      insert_chunk_(c, "INSERT OR IGNORE INTO chunks (slot, chunk) VALUES (?1, ?2)"),
      put_polled_(c, "INSERT OR REPLACE INTO chunks (slot, chunk) VALUES (?1, ?2)"),
      keep_last_(c,
                 "INSERT OR REPLACE INTO chunks (slot, chunk) "
                 "SELECT ?1, CAST(CAST(max(slot) - ?1 AS TEXT) AS BLOB) FROM chunks "
                 "WHERE slot BETWEEN ?1 + 1 AND ?2 HAVING max(slot) IS NOT NULL"),
      put_progress_(c, "INSERT OR REPLACE INTO progress (key, value) VALUES (?1, ?2)"),
      put_checkpoint_(c, "INSERT OR REPLACE INTO checkpoints (key, data) VALUES (?1, ?2)"),
      insert_policy_(c,
                     "INSERT INTO policies (key, retry_on, retry_min_ms, retry_max_ms, stall_timeout_ms) "
                     "VALUES (?1, ?2, ?3, ?4, ?5)"),
      put_history_(c, "INSERT OR REPLACE INTO histories (key, history) VALUES (?1, ?2)"),
      start_(c,
             "UPDATE open SET attempts = ?2, run = ?3, worker_id = ?4, started_ms = ?5, "
             "from_checkpoint = ?6 AND EXISTS (SELECT 1 FROM checkpoints WHERE key = ?1) WHERE key = ?1"),
      requeue_(c,
               "UPDATE open SET attempts = attempts - ?3, run = 0, worker_id = '', started_ms = 0 "
               "WHERE key = ?1 AND run = ?2"),
      cancelling_(c, "UPDATE open SET cancelled = 1 WHERE key = ?1 AND run = ?2"),
      settle_(c, "DELETE FROM open WHERE key = ?1 AND EXISTS (SELECT 1 FROM outcomes WHERE key = ?1)"),
      drop_input_(c, "UPDATE jobs SET input = NULL WHERE key = ?1"),
      is_open_(c, "SELECT 1 FROM open WHERE key = ?1"),
      expire_(c,
              "UPDATE outcomes SET expires_ms = min(expires_ms, ?2) WHERE key = (SELECT key FROM jobs WHERE id = ?1)"),
      reserve_(c, "UPDATE meta SET value = max(value, ?1) WHERE name = 'next_run'"),
      find_(c,
            "SELECT j.key, o.key IS NULL, r.status, r.expires_ms FROM jobs j LEFT JOIN open o ON o.key = j.key "
            "LEFT JOIN outcomes r ON r.key = j.key WHERE j.id = ?1"),
      find_idempotent_(c,
                       "SELECT j.key, o.key IS NULL, r.expires_ms FROM jobs j LEFT JOIN open o ON o.key = j.key "
                       "LEFT JOIN outcomes r ON r.key = j.key WHERE j.idempotency_key = ?1 AND ?1 <> ''"),
      doom_(c, "UPDATE outcomes SET expires_ms = 0 WHERE key = ?1"),
      delete_job_(c, "DELETE FROM jobs WHERE key = ?1"),
      delete_open_(c, "DELETE FROM open WHERE key = ?1"),
      delete_outcome_(c, "DELETE FROM outcomes WHERE key = ?1"),
      delete_extra_(c, "DELETE FROM extras WHERE key = ?1"),
      delete_checkpoint_(c, "DELETE FROM checkpoints WHERE key = ?1"),
      delete_progress_(c, "DELETE FROM progress WHERE key = ?1"),
      delete_policy_(c, "DELETE FROM policies WHERE key = ?1"),
      delete_history_(c, "DELETE FROM histories WHERE key = ?1"),
      delete_chunks_(c, "DELETE FROM chunks WHERE slot BETWEEN ?1 AND ?2"),
      some_chunk_(c, "SELECT slot FROM chunks WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot LIMIT 1"),
      expired_(c,
               "SELECT key FROM outcomes r WHERE expires_ms <= ?1 AND NOT EXISTS (SELECT 1 FROM open o WHERE o.key = "
               "r.key) ORDER BY expires_ms LIMIT ?2"),
      next_expiry_(c,
                   "SELECT expires_ms FROM outcomes r WHERE NOT EXISTS (SELECT 1 FROM open o WHERE o.key = r.key) "
                   "ORDER BY expires_ms LIMIT 1") {}

std::error_code Tables::apply(const Operation& operation, std::int64_t now_ms) {
  using Kind = Operation::Kind;
  JobKey key = operation.key;
  switch (operation.kind) {
    case Kind::Accept: return accept(operation, now_ms);
    case Kind::Start:
      if ((operation.attached & kChunks) != 0) drop_stream(key);
      start_.bind(1, key).bind(2, operation.number).bind(3, static_cast<std::int64_t>(operation.run));
      start_.bind(4, operation.text).bind(5, operation.time_ms);
      start_.bind(6, (operation.attached & kCheckpoint) != 0 ? 1 : 0).run();
      if (connection_.changes() == 0) return Fault::UnknownJob;  // its acceptance, in the same breath, was refused
      break;
    case Kind::Requeue:
      requeue_.bind(1, key).bind(2, static_cast<std::int64_t>(operation.run)).bind(3, operation.number != 0 ? 0 : 1);
      requeue_.run();
      break;
    case Kind::Cancelling: cancelling_.bind(1, key).bind(2, static_cast<std::int64_t>(operation.run)).run(); break;
    case Kind::Finish:
      if (!is_open(key)) return Fault::UnknownJob;
      finish(operation);
      if (std::get<Outcome>(operation.body).dead) letters_.bury(key, operation.text, now_ms);
      break;
    case Kind::Settle:
      run_with_key(settle_, key);
      if (operation.number != 0) run_with_key(drop_input_, key);
      break;
    case Kind::Chunk:
      insert_chunk_.bind(1, slot(key, operation.number));
      insert_chunk_.bind_blob(2, std::get<Payload>(operation.body).bytes()).run();
      break;
    case Kind::Progress:
      put_progress_.bind(1, key).bind_blob(2, std::get<Payload>(operation.body).bytes()).run();
      break;
    case Kind::Polled: put_polled(operation); break;
    case Kind::Checkpoint:
      put_checkpoint_.bind(1, key).bind_blob(2, std::get<Payload>(operation.body).bytes()).run();
      break;
    case Kind::History:
      if (!is_open(key)) return Fault::UnknownJob;
      put_history(operation);
      break;
    case Kind::DropDead: letters_.drop(operation.text); break;
    case Kind::Suspicion: letters_.put(std::get<Suspect>(operation.body)); break;
    case Kind::ClearSuspects: letters_.clear_suspects(); break;
    case Kind::Forget: forget(operation); break;
    case Kind::Expire: expire_.bind(1, operation.text).bind(2, operation.time_ms).run(); break;
    case Kind::Echo: break;
  }
  return {};
}

std::error_code Tables::accept(const Operation& operation, std::int64_t now_ms) {
  const Job& job = std::get<Job>(operation.body);
  insert_job_.bind(1, operation.key).bind(2, job.id).bind(3, job.submitted_ms);
  insert_job_.bind(4, job.policy.execution_timeout.count()).bind(5, job.policy.ttl.count());
  insert_job_.bind(6, (job.sync ? kSync : 0) | (job.policy.low_priority ? kLowPriority : 0));
  insert_job_.bind(7, job.policy.max_attempts).bind(8, job.webhook).bind(9, job.idempotency_key);
  bind_payload(insert_job_, 10, job.input);
  if (!insert_job_.run_unless_constrained()) {
    if (std::error_code taken = make_room(job, now_ms)) return taken;
    insert_job_.run();
  }
  if (is_large(job.input)) put_blob(connection_, "jobs", "input", operation.key, job.input.bytes());
  run_with_key(insert_open_, operation.key);
  if (const Policy& policy = job.policy; !is_usual(policy)) {
    insert_policy_.bind(1, operation.key).bind(2, policy.retry_on).bind(3, policy.retry_backoff_min.count());
    insert_policy_.bind(4, policy.retry_backoff_max.count()).bind(5, policy.stall_timeout.count()).run();
  }
  if (!job.extra.empty()) insert_extra_.bind(1, operation.key).bind_blob(2, job.extra.bytes()).run();
  return {};
}

/// Removes the settled life that has the job's id, if it did not end well or has expired, and the expired one that has
/// its idempotency key. Else says what is taken.
std::error_code Tables::make_room(const Job& job, std::int64_t now_ms) {
  JobKey by_id = 0, by_idempotency = 0;
  find_.bind(1, job.id);
  if (find_.step()) {
    bool over = find_.number(1) != 0 && !find_.is_null(2) &&
                (static_cast<Status>(find_.number(2)) != Status::Completed || find_.number(3) <= now_ms);
    if (over) by_id = find_.number(0);
    find_.reset();
    if (!over) return Fault::Duplicate;
  }
  find_idempotent_.bind(1, job.idempotency_key);
  if (!job.idempotency_key.empty() && find_idempotent_.step()) {
    JobKey key = find_idempotent_.number(0);
    bool over = key == by_id || (find_idempotent_.number(1) != 0 && find_idempotent_.number(2) <= now_ms);
    if (over) by_idempotency = key;
    find_idempotent_.reset();
    if (!over) return Fault::DuplicateKey;
  }
  for (JobKey key : {by_id, by_idempotency}) {
    while (key != 0 && !purge(key, kChunksPerSweep)) {
    }
  }
  return {};
}

bool Tables::is_open(JobKey key) {
  bool open = is_open_.bind(1, key).step();
  is_open_.reset();
  return open;
}

void Tables::finish(const Operation& operation) {
  const Outcome& outcome = std::get<Outcome>(operation.body);
  JobKey key = operation.key;
  insert_outcome_.bind(1, key).bind(2, static_cast<std::int64_t>(outcome.status));
  insert_outcome_.bind(3, outcome.refresh_worker ? kRefreshWorker : 0).bind(4, outcome.error_type);
  insert_outcome_.bind(5, outcome.worker_id).bind(6, outcome.attempts).bind(7, outcome.started_ms);
  insert_outcome_.bind(8, outcome.finished_ms).bind(9, outcome.execution_ms).bind(10, operation.time_ms);
  insert_outcome_.bind_blob(11, outcome.error.bytes());
  bind_payload(insert_outcome_, 12, outcome.output).run();
  if (is_large(outcome.output) && connection_.changes() > 0)
    put_blob(connection_, "outcomes", "output", key, outcome.output.bytes());
  // The client's storage keys go with the last attempt, and what only a further attempt could use.
  if ((operation.attached & kExtra) != 0) run_with_key(delete_extra_, key);
  if ((operation.attached & kCheckpoint) != 0) run_with_key(delete_checkpoint_, key);
  if ((operation.attached & kProgress) != 0) run_with_key(delete_progress_, key);
}

/// What an earlier attempt streamed is no part of this one's result. Its last number is kept as if it had been read: the
/// numbers of this attempt go on from there.
void Tables::drop_stream(JobKey key) {
  std::int64_t last = slot(key, kMaxChunks);
  keep_last_.bind(1, slot(key, 0)).bind(2, last).run();
  delete_chunks_.bind(1, slot(key, 1)).bind(2, last).run();
}

void Tables::put_polled(const Operation& operation) {
  find_.bind(1, operation.text);
  bool known = find_.step();
  JobKey key = known ? find_.number(0) : 0;
  find_.reset();
  if (known) put_polled_.bind(1, slot(key, 0)).bind_blob(2, polled_text(operation.number)).run();
}

void Tables::put_history(const Operation& operation) {
  put_history_.bind(1, operation.key).bind_blob(2, std::get<Payload>(operation.body).bytes()).run();
  if (!operation.record.empty()) letters_.put_crash(operation.key, operation.number, operation.record);
}

void Tables::forget(const Operation& operation) {
  find_.bind(1, operation.text);
  bool known = find_.step();
  JobKey key = known ? find_.number(0) : 0;
  find_.reset();
  if (!known) return;
  run_with_key(delete_open_, key);
  if (purge(key, kChunksPerSweep)) return;
  // A stream too long to remove at once is left to the sweeps; as an expired job nothing finds it until then.
  Operation end;
  end.key = key;
  end.body = Outcome{.status = Status::Cancelled};
  end.attached = kExtra | kCheckpoint | kProgress;
  finish(end);
  run_with_key(doom_, key);
}

bool Tables::purge(JobKey key, int chunk_limit) {
  some_chunk_.bind(1, slot(key, 0)).bind(2, slot(key, kMaxChunks));
  bool chunks = some_chunk_.step();
  std::int64_t first = chunks ? some_chunk_.number(0) : 0;
  some_chunk_.reset();
  if (chunks) {
    delete_chunks_.bind(1, first).bind(2, std::min(first + chunk_limit - 1, slot(key, kMaxChunks))).run();
    some_chunk_.bind(1, first).bind(2, slot(key, kMaxChunks));
    chunks = some_chunk_.step();
    some_chunk_.reset();
    if (chunks) return false;
  }
  run_with_key(delete_extra_, key);
  run_with_key(delete_checkpoint_, key);
  run_with_key(delete_progress_, key);
  run_with_key(delete_outcome_, key);
  run_with_key(delete_policy_, key);
  run_with_key(delete_history_, key);
  letters_.release(key);
  run_with_key(delete_job_, key);
  return true;
}

bool Tables::sweep(std::int64_t now_ms, int limit) {
  letters_.trim(now_ms);
  std::vector<JobKey> keys;
  expired_.bind(1, now_ms).bind(2, limit);
  while (expired_.step()) keys.push_back(expired_.number(0));
  expired_.reset();
  for (JobKey key : keys) {
    if (!purge(key, kChunksPerSweep)) return true;
  }
  return static_cast<int>(keys.size()) == limit;
}

std::optional<std::int64_t> Tables::next_expiry() {
  std::optional<std::int64_t> next;
  if (next_expiry_.step()) next = next_expiry_.number(0);
  next_expiry_.reset();
  if (const auto letter = letters_.next_expiry(); letter && (!next || *letter < *next)) next = letter;
  return next;
}

void Tables::reserve_runs(RunNumber next) { reserve_.bind(1, static_cast<std::int64_t>(next)).run(); }

std::vector<OpenJob> read_open_jobs(Connection& connection) {
  Statement row(connection,
                "SELECT " + kJobColumns + ", " + kOutcomeColumns +
                    ", o.key, o.attempts, o.run, o.worker_id, o.started_ms, e.extra, c.data, "
                    "(SELECT max(slot) FROM chunks WHERE slot BETWEEN o.key * ?1 AND o.key * ?1 + ?1 - 1), "
                    "(SELECT chunk FROM chunks WHERE slot = o.key * ?1), "
                    "(SELECT min(slot) FROM chunks WHERE slot BETWEEN o.key * ?1 + 1 AND o.key * ?1 + ?1 - 1), "
                    "o.from_checkpoint, o.cancelled FROM open o JOIN jobs j ON j.key = o.key " +
                    kPolicyTable + kOutcomeTables +
                    "LEFT JOIN extras e ON e.key = o.key LEFT JOIN checkpoints c ON c.key = o.key "
                    "ORDER BY o.key");
  constexpr int kRest = kJobWidth + kOutcomeWidth;
  row.bind(1, slot(1, 0));
  std::vector<OpenJob> jobs;
  while (row.step()) {
    OpenJob& open = jobs.emplace_back();
    open.recovered.job = read_job(row, 0);
    open.recovered.outcome = read_outcome(row, kJobWidth);
    open.expires_ms = row.number(kJobWidth + kExpiresColumn);
    open.key = row.number(kRest);
    open.recovered.attempts = static_cast<int>(row.number(kRest + 1));
    open.recovered.run = static_cast<RunNumber>(row.number(kRest + 2));
    open.recovered.worker_id = row.bytes(kRest + 3);
    open.recovered.started_ms = row.number(kRest + 4);
    open.recovered.job.extra = payload(row.bytes(kRest + 5));
    open.recovered.checkpoint = payload(row.bytes(kRest + 6));
    open.recovered.history = payload(row.bytes(kJobWidth + kHistoryColumn));
    open.recovered.from_checkpoint = row.number(kRest + 10) != 0;
    open.recovered.cancelled = row.number(kRest + 11) != 0;
    open.recovered.polled = read_polled(row.bytes(kRest + 8));
    if (!row.is_null(kRest + 7))
      open.recovered.last_chunk = static_cast<std::uint32_t>(row.number(kRest + 7) - slot(open.key, 0));
    open.recovered.last_chunk = std::max(open.recovered.last_chunk, open.recovered.polled);
    if (!row.is_null(kRest + 9))
      open.recovered.first_chunk = static_cast<std::uint32_t>(row.number(kRest + 9) - slot(open.key, 0));
  }
  return jobs;
}

Queries::Queries(Connection& c)
    : letters(c),
      listing(c),
      find_(c, "SELECT " + kJobColumns + ", " + kOutcomeColumns + " FROM jobs j " + kPolicyTable + kOutcomeTables +
                   "WHERE j.id = ?1"),
      key_(c,
           "SELECT j.key FROM jobs j LEFT JOIN outcomes r ON r.key = j.key "
           "WHERE j.id = ?1 AND (r.expires_ms IS NULL OR r.expires_ms > ?2)"),
      id_of_(c,
             "SELECT j.id FROM jobs j LEFT JOIN outcomes r ON r.key = j.key WHERE j.idempotency_key = ?1 AND ?1 <> '' "
             "AND (r.expires_ms IS NULL OR r.expires_ms > ?2)"),
      chunks_(c, "SELECT slot, chunk FROM chunks WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot"),
      polled_(c, "SELECT chunk FROM chunks WHERE slot = ?2 * (SELECT key FROM jobs WHERE id = ?1)") {}

std::optional<Queries::Found> Queries::find(std::string_view id) {
  std::optional<Found> found;
  if (find_.bind(1, id).step()) {
    found.emplace(Found{read_job(find_, 0), read_outcome(find_, kJobWidth), 0});
    found->expires_ms = find_.number(kJobWidth + kExpiresColumn);
  }
  find_.reset();
  return found;
}

std::optional<std::string> Queries::id_of(std::string_view idempotency_key, std::int64_t now_ms) {
  std::optional<std::string> id;
  if (id_of_.bind(1, idempotency_key).bind(2, now_ms).step()) id = id_of_.bytes(0);
  id_of_.reset();
  return id;
}

std::vector<StoredChunk> Queries::chunks(std::string_view id, std::int64_t now_ms, std::uint32_t from,
                                         std::size_t max_bytes) {
  std::vector<StoredChunk> found;
  if (from > kMaxChunks) return found;
  bool known = key_.bind(1, id).bind(2, now_ms).step();
  JobKey key = known ? key_.number(0) : 0;
  key_.reset();
  if (!known) return found;
  std::size_t bytes = 0;
  chunks_.bind(1, slot(key, std::max(from, 1U))).bind(2, slot(key, kMaxChunks));
  while (chunks_.step()) {
    std::string_view chunk = chunks_.bytes(1);
    bytes += chunk.size();
    if (!found.empty() && bytes > max_bytes) break;
    found.push_back({static_cast<std::uint32_t>(chunks_.number(0) - slot(key, 0)), payload(chunk)});
  }
  chunks_.reset();
  return found;
}

std::uint32_t Queries::polled(std::string_view id) {
  std::uint32_t number = 0;
  if (polled_.bind(1, id).bind(2, slot(1, 0)).step()) number = read_polled(polled_.bytes(0));
  polled_.reset();
  return number;
}

}  // namespace bulkhead::journal
