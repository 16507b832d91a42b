#include "supervisor/journal/listing.hpp"

#include <chrono>
#include <utility>

#include "supervisor/journal/letters.hpp"
#include "supervisor/journal/store.hpp"

namespace bulkhead::journal {
namespace {

constexpr std::chrono::milliseconds kTurn{20};
/// So often the clock is looked at.
constexpr int kRowsBetween = 256;

const std::string kColumns =
    "j.key, j.id, j.submitted_ms, o.attempts, o.run, o.worker_id, o.started_ms, r.status, r.error_type, r.worker_id, "
    "r.attempts, r.started_ms, r.finished_ms, r.execution_ms, r.expires_ms";
constexpr int kWidth = 15;
constexpr int kStatus = 7, kExpires = 14;
const std::string kTables = "FROM jobs j LEFT JOIN open o ON o.key = j.key LEFT JOIN outcomes r ON r.key = j.key ";

/// Of a job that has ended, and whose result is no longer kept.
bool is_expired(const Statement& row, std::int64_t now_ms) {
  return !row.is_null(kStatus) && row.number(kExpires) <= now_ms;
}

ListedJob read(const Statement& row) {
  ListedJob job;
  job.id = row.bytes(1);
  job.submitted_ms = row.number(2);
  if (row.is_null(kStatus)) {
    job.attempts = static_cast<int>(row.number(3));
    job.status = row.number(4) == 0 ? Status::InQueue : Status::InProgress;
    job.worker_id = row.bytes(5);
    job.started_ms = row.number(6);
    return job;
  }
  job.status = static_cast<Status>(row.number(kStatus));
  job.error_type = row.bytes(8);
  job.worker_id = row.bytes(9);
  job.attempts = static_cast<int>(row.number(10));
  job.started_ms = row.number(11);
  job.finished_ms = row.number(12);
  job.execution_ms = row.number(13);
  return job;
}

}  // namespace

ListingQueries::ListingQueries(Connection& c)
    : page_(c, "SELECT " + kColumns + " " + kTables + "WHERE j.key < ?1 ORDER BY j.key DESC"),
      record_(c, "SELECT " + kColumns +
                     ", length(j.input), CASE WHEN length(j.input) <= ?2 THEN j.input END, r.output, r.error, p.value, "
                     "h.history, (SELECT max(slot) - j.key * ?3 FROM chunks WHERE slot BETWEEN j.key * ?3 + 1 AND "
                     "j.key * ?3 + ?3 - 1), (SELECT record FROM crashes WHERE slot BETWEEN j.key * ?4 AND j.key * ?4 + "
                     "?4 - 1 ORDER BY slot DESC LIMIT 1) " +
                     kTables +
                     "LEFT JOIN progress p ON p.key = j.key LEFT JOIN histories h ON h.key = j.key WHERE j.id = ?1") {}

JobsPage ListingQueries::page(const JobsQuery& query, std::int64_t now_ms) {
  JobsPage page;
  const auto end = std::chrono::steady_clock::now() + kTurn;
  int looked_at = 0;
  page_.bind(1, query.before != 0 ? query.before : INT64_MAX);
  while (page_.step()) {
    if (!is_expired(page_, now_ms))
      if (ListedJob job = read(page_); query.takes(job)) page.jobs.push_back(std::move(job));
    const bool late = ++looked_at % kRowsBetween == 0 && std::chrono::steady_clock::now() > end;
    if (!late && page.jobs.size() < query.limit) continue;
    page.before = page_.number(0);
    break;
  }
  page_.reset();
  return page;
}

std::optional<JobRecord> ListingQueries::record(std::string_view id, std::int64_t now_ms, std::size_t most) {
  std::optional<JobRecord> found;
  record_.bind(1, id).bind(2, static_cast<std::int64_t>(most)).bind(3, std::int64_t{kMaxChunks} + 1);
  if (record_.bind(4, kMostAttempts).step() && !is_expired(record_, now_ms)) {
    found.emplace();
    found->listed = read(record_);
    found->input_size = record_.number(kWidth);
    found->input = payload(record_.bytes(kWidth + 1));
    found->output = payload(record_.bytes(kWidth + 2));
    found->error = payload(record_.bytes(kWidth + 3));
    found->progress = payload(record_.bytes(kWidth + 4));
    found->history = payload(record_.bytes(kWidth + 5));
    found->chunks = static_cast<std::uint32_t>(record_.number(kWidth + 6));
    found->crash = payload(record_.bytes(kWidth + 7));
  }
  record_.reset();
  return found;
}

}  // namespace bulkhead::journal
