// The tables: what each operation does to them, and what recovery and lookup read out of them. Whoever calls has the
// transaction. Failures of the environment throw std::system_error, and then the transaction must be rolled back.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "supervisor/journal/letters.hpp"
#include "supervisor/journal/listing.hpp"
#include "supervisor/journal/operation.hpp"
#include "supervisor/journal/sqlite.hpp"
#include "supervisor/journal/store.hpp"

namespace bulkhead::journal {

/// The writing half. Belongs to the writer's connection.
class Tables {
 public:
  Tables(Connection& connection, const LetterLimits& letters);

  /// Does one operation. The error is the operation's own (Fault); the others of its transaction are not touched by it.
  std::error_code apply(const Operation& operation, std::int64_t now_ms);

  /// Removes up to `limit` settled jobs whose retention has ended (of a long stream, at first some of its chunks only).
  /// True if it reached its limit: there may be more.
  bool sweep(std::int64_t now_ms, int limit);
  /// When the next settled job expires (wall time); nothing if none will.
  std::optional<std::int64_t> next_expiry();

  void reserve_runs(RunNumber next);

 private:
  std::error_code accept(const Operation& operation, std::int64_t now_ms);
  std::error_code make_room(const Job& job, std::int64_t now_ms);
  bool is_open(JobKey key);
  void finish(const Operation& operation);
  void drop_stream(JobKey key);
  void put_polled(const Operation& operation);
  void put_history(const Operation& operation);
  void forget(const Operation& operation);
  /// True if the whole job is gone; false if it had so many chunks that some are left.
  bool purge(JobKey key, int chunk_limit);
  void run_with_key(Statement& statement, JobKey key) { statement.bind(1, key).run(); }

  Connection& connection_;
  Letters letters_;
  Statement insert_job_, insert_open_, insert_extra_, insert_outcome_, insert_chunk_, put_polled_, keep_last_,
      put_progress_, put_checkpoint_, insert_policy_, put_history_;
  Statement start_, requeue_, cancelling_, settle_, drop_input_, is_open_, expire_, reserve_, find_, find_idempotent_,
      doom_;
  Statement delete_job_, delete_open_, delete_outcome_, delete_extra_, delete_checkpoint_, delete_progress_;
  Statement delete_policy_, delete_history_;
  Statement delete_chunks_, some_chunk_, expired_, next_expiry_;
};

/// A job that is not settled, as recovery needs it.
struct OpenJob {
  JobKey key = 0;
  std::int64_t expires_ms = 0;  ///< of its outcome, if it has one
  Recovered recovered;
};

std::vector<OpenJob> read_open_jobs(Connection& connection);

/// The reading half. Belongs to the reader's connection.
class Queries {
 public:
  explicit Queries(Connection& connection);

  struct Found {
    Job job;
    std::optional<Outcome> outcome;
    std::int64_t expires_ms = 0;
  };
  /// Expired jobs included.
  std::optional<Found> find(std::string_view id);
  /// The live or remembered job that was accepted under the key.
  std::optional<std::string> id_of(std::string_view idempotency_key, std::int64_t now_ms);
  /// None of an expired job.
  std::vector<StoredChunk> chunks(std::string_view id, std::int64_t now_ms, std::uint32_t from, std::size_t max_bytes);
  /// Up to which chunk clients that poll were given a job's, as far as it was noted.
  std::uint32_t polled(std::string_view id);

  LetterQueries letters;
  ListingQueries listing;

 private:
  Statement find_, key_, id_of_, chunks_, polled_;
};

}  // namespace bulkhead::journal
