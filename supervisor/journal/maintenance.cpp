// Readers like any other: a supervisor that runs neither waits for them nor makes them wait, for its log keeps the version
// they read. All that is asked of one journal is asked in one transaction, so that the answers go together.

#include "supervisor/journal/maintenance.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "supervisor/journal/error.hpp"
#include "supervisor/journal/schema.hpp"
#include "supervisor/journal/sqlite.hpp"

namespace bulkhead::journal {
namespace {

/// A journal of a version that this program knows.
Connection open_journal(const std::filesystem::path& file) {
  Connection connection(file.string());
  connection.execute("PRAGMA query_only = ON");
  const auto version = connection.number("PRAGMA user_version");
  if (connection.number("PRAGMA application_id") != kApplicationId || version == 0)
    throw std::system_error(Fault::NotAJournal, file.string());
  if (version > static_cast<std::int64_t>(schema_steps().size()))
    throw std::system_error(Fault::TooNew, file.string() + " has format version " + std::to_string(version) +
                                               ", this program knows versions up to " +
                                               std::to_string(schema_steps().size()));
  return connection;
}

bool has_table(Connection& connection, const char* name) {
  return connection.number(("SELECT count(*) FROM sqlite_schema WHERE name = '" + std::string(name) + "'").c_str()) > 0;
}

std::uintmax_t bytes_of(const std::filesystem::path& file) {
  std::error_code none;
  const auto bytes = std::filesystem::file_size(file, none);
  return none ? 0 : bytes;
}

class Lines {
 public:
  void add(const std::string& name, std::int64_t number) { add_text(name, std::to_string(number)); }
  void add_text(const std::string& name, const std::string& json) {
    text_ += (text_.empty() ? "{\n  \"" : ",\n  \"") + name + "\": " + json;
  }
  std::string text() const { return text_ + "\n}\n"; }

