// Looks things up without holding up the loop or the writer.

#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "supervisor/journal/sqlite.hpp"
#include "supervisor/journal/tables.hpp"

namespace bulkhead::journal {

/// A thread with a connection of its own. In WAL mode a reader sees the last commit at the moment it begins and neither
/// waits for the writer nor makes it wait.
class Reader {
 public:
  /// A question about one job. It comes back with its answer.
  struct Query {
    enum class Kind : std::uint8_t { Job, Chunks, Unread, IdempotencyKey, DeadLetters, DeadLetter, Listing, Record };
    Kind kind = Kind::Job;
    std::string id;           ///< or the idempotency key
    std::int64_t now_ms = 0;  ///< what has expired by then is not found
    std::uint32_t from = 0;
    std::size_t max_bytes = 0;  ///< or, of dead letters, how many
    std::function<void(Query&)> answered;

    std::optional<Queries::Found> found;
    std::vector<StoredChunk> chunks;
    std::optional<std::string> found_id;
    std::vector<bulkhead::DeadLetter> letters;
    JobsQuery wanted;
    JobsPage page;
    std::optional<JobRecord> record;
    std::error_code error;
    std::string error_text;
  };

  /// `notify` is called on the reader's thread when there is something to collect.
  Reader(Connection connection, std::function<void()> notify);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void ask(Query query);
  std::vector<Query> collect();

 private:
  void run();
  void answer(Query& query);

  Connection connection_;
  Queries queries_;
  std::function<void()> notify_;
  std::mutex mutex_;
  std::condition_variable asked_;
  std::vector<Query> questions_, answers_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace bulkhead::journal
