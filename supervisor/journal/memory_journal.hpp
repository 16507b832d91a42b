// The journal that writes nothing down.

#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "supervisor/journal/store.hpp"

namespace bulkhead::journal {

/// Durability::Memory: every write completes at once, inside the call, and nothing outlives the process. Finished jobs and
/// streamed chunks are remembered as on the disk, within Options::max_bytes_in_memory: beyond it the finished jobs that
/// would expire first are forgotten early. Checkpoints and progress are not kept: only a restart would ask for them.
class MemoryJournal final : public Store {
 public:
  /// What a remembered job takes beside its payloads, about: measured as 1.2 KB of resident memory a job, before what is
  /// listed of it came to that.
  static constexpr std::size_t kRecordBytes = 1'400;

  explicit MemoryJournal(Options options);

  void accept(const Job& job, Written written) override;
  void start(const Job& job, RunNumber run, int attempt, std::string_view worker_id, std::int64_t started_ms,
             Written written) override;
  void requeue(const Job& job, RunNumber run, bool counted) override;
  void history(const Job& job, const Payload& attempts, int attempt, Payload record, Written written) override;
  void finish(const Job& job, const Outcome& outcome, Written written) override;
  void settle(const Job& job) override;
  void chunk(const Job& job, RunNumber run, std::uint32_t number, Payload chunk, Written written) override;
  void progress(const Job&, Payload) override {}
  void checkpoint(const Job& job, RunNumber run, Payload data, Written written) override;
  void lookup(std::string_view id, std::function<void(std::optional<Remembered>)> found) override;
  void lookup_unsettled(std::string_view id, std::function<void(std::optional<Remembered>)> found) override;
  void dead_letters(std::size_t most, std::function<void(std::vector<DeadLetter>)> found) override;
  void dead_letter(std::string_view id, std::function<void(std::optional<DeadLetter>)> found) override;
  void drop_dead(std::string_view id) override;
  void forget(std::string_view id) override;
  std::size_t backlog() const override { return 0; }

  std::size_t poll() override { return 0; }
  std::vector<Recovered> recover() override { return {}; }
  /// Counts from the wall clock, so that a child of a predecessor in the same place never meets its own number.
  RunNumber next_run() const override { return next_run_; }
  void chunks(std::string_view id, std::uint32_t from, std::size_t max_bytes,
              std::function<void(std::vector<StoredChunk>)> found) override;
  void unread(std::string_view id, std::uint32_t after, std::size_t max_bytes,
              std::function<void(std::vector<StoredChunk>)> found) override;
  void polled(std::string_view id, std::uint32_t number) override;
  void lookup_key(std::string_view key, std::function<void(std::optional<std::string>)> found) override;
  void expire(std::string_view id, std::int64_t at_ms) override;
  void jobs(JobsQuery query, std::function<void(JobsPage)> found) override;
  void record(std::string_view id, std::size_t most, std::function<void(std::optional<JobRecord>)> found) override;
  Health health() const override { return {}; }

 private:
  struct Record {
    RunNumber run = 0;
    std::int64_t born = 0;  ///< counts up
    // Of a job that lives:
    std::int64_t submitted_ms = 0, started_ms = 0;
    int attempts = 0;
    std::string worker_id;
    Payload input, history;
    std::string idempotency_key;
    std::optional<Remembered> remembered;  ///< once finished
    std::int64_t expires_ms = 0;
    std::map<std::uint32_t, Payload> chunks;
    std::uint32_t polled = 0;
    std::vector<Payload> crashes;  ///< records
    std::size_t bytes = 0;         ///< of what is kept
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Records = std::unordered_map<std::string, Record, Hash, std::equal_to<>>;

  Record* find(std::string_view id);
  Record* live(const Job& job);
  /// Lets go of what a record that is about to be erased takes elsewhere.
  void release(const Record& record);
  void erase_settled(Records::iterator place);
  bool is_known(const Record& record) const;
  ListedJob listed(const std::string& id, const Record& record) const;
  /// Puts a settled job into the order of expiry, or takes it out.
  void list(const std::string& id, const Record& record);
  void unlist(const std::string& id, const Record& record);
  void trim_dead();
  /// Forgets what has expired, and what stands in the way of `room` further bytes.
  void trim(std::size_t room = 0);

  Options options_;
  RunNumber next_run_;
  Records live_;     ///< accepted and not settled: few, so that the writes of a job's life find it in the CPU's cache
  Records settled_;  ///< remembered
  std::map<std::int64_t, const Records::value_type*> by_age_;  ///< all of them: their place in memory never changes
  std::int64_t born_ = 0;
  std::map<std::string, std::string, std::less<>> ids_;  ///< by idempotency key
  std::deque<DeadLetter> dead_;                          ///< oldest first
  std::size_t dead_bytes_ = 0;
  std::multimap<std::int64_t, const std::string*> expiry_;  ///< settled jobs; the ids are those in settled_
  std::size_t bytes_ = 0;
};

}  // namespace bulkhead::journal