 private:
  std::string text_;
};

/// What no row may show; each finds the job it is about. Only where all of its tables are there.
struct Invariant {
  const char* says;
  std::array<const char*, 3> tables;
  const char* sql;
};

constexpr Invariant kInvariants[] = {
    {"an open job has no row of its own",
     {"open", "jobs"},
     "SELECT key FROM open WHERE key NOT IN (SELECT key FROM jobs)"},
    {"an outcome belongs to no job",
     {"outcomes", "jobs"},
     "SELECT key FROM outcomes WHERE key NOT IN (SELECT key FROM jobs)"},
    {"a job is neither open nor finished",
     {"jobs", "open", "outcomes"},
     "SELECT key FROM jobs WHERE key NOT IN (SELECT key FROM open) AND key NOT IN (SELECT key FROM outcomes)"},
    {"an outcome has a status that is none", {"outcomes"}, "SELECT key FROM outcomes WHERE status NOT BETWEEN 2 AND 5"},
    {"a job was handed out without an attempt", {"open"}, "SELECT key FROM open WHERE run <> 0 AND attempts < 1"},
    {"a run has a number that was not reserved",
     {"open", "meta"},
     "SELECT key FROM open WHERE run >= (SELECT value FROM meta WHERE name = 'next_run')"},
    {"a checkpoint belongs to no job that goes on",
     {"checkpoints", "open", "outcomes"},
     "SELECT key FROM checkpoints WHERE key NOT IN (SELECT key FROM open) OR key IN (SELECT key FROM outcomes)"},
    {"further keys of a request outlived their job",
     {"extras", "open", "outcomes"},
     "SELECT key FROM extras WHERE key NOT IN (SELECT key FROM open) OR key IN (SELECT key FROM outcomes)"},
    {"a chunk belongs to no job",
     {"chunks", "jobs"},
     "SELECT DISTINCT slot / 16777216 FROM chunks WHERE slot / 16777216 NOT IN (SELECT key FROM jobs)"},
    {"a policy belongs to no job",
     {"policies", "jobs"},
     "SELECT key FROM policies WHERE key NOT IN (SELECT key FROM jobs)"},
    {"a history belongs to no job",
     {"histories", "jobs"},
     "SELECT key FROM histories WHERE key NOT IN (SELECT key FROM jobs)"},
    {"a crash record belongs to no job and no dead letter",
     {"crashes", "jobs", "dead"},
     "SELECT DISTINCT slot / 65536 FROM crashes WHERE slot / 65536 NOT IN (SELECT key FROM jobs) "
     "AND slot / 65536 NOT IN (SELECT key FROM dead)"},
};

void check(Connection& connection, const Invariant& invariant, std::vector<std::string>& faults) {
  for (const char* table : invariant.tables)
    if (table != nullptr && !has_table(connection, table)) return;
  Statement row(connection, invariant.sql);
  while (faults.size() < kMostFaults && row.step())
    faults.push_back(std::string(invariant.says) + " (key " + std::to_string(row.number(0)) + ")");
}

}  // namespace

int format_version(const std::filesystem::path& file) {
  std::error_code none;
  if (!std::filesystem::exists(file, none) || bytes_of(file) == 0) return 0;
  return static_cast<int>(open_journal(file).number("PRAGMA user_version"));
}

int newest_format() { return static_cast<int>(schema_steps().size()); }

std::string inspect(const std::filesystem::path& file, std::int64_t now_ms) {
  Connection connection = open_journal(file);
  connection.execute("BEGIN");
  Lines lines;
  const auto count = [&](const char* name, const char* sql) { lines.add(name, connection.number(sql)); };
  const auto age = [&](const char* name, const char* sql) {
    const auto at = connection.number(sql);
    if (at != 0) lines.add(name, now_ms - at);
  };
  lines.add("format_version", connection.number("PRAGMA user_version"));
  lines.add("bytes", static_cast<std::int64_t>(bytes_of(file)));
  lines.add("log_bytes", static_cast<std::int64_t>(bytes_of(file.string() + "-wal")));
  lines.add("free_bytes", connection.number("PRAGMA freelist_count") * connection.number("PRAGMA page_size"));
  count("jobs", "SELECT count(*) FROM jobs");
  count("waiting", "SELECT count(*) FROM open WHERE run = 0 AND key NOT IN (SELECT key FROM outcomes)");
  count("handed_out", "SELECT count(*) FROM open WHERE run <> 0 AND key NOT IN (SELECT key FROM outcomes)");
  count("finished_undelivered", "SELECT count(*) FROM open WHERE key IN (SELECT key FROM outcomes)");
  for (const auto& [name, status] : {std::pair{"completed", 2}, {"failed", 3}, {"cancelled", 4}, {"timed_out", 5}})
    lines.add(name,
              connection.number(("SELECT count(*) FROM outcomes WHERE status = " + std::to_string(status)).c_str()));
  age("oldest_open_ms", "SELECT min(j.submitted_ms) FROM open o JOIN jobs j ON j.key = o.key");
  age("oldest_outcome_ms", "SELECT min(finished_ms) FROM outcomes");
  count("input_bytes", "SELECT sum(length(input)) FROM jobs");
  count("output_bytes", "SELECT sum(length(output)) FROM outcomes");
  count("checkpoints", "SELECT count(*) FROM checkpoints");
  count("checkpoint_bytes", "SELECT sum(length(data)) FROM checkpoints");
  count("chunks", "SELECT count(*) FROM chunks");
  if (has_table(connection, "dead")) {
    count("dead_letters", "SELECT count(*) FROM dead");
    age("oldest_dead_letter_ms", "SELECT min(died_ms) FROM dead");
    count("suspects", "SELECT count(*) FROM suspects");
  }
  count("next_run", "SELECT value FROM meta WHERE name = 'next_run'");
  connection.execute("COMMIT");
  return lines.text();
}

std::vector<std::string> verify(const std::filesystem::path& file) {
  Connection connection = open_journal(file);
  std::vector<std::string> faults;
  connection.execute("BEGIN");
  {
    Statement row(connection, "PRAGMA integrity_check(100)");
    while (row.step())
      if (row.bytes(0) != "ok") faults.push_back("the database is damaged: " + std::string(row.bytes(0)));
  }
  for (const Invariant& invariant : kInvariants) check(connection, invariant, faults);
  connection.execute("COMMIT");
  return faults;
}

void back_up_to(const std::filesystem::path& file, const std::filesystem::path& target) {
  Connection source = open_journal(file);
  const int fd = ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "create " + target.string());
  ::close(fd);
  try {
    Connection copy(target.string());
    sqlite3_backup* backup = sqlite3_backup_init(copy.raw(), "main", source.raw(), "main");
    if (backup == nullptr) throw_sqlite(copy.raw(), SQLITE_ERROR, "copying to " + target.string());
    // In one step: it reads one version of the journal, however long it takes, and holds nobody up.
    const int code = sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
    if (code != SQLITE_DONE) throw_sqlite(copy.raw(), code, "copying to " + target.string());
    copy.execute("PRAGMA journal_mode = DELETE");
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(target, ignored);
    throw;
  }
}

}  // namespace bulkhead::journal
