// What is kept of jobs that crashed: dead letters and suspects. Whoever calls has the transaction; failures throw as in
// tables.hpp.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/journal/operation.hpp"
#include "supervisor/journal/sqlite.hpp"

namespace bulkhead::journal {

/// How much is kept; beyond each of these the oldest letters go.
struct LetterLimits {
  std::int64_t number = 1'000;
  std::int64_t age_ms = std::int64_t{30} * 86'400'000;
  std::int64_t input_bytes = std::int64_t{1} << 30;  ///< of all of them together
};

/// The crash of a job's attempt has slot key * kMostAttempts + attempt.
inline constexpr std::int64_t kMostAttempts = 1 << 16;

/// What a column holds; NULL is none.
Payload payload(std::string_view bytes);

/// The writing half. Belongs to the writer's connection.
class Letters {
 public:
  Letters(Connection& connection, LetterLimits limits);

  /// A copy of the finished job; an older letter of its id goes.
  void bury(JobKey key, std::string_view id, std::int64_t now_ms);
  void drop(std::string_view id);
  /// Removes what is too old, or too much.
  void trim(std::int64_t now_ms);
  /// When the oldest is too old.
  std::optional<std::int64_t> next_expiry();

  /// What is to be kept of a crash. The records of a job's first attempt and of its last ones are.
  void put_crash(JobKey key, std::uint32_t attempt, const Payload& record);
  /// The job is forgotten: its records go, unless a letter needs them.
  void release(JobKey key);

  /// Those of other builds go, and beyond Quarantine::kMost those of the fewest crashes.
  void put(const Suspect& suspect);
  void clear_suspects() { clear_suspects_.run(); }

 private:
  std::optional<JobKey> find(std::string_view id);
  void remove(JobKey key);
  void remove_all(Statement& wanted);
  void count();

  LetterLimits limits_;
  /// Of the letters, or more: what goes is not taken off before they are counted again.
  std::int64_t number_ = 0, bytes_ = 0;
  Statement insert_, find_, delete_, too_old_, held_, size_, surplus_, oldest_;
  Statement put_crash_, trim_crashes_, delete_crashes_, needed_, put_suspect_, other_builds_, surplus_suspects_,
      clear_suspects_;
};

std::vector<Suspect> read_suspects(Connection& connection);

/// The reading half. Belongs to the reader's connection.
class LetterQueries {
 public:
  explicit LetterQueries(Connection& connection);
  /// Newest first, without inputs and records.
  std::vector<DeadLetter> list(std::size_t most);
  std::optional<DeadLetter> find(std::string_view id);

 private:
  Statement list_, find_, records_;
};

}  // namespace bulkhead::journal
