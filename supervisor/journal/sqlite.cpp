// Connections, statements, blobs written in place, and what a failure is called. SQLite tells of failures by a code, a text
// and, somewhere, the errno behind them; here they become one std::system_error. Where the errno says what a person can do
// something about (a full disk, a read-only one), its code says so too.

#include "supervisor/journal/sqlite.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>

#include "supervisor/journal/error.hpp"

namespace bulkhead::journal {

// A commit's failure is noted with the log's file alone.
int system_error(sqlite3* db) {
  if (int number = sqlite3_system_errno(db); number != 0) return number;
  sqlite3_file* log = nullptr;
  int number = 0;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&log)) == SQLITE_OK &&
      log != nullptr && log->pMethods != nullptr) {
    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &number);
  }
  return number;
}

void throw_sqlite(sqlite3* db, int code, const std::string& operation) {
  std::string text = operation;
  if (db != nullptr) {
    code = sqlite3_extended_errcode(db);
    if (std::string detail = sqlite3_errmsg(db); detail != sqlite3_errstr(code)) text += ": " + detail;
    if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN) {
      int system = system_error(db);
      if (system != 0) text += std::string(" (") + std::strerror(system) + ")";
      // What a person can do something about is named as that, whichever call it befell.
      if (system == EROFS) code = SQLITE_READONLY;
      if (system == ENOSPC || system == EDQUOT) code = SQLITE_FULL;
    }
  }
  throw std::system_error(std::error_code(code, sqlite_category()), text);
}

/// The start of a statement, enough to know it by.
static std::string abridged(std::string_view sql) {
  sql = sql.substr(sql.find_first_not_of(" \n"));
  return std::string(sql.substr(0, 40)) + (sql.size() > 40 ? "…" : "");
}

void Connection::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }

Connection::Connection(const std::string& path, const char* vfs) {
  sqlite3* db = nullptr;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  int code = sqlite3_open_v2(path.c_str(), &db, flags, vfs);
  db_.reset(db);
  if (code != SQLITE_OK) throw_sqlite(db, code, "opening " + path);
  // Our own connections wait for one another only in rare, short cases; the rest is for a person with a database shell.
  sqlite3_busy_timeout(db, 10'000);
}

void Connection::execute(const char* sql) {
  if (int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr); code != SQLITE_OK) {
    throw_sqlite(db_.get(), code, abridged(sql));
  }
}

std::int64_t Connection::number(const char* sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.number(0) : 0;
}

std::string Connection::text(const char* sql) {
  Statement statement(*this, sql);
  return statement.step() ? std::string(statement.bytes(0)) : std::string();
}

int Connection::changes() const { return sqlite3_changes(db_.get()); }

void put_blob(Connection& connection, const char* table, const char* column, std::int64_t row, std::string_view bytes) {
  sqlite3_blob* blob = nullptr;
  int code = sqlite3_blob_open(connection.raw(), "main", table, column, row, 1, &blob);
  if (code == SQLITE_OK) code = sqlite3_blob_write(blob, bytes.data(), static_cast<int>(bytes.size()), 0);
  int closed = sqlite3_blob_close(blob);
  if (code == SQLITE_OK) code = closed;
  if (code != SQLITE_OK) throw_sqlite(connection.raw(), code, std::string("writing ") + table + "." + column);
}

bool Connection::in_transaction() const { return sqlite3_get_autocommit(db_.get()) == 0; }

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Statement::Statement(Connection& connection, std::string_view sql) : db_(connection.raw()) {
  sqlite3_stmt* statement = nullptr;
  int code =
      sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  statement_.reset(statement);
  if (code != SQLITE_OK) throw_sqlite(db_, code, abridged(sql));
}

Statement& Statement::bind(int index, std::int64_t value) {
  if (int code = sqlite3_bind_int64(statement_.get(), index, value); code != SQLITE_OK) fail(code);
  return *this;
}

Statement& Statement::bind(int index, std::string_view value) {
  const char* data = value.data() != nullptr ? value.data() : "";
  int code = sqlite3_bind_text64(statement_.get(), index, data, value.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) fail(code);
  return *this;
}

Statement& Statement::bind_blob(int index, std::string_view bytes) {
  int code = bytes.empty() ? sqlite3_bind_null(statement_.get(), index)
                           : sqlite3_bind_blob64(statement_.get(), index, bytes.data(), bytes.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) fail(code);
  return *this;
}

Statement& Statement::bind_room(int index, std::size_t size) {
  if (int code = sqlite3_bind_zeroblob64(statement_.get(), index, size); code != SQLITE_OK) fail(code);
  return *this;
}

bool Statement::step() {
  int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) fail(code);
  reset();
  return false;
}

void Statement::run() {
  while (step()) {
  }
}

bool Statement::run_unless_constrained() {
  int code = sqlite3_step(statement_.get());
  if (code != SQLITE_DONE && (code & 0xff) != SQLITE_CONSTRAINT) fail(code);
  reset();
  return code == SQLITE_DONE;
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

void Statement::fail(int code) {
  try {
    throw_sqlite(db_, code, abridged(sqlite3_sql(statement_.get())));
  } catch (...) {
    reset();
    throw;
  }
}

std::int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_.get(), column); }

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

std::string_view Statement::bytes(int column) const {
  auto* data = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  if (data == nullptr) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

}  // namespace bulkhead::journal
