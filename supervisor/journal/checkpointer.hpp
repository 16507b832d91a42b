// Moves pages from the write-ahead log into the database, beside the commits.

#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "supervisor/journal/sqlite.hpp"

namespace bulkhead::journal {

/// A thread with a connection of its own. SQLite lets one connection copy the log back while another appends to it, so
/// the slow part of a checkpoint (writing scattered pages, syncing the database file) holds up no commit. What was
/// appended meanwhile is left for the writer, which then has little to do.
class Checkpointer {
 public:
  /// `done` is called on this thread after each pass. What it could not do is left for the writer too, who reports
  /// failures.
  Checkpointer(Connection connection, std::function<void()> done);
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  /// Asks for one pass. Any thread.
  void request();

 private:
  void run();

  Connection connection_;
  std::function<void()> done_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  bool requested_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace bulkhead::journal
