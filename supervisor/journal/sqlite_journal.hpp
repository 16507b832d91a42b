// The journal on the disk: what the loop's thread keeps of it.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "supervisor/journal/operation.hpp"
#include "supervisor/journal/reader.hpp"
#include "supervisor/journal/state_directory.hpp"
#include "supervisor/journal/store.hpp"
#include "supervisor/journal/tables.hpp"
#include "supervisor/journal/writer.hpp"

namespace bulkhead::journal {

class SqliteJournal final : public Store {
 public:
  /// Takes the state directory, brings the file's format up to date and reads what is open. Throws as open() does.
  SqliteJournal(Options options, std::function<void()> wake);

  void accept(const Job& job, Written written) override;
  void start(const Job& job, RunNumber run, int attempt, std::string_view worker_id, std::int64_t started_ms,
             Written written) override;
  void requeue(const Job& job, RunNumber run, bool counted) override;
  void cancelling(const Job& job, RunNumber run) override;
  void history(const Job& job, const Payload& attempts, int attempt, Payload record, Written written) override;
  void finish(const Job& job, const Outcome& outcome, Written written) override;
  void settle(const Job& job) override;
  void chunk(const Job& job, RunNumber run, std::uint32_t number, Payload chunk, Written written) override;
  void progress(const Job& job, Payload progress) override;
  void checkpoint(const Job& job, RunNumber run, Payload data, Written written) override;
  void lookup(std::string_view id, std::function<void(std::optional<Remembered>)> found) override;
  void lookup_unsettled(std::string_view id, std::function<void(std::optional<Remembered>)> found) override;
  void dead_letters(std::size_t most, std::function<void(std::vector<DeadLetter>)> found) override;
  void dead_letter(std::string_view id, std::function<void(std::optional<DeadLetter>)> found) override;
  void drop_dead(std::string_view id) override;
  void suspect(const Suspect& suspect) override;
  void clear_suspects() override;
  std::vector<Suspect> suspects() override { return std::exchange(suspects_, {}); }
  void forget(std::string_view id) override;
  void after_writes(std::function<void()> done) override;
  std::size_t backlog() const override { return backlog_; }

  std::size_t poll() override;
  std::vector<Recovered> recover() override;
  RunNumber next_run() const override { return next_run_; }
  std::string_view unreadable() const override { return unreadable_; }
  void chunks(std::string_view id, std::uint32_t from, std::size_t max_bytes,
              std::function<void(std::vector<StoredChunk>)> found) override;
  void unread(std::string_view id, std::uint32_t after, std::size_t max_bytes,
              std::function<void(std::vector<StoredChunk>)> found) override;
  void polled(std::string_view id, std::uint32_t number) override;
  void lookup_key(std::string_view key, std::function<void(std::optional<std::string>)> found) override;
  void expire(std::string_view id, std::int64_t at_ms) override;
  void jobs(JobsQuery query, std::function<void(JobsPage)> found) override;
  void record(std::string_view id, std::size_t most, std::function<void(std::optional<JobRecord>)> found) override;
  Health health() const override { return health_; }
  Figures figures() const override;

  /// Transactions so far: what group commit saves is operations less commits.
  std::uint64_t commits() const { return writer_->commits(); }

 private:
  /// A job between acceptance and settlement.
  struct Live {
    JobKey key = 0;
    RunNumber run = 0;            ///< under way, 0 if none
    std::int64_t expires_ms = 0;  ///< once finished
    std::uint8_t attached = 0;
    bool finished = false;
    bool drop_input = false;  ///< it completed: no retry will want its input
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  void open_file();
  Live* live(const Job& job);
  /// Why `run` may not write now; nothing if it may.
  std::error_code refusal(const Live* live, RunNumber run) const;
  void push(Operation operation, std::size_t bytes);
  void look_up(std::string_view id, std::int64_t now_ms, std::function<void(std::optional<Remembered>)> found);
  void ask_chunks(Reader::Query::Kind kind, std::string_view id, std::uint32_t from, std::size_t max_bytes,
                  std::function<void(std::vector<StoredChunk>)> callback);
  void complete(Operation& operation, bool kept);
  void notify();

  /// An outcome that was reported but that the disk has not taken yet: lookup answers from here.
  struct Unsaved {
    JobKey key = 0;
    Outcome outcome;
    std::int64_t expires_ms = 0;
  };
  static std::optional<Remembered> remembered(Reader::Query& query, const std::optional<Unsaved>& unsaved);

  Options options_;
  std::function<void()> wake_;
  std::atomic<bool> woken_{false};
  StateDirectory directory_;
  RunNumber next_run_ = 1;
  JobKey next_key_ = 1;
  std::vector<Recovered> recovered_;
  std::vector<Suspect> suspects_;
  std::unordered_map<std::string, Live, Hash, std::equal_to<>> live_;
  std::map<std::string, Unsaved, std::less<>> unsaved_;
  std::string unreadable_;                           ///< while a read that failed is answered
  std::multiset<std::string, std::less<>> dropped_;  ///< dead letters that the disk may still have
  std::size_t backlog_ = 0, backlog_bytes_ = 0;
  Health health_;

  std::optional<Reader> reader_;
  std::optional<Writer> writer_;  // last: it is the first to end, and its connections the ones that write
};

}  // namespace bulkhead::journal
