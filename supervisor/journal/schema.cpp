// The steps from each version of the format to the next, and who takes them. A step that was released is never changed: what
// it makes is described in docs/JOURNAL.md, and a journal of each version is kept in tests/journal. Everything happens in one
// transaction, behind a copy of what was there.

#include "supervisor/journal/schema.hpp"

#include <filesystem>
#include <string>
#include <system_error>

#include "supervisor/journal/error.hpp"

namespace bulkhead::journal {
namespace {

// Version 1. What stands where and why: docs/JOURNAL.md.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  key                  INTEGER PRIMARY KEY,
  id                   TEXT NOT NULL UNIQUE,
  submitted_ms         INTEGER NOT NULL,
  execution_timeout_ms INTEGER NOT NULL,
  ttl_ms               INTEGER NOT NULL,
  flags                INTEGER NOT NULL,
  max_attempts         INTEGER NOT NULL,
  webhook              TEXT NOT NULL,
  idempotency_key      TEXT NOT NULL,
  input                BLOB
) STRICT;
CREATE UNIQUE INDEX jobs_idempotency ON jobs (idempotency_key) WHERE idempotency_key <> '';

CREATE TABLE open (
  key        INTEGER PRIMARY KEY,
  attempts   INTEGER NOT NULL DEFAULT 0,
  run        INTEGER NOT NULL DEFAULT 0,
  worker_id  TEXT NOT NULL DEFAULT '',
  started_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE outcomes (
  key          INTEGER PRIMARY KEY,
  status       INTEGER NOT NULL,
  flags        INTEGER NOT NULL,
  error_type   TEXT NOT NULL,
  worker_id    TEXT NOT NULL,
  attempts     INTEGER NOT NULL,
  started_ms   INTEGER NOT NULL,
  finished_ms  INTEGER NOT NULL,
  execution_ms INTEGER NOT NULL,
  expires_ms   INTEGER NOT NULL,
  error        BLOB,
  output       BLOB
) STRICT;
CREATE INDEX outcomes_expiry ON outcomes (expires_ms);

CREATE TABLE extras      (key INTEGER PRIMARY KEY, extra BLOB NOT NULL) STRICT;
CREATE TABLE checkpoints (key INTEGER PRIMARY KEY, data  BLOB) STRICT;
CREATE TABLE progress    (key INTEGER PRIMARY KEY, value BLOB) STRICT;
CREATE TABLE chunks      (slot INTEGER PRIMARY KEY, chunk BLOB) STRICT;

INSERT INTO meta (name, value) VALUES ('next_run', 1);
)sql";

// Version 2. Policies beyond the first version's, the attempts of a job, and what their crashes left.
constexpr const char* kVersion2 = R"sql(
CREATE TABLE policies (
  key              INTEGER PRIMARY KEY,
  retry_on         INTEGER NOT NULL,
  retry_min_ms     INTEGER NOT NULL,
  retry_max_ms     INTEGER NOT NULL,
  stall_timeout_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE histories (key INTEGER PRIMARY KEY, history BLOB NOT NULL) STRICT;
CREATE TABLE crashes   (slot INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;

CREATE TABLE dead (
  key                  INTEGER PRIMARY KEY,
  id                   TEXT NOT NULL UNIQUE,
  died_ms              INTEGER NOT NULL,
  submitted_ms         INTEGER NOT NULL,
  execution_timeout_ms INTEGER NOT NULL,
  ttl_ms               INTEGER NOT NULL,
  flags                INTEGER NOT NULL,
  max_attempts         INTEGER NOT NULL,
  webhook              TEXT NOT NULL,
  idempotency_key      TEXT NOT NULL,
  retry_on             INTEGER,
  retry_min_ms         INTEGER,
  retry_max_ms         INTEGER,
  stall_timeout_ms     INTEGER,
  error_type           TEXT NOT NULL,
  worker_id            TEXT NOT NULL,
  attempts             INTEGER NOT NULL,
  started_ms           INTEGER NOT NULL,
  execution_ms         INTEGER NOT NULL,
  history              BLOB,
  error                BLOB,
  input                BLOB
) STRICT;
CREATE INDEX dead_age ON dead (died_ms);

CREATE TABLE suspects (
  fingerprint TEXT PRIMARY KEY,
  build       TEXT NOT NULL,
  crashes     INTEGER NOT NULL,
  record      BLOB
) STRICT, WITHOUT ROWID;

ALTER TABLE open ADD COLUMN from_checkpoint INTEGER NOT NULL DEFAULT 0;
ALTER TABLE open ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
)sql";

constexpr const char* kSteps[] = {kVersion1, kVersion2};

[[noreturn]] void refuse_newer(int version, std::size_t known, const std::string& path) {
  throw std::system_error(
      Fault::TooNew,
      path + " has format version " + std::to_string(version) + " and this program knows versions up to " +
          std::to_string(known) +
          ". Run the newer Bulkhead again, or give another --state-dir. To go back for good, "
          "stop it and put " +
          backup_name(static_cast<int>(known)) +
          " (the journal as it was before the upgrade, if it stands beside it) in place of journal.db and remove "
          "journal.db-wal: jobs accepted since the upgrade are lost");
}

}  // namespace

std::span<const char* const> schema_steps() { return kSteps; }

std::string backup_name(int version) { return "journal.v" + std::to_string(version) + ".db"; }

void back_up(Connection& connection, const StateDirectory& directory, int version) {
  std::filesystem::path path = directory.path() / backup_name(version);
  std::filesystem::remove(path);
  directory.ensure_file(backup_name(version));  // SQLite fills an empty file, and leaves its mode
  Statement(connection, "VACUUM INTO ?1").bind(1, path.string()).run();
}

void migrate(Connection& connection, std::span<const char* const> steps, const std::string& path,
             const std::function<void(int version)>& before) {
  auto version = static_cast<int>(connection.number("PRAGMA user_version"));
  auto target = static_cast<int>(steps.size());
  auto application = connection.number("PRAGMA application_id");
  bool empty = connection.number("SELECT count(*) FROM sqlite_schema") == 0;
  if (!empty && (application != kApplicationId || version == 0)) throw std::system_error(Fault::NotAJournal, path);
  if (version > target) refuse_newer(version, steps.size(), path);
  if (version == target) return;
  if (!empty) before(version);
  connection.execute("BEGIN EXCLUSIVE");
  try {
    for (int step = version; step < target; ++step) connection.execute(steps[static_cast<std::size_t>(step)]);
    connection.execute(("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str());
    connection.execute(("PRAGMA user_version = " + std::to_string(target)).c_str());
    connection.execute("COMMIT");
  } catch (...) {
    if (connection.in_transaction()) connection.execute("ROLLBACK");
    throw;
  }
}

}  // namespace bulkhead::journal
