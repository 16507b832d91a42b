-- A journal of format version 2. Never changed: later versions must be able to read it.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA application_id = 1112042092;
PRAGMA user_version = 2;
BEGIN;
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
INSERT INTO meta VALUES ('next_run', 2000001);
INSERT INTO jobs VALUES (4, 'sync-settled-u1', 1699999000000, 600000, 86400000, 1, 1, '', 'key-4', CAST('{"n":4}' AS BLOB));
INSERT INTO jobs VALUES (5, 'waiting-u1', 1699999999000, 600000, 86400000, 0, 1, 'https://example.org/hook', '', CAST('{"n":1}' AS BLOB));
INSERT INTO jobs VALUES (6, 'running-u1', 1699999999001, 60000, 86400000, 2, 3, '', '', CAST('{"n":2}' AS BLOB));
INSERT INTO jobs VALUES (7, 'finished-u1', 1699999999002, 600000, 86400000, 0, 1, '', '', CAST('{"n":3}' AS BLOB));
INSERT INTO open VALUES (5, 0, 0, '', 0, 0, 0);
INSERT INTO open VALUES (6, 2, 1000001, 'worker-1', 1699999999500, 1, 1);
INSERT INTO open VALUES (7, 1, 1000002, 'worker-2', 1699999999600, 0, 0);
INSERT INTO extras VALUES (5, CAST('{"s3Config":{"accessId":"a"}}' AS BLOB));
INSERT INTO checkpoints VALUES (6, CAST('{"step":3}' AS BLOB));
INSERT INTO progress VALUES (6, CAST('50' AS BLOB));
INSERT INTO chunks VALUES (6 * 16777216 + 1, CAST('"a"' AS BLOB));
INSERT INTO chunks VALUES (6 * 16777216 + 2, CAST('"b"' AS BLOB));
INSERT INTO outcomes VALUES (4, 2, 0, '', 'worker-1', 1, 1699999999100, 1699999999350, 250, 1700001799350, NULL, CAST('{"ok":true}' AS BLOB));
INSERT INTO outcomes VALUES (7, 3, 0, 'HandlerError', 'worker-2', 1, 1699999999600, 1699999999700, 100, 1700001799700, CAST('"boom"' AS BLOB), NULL);
INSERT INTO policies VALUES (6, 3, 1000, 60000, 5000);
INSERT INTO histories VALUES (6, CAST('{"attempt":1,"started_at":1699999999100,"ended_at":1699999999200,"worker_id":"worker-1","reason":"crash","error_type":"WorkerCrash","from_checkpoint":false}' AS BLOB));
INSERT INTO crashes VALUES (6 * 65536 + 1, CAST('"record"' AS BLOB));
INSERT INTO crashes VALUES (3 * 65536 + 1, CAST('"dead record"' AS BLOB));
INSERT INTO dead VALUES (3, 'dead-u1', 1699999998000, 1699999997000, 600000, 86400000, 0, 1, '', 'key-3', NULL, NULL, NULL, NULL, 'WorkerCrash', 'worker-3', 1, 1699999997500, 500, CAST('{"attempt":1,"started_at":1699999999100,"ended_at":1699999999200,"worker_id":"worker-1","reason":"crash","error_type":"WorkerCrash","from_checkpoint":false}' AS BLOB), CAST('"boom"' AS BLOB), CAST('{"n":3}' AS BLOB));
INSERT INTO suspects VALUES ('fingerprint', 'build', 2, CAST('"record"' AS BLOB));
COMMIT;
