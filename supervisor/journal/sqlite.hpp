// The thinnest skin over sqlite3: lifetimes and errors. A connection and its statements belong to one thread at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

struct sqlite3;
struct sqlite3_stmt;

namespace bulkhead::journal {

/// An open database file. Every failure throws std::system_error with a code of sqlite_category() and a text that names
/// the operation.
class Connection {
 public:
  /// The file must exist (an empty one is an empty database): whoever creates it decides its permissions.
  /// `vfs` names the layer that does the input and output; null is the system's.
  explicit Connection(const std::string& path, const char* vfs = nullptr);

  void execute(const char* sql);
  /// The first column of the first row; 0 when there is none.
  std::int64_t number(const char* sql);
  std::string text(const char* sql);

  bool in_transaction() const;
  /// Rows that the last INSERT, UPDATE or DELETE touched.
  int changes() const;

  sqlite3* raw() const { return db_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  std::unique_ptr<sqlite3, Close> db_;
};

/// The errno of the last call that failed on one of the connection's files; 0 when none is known.
int system_error(sqlite3* db);

/// Throws the connection's last error as std::system_error: "`operation`: reason".
[[noreturn]] void throw_sqlite(sqlite3* db, int code, const std::string& operation);

/// Writes `bytes` over the blob of as many bytes in a table's row, within the transaction. Unlike a bound blob, whose row
/// SQLite assembles in memory first, it takes no memory but the page cache's.
void put_blob(Connection& connection, const char* table, const char* column, std::int64_t row, std::string_view bytes);

/// A prepared statement, used again and again. Bound text and blobs are not copied: they must live until reset().
class Statement {
 public:
  Statement(Connection& connection, std::string_view sql);

  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, std::string_view value);
  /// Empty bytes are bound as NULL: an empty Payload means "none".
  Statement& bind_blob(int index, std::string_view bytes);
  /// A blob of `size` zeros that nobody has to hold: put_blob() writes over it. Only as a row's last column.
  Statement& bind_room(int index, std::size_t size);

  /// True: there is a row to read. False, at the end, and after a failure, which throws, the statement is reset.
  bool step();
  /// Runs to the end, with no row of interest.
  void run();
  /// Like run(), but a violated constraint is an answer: false.
  bool run_unless_constrained();
  void reset();

  std::int64_t number(int column) const;
  bool is_null(int column) const;
  /// Text or blob; valid until the next step() or reset().
  std::string_view bytes(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  [[noreturn]] void fail(int code);

  sqlite3* db_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

}  // namespace bulkhead::journal
