// A letter is a copy of its job, for it outlives the job's own rows; the records of its crashes are shared with them, under
// the same key.

#include "supervisor/journal/letters.hpp"

#include <algorithm>
#include <utility>

#include "supervisor/job/quarantine.hpp"

namespace bulkhead::journal {
namespace {

/// Crash records kept of one job: of its first attempt and of its last ones.
constexpr std::int64_t kCrashesKept = 8;
/// Letters go one by one up to this limit of their number.
constexpr std::int64_t kGoAtOnce = 2'000;
constexpr std::int64_t kMostSuspects = Quarantine::kMost;
std::int64_t crash_slot(JobKey key, std::int64_t attempt) {
  return key * kMostAttempts + std::min(attempt, kMostAttempts - 1);
}

constexpr std::int64_t kSync = 1, kLowPriority = 2;  // as in jobs.flags

const std::string kColumns =
    "d.key, d.id, d.submitted_ms, d.execution_timeout_ms, d.ttl_ms, d.flags, d.max_attempts, d.webhook, d.retry_on, "
    "d.retry_min_ms, d.retry_max_ms, d.stall_timeout_ms, d.error_type, d.worker_id, d.attempts, d.started_ms, "
    "d.died_ms, "
    "d.execution_ms, d.history, d.error, d.idempotency_key";

DeadLetter read(const Statement& row) {
  DeadLetter letter;
  Job& job = letter.job;
  job.id = row.bytes(1);
  job.submitted_ms = row.number(2);
  job.policy.execution_timeout = milliseconds(row.number(3));
  job.policy.ttl = milliseconds(row.number(4));
  job.sync = (row.number(5) & kSync) != 0;
  job.policy.low_priority = (row.number(5) & kLowPriority) != 0;
  job.policy.max_attempts = static_cast<int>(row.number(6));
  job.webhook = row.bytes(7);
  job.idempotency_key = row.bytes(20);
  if (!row.is_null(8)) {
    job.policy.retry_on = static_cast<std::uint8_t>(row.number(8));
    job.policy.retry_backoff_min = milliseconds(row.number(9));
    job.policy.retry_backoff_max = milliseconds(row.number(10));
    job.policy.stall_timeout = milliseconds(row.number(11));
  }
  Outcome& outcome = letter.outcome;
  outcome.status = Status::Failed;
  outcome.dead = true;
  outcome.error_type = row.bytes(12);
  outcome.worker_id = row.bytes(13);
  outcome.attempts = static_cast<int>(row.number(14));
  outcome.started_ms = row.number(15);
  outcome.finished_ms = row.number(16);
  outcome.execution_ms = row.number(17);
  outcome.history = payload(row.bytes(18));
  outcome.error = payload(row.bytes(19));
  return letter;
}

}  // namespace

Payload payload(std::string_view bytes) { return bytes.empty() ? Payload() : Payload::of(std::string(bytes)); }

Letters::Letters(Connection& c, LetterLimits limits)
    : limits_(limits),
      insert_(c,
              "INSERT INTO dead SELECT j.key, j.id, r.finished_ms, j.submitted_ms, j.execution_timeout_ms, j.ttl_ms, "
              "j.flags, j.max_attempts, j.webhook, j.idempotency_key, p.retry_on, p.retry_min_ms, p.retry_max_ms, "
              "p.stall_timeout_ms, "
              "r.error_type, r.worker_id, r.attempts, r.started_ms, r.execution_ms, h.history, r.error, j.input "
              "FROM jobs j JOIN outcomes r ON r.key = j.key LEFT JOIN policies p ON p.key = j.key "
              "LEFT JOIN histories h ON h.key = j.key WHERE j.key = ?1"),
      find_(c, "SELECT key FROM dead WHERE id = ?1"),
      delete_(c, "DELETE FROM dead WHERE key = ?1"),
      too_old_(c, "SELECT key FROM dead WHERE died_ms <= ?1"),
      held_(c, "SELECT count(*), ifnull(sum(length(input)), 0) FROM dead"),
      size_(c, "SELECT ifnull(length(input), 0) FROM dead WHERE key = ?1"),
      surplus_(c,
               "SELECT key FROM (SELECT key, died_ms, row_number() OVER newest AS place, "
               "sum(ifnull(length(input), 0)) OVER newest AS bytes FROM dead "
               "WINDOW newest AS (ORDER BY died_ms DESC, key DESC)) "
               "WHERE place > ?1 OR (bytes > ?2 AND place > 1)"),
      oldest_(c, "SELECT died_ms FROM dead ORDER BY died_ms LIMIT 1"),
      put_crash_(c, "INSERT OR REPLACE INTO crashes (slot, record) VALUES (?1, ?2)"),
      trim_crashes_(c, "DELETE FROM crashes WHERE slot BETWEEN ?1 AND ?2"),
      delete_crashes_(c, "DELETE FROM crashes WHERE slot BETWEEN ?1 AND ?2"),
      needed_(c, "SELECT 1 FROM dead WHERE key = ?1"),
      put_suspect_(c, "INSERT OR REPLACE INTO suspects (fingerprint, build, crashes, record) VALUES (?1, ?2, ?3, ?4)"),
      other_builds_(c, "DELETE FROM suspects WHERE build <> ?1"),
      surplus_suspects_(c,
                        "DELETE FROM suspects WHERE fingerprint IN (SELECT fingerprint FROM suspects "
                        "WHERE fingerprint <> ?1 ORDER BY crashes, fingerprint "
                        "LIMIT max(0, (SELECT count(*) FROM suspects) - ?2))"),
      clear_suspects_(c, "DELETE FROM suspects") {
  count();
}

void Letters::bury(JobKey key, std::string_view id, std::int64_t now_ms) {
  const auto older = find(id);
  if (older == key)
    delete_.bind(1, key).run();  // told a second time: the records are those of this very job
  else if (older)
    remove(*older);
  insert_.bind(1, key).run();
  ++number_;
  if (size_.bind(1, key).step()) bytes_ += size_.number(0);
  size_.reset();
  trim(now_ms);
}

void Letters::drop(std::string_view id) {
  if (const auto key = find(id)) remove(*key);
}

std::optional<JobKey> Letters::find(std::string_view id) {
  std::optional<JobKey> key;
  if (find_.bind(1, id).step()) key = find_.number(0);
  find_.reset();
  return key;
}

void Letters::remove(JobKey key) {
  delete_.bind(1, key).run();
  delete_crashes_.bind(1, crash_slot(key, 0)).bind(2, crash_slot(key, kMostAttempts)).run();
}

void Letters::trim(std::int64_t now_ms) {
  remove_all(too_old_.bind(1, now_ms - limits_.age_ms));
  const auto too_many = [this] { return number_ > limits_.number || bytes_ > limits_.input_bytes; };
  if (too_many()) count();
  if (!too_many()) return;
  // All of them are looked at: of very many some go at once, so that it is a while until the next time.
  remove_all(surplus_.bind(1, limits_.number - limits_.number / kGoAtOnce).bind(2, limits_.input_bytes));
  count();
}

void Letters::remove_all(Statement& wanted) {
  std::vector<JobKey> keys;
  while (wanted.step()) keys.push_back(wanted.number(0));
  wanted.reset();
  for (const JobKey key : keys) remove(key);
}

void Letters::count() {
  if (held_.step()) {
    number_ = held_.number(0);
    bytes_ = held_.number(1);
  }
  held_.reset();
}

std::optional<std::int64_t> Letters::next_expiry() {
  std::optional<std::int64_t> next;
  if (oldest_.step()) next = oldest_.number(0) + limits_.age_ms;
  oldest_.reset();
  return next;
}

void Letters::put_crash(JobKey key, std::uint32_t attempt, const Payload& record) {
  put_crash_.bind(1, crash_slot(key, attempt)).bind_blob(2, record.bytes()).run();
  const std::int64_t last_dropped = std::int64_t{attempt} - kCrashesKept + 1;
  if (last_dropped >= 2) trim_crashes_.bind(1, crash_slot(key, 2)).bind(2, crash_slot(key, last_dropped)).run();
}

void Letters::release(JobKey key) {
  const bool needed = needed_.bind(1, key).step();
  needed_.reset();
  if (!needed) delete_crashes_.bind(1, crash_slot(key, 0)).bind(2, crash_slot(key, kMostAttempts)).run();
}

void Letters::put(const Suspect& suspect) {
  put_suspect_.bind(1, suspect.fingerprint).bind(2, suspect.build).bind(3, suspect.crashes);
  put_suspect_.bind_blob(4, suspect.record.bytes()).run();
  other_builds_.bind(1, suspect.build).run();
  surplus_suspects_.bind(1, suspect.fingerprint).bind(2, kMostSuspects).run();
}

std::vector<Suspect> read_suspects(Connection& connection) {
  Statement row(connection, "SELECT fingerprint, build, crashes, record FROM suspects ORDER BY crashes DESC LIMIT ?1");
  row.bind(1, kMostSuspects);
  std::vector<Suspect> suspects;
  while (row.step())
    suspects.push_back({.fingerprint = std::string(row.bytes(0)),
                        .build = std::string(row.bytes(1)),
                        .crashes = static_cast<int>(row.number(2)),
                        .record = payload(row.bytes(3))});
  return suspects;
}

LetterQueries::LetterQueries(Connection& c)
    : list_(c, "SELECT " + kColumns + " FROM dead d ORDER BY d.died_ms DESC, d.key DESC LIMIT ?1"),
      find_(c, "SELECT " + kColumns + ", d.input FROM dead d WHERE d.id = ?1"),
      records_(c, "SELECT record FROM crashes WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot") {}

std::vector<DeadLetter> LetterQueries::list(std::size_t most) {
  std::vector<DeadLetter> letters;
  list_.bind(1, static_cast<std::int64_t>(most));
  while (list_.step()) letters.push_back(read(list_));
  list_.reset();
  return letters;
}

std::optional<DeadLetter> LetterQueries::find(std::string_view id) {
  std::optional<DeadLetter> letter;
  JobKey key = 0;
  if (find_.bind(1, id).step()) {
    letter = read(find_);
    letter->job.input = payload(find_.bytes(21));
    key = find_.number(0);
  }
  find_.reset();
  if (!letter) return letter;
  records_.bind(1, crash_slot(key, 0)).bind(2, crash_slot(key, kMostAttempts));
  while (records_.step()) letter->records.push_back(payload(records_.bytes(0)));
  records_.reset();
  return letter;
}

}  // namespace bulkhead::journal
