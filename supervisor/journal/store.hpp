// The journal as the composition root sees it: what it is told at start, and what it offers beyond the core's port.
// The format, the invariants and the rules of recovery are in docs/JOURNAL.md.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "supervisor/job/histogram.hpp"
#include "supervisor/job/listing.hpp"
#include "supervisor/job/ports.hpp"

namespace bulkhead::journal {

/// What the answer "accepted" (and every other completed write) is worth.
enum class Durability : std::uint8_t {
  Full,     ///< on the disk: survives the loss of the process, of the machine, of power
  Relaxed,  ///< with the kernel: survives the loss of the process; a power cut may take the last seconds back
  Memory,   ///< nothing is written: a restarted supervisor knows no jobs
};

struct Options {
  std::filesystem::path directory;  ///< the state directory; created with mode 0700. Not used by Durability::Memory
  Durability durability = Durability::Full;

  milliseconds retention{30 * 60'000};  ///< how long a finished job is remembered, from its end
  milliseconds sync_retention{60'000};  ///< the same, of a job that came by runsync

  /// Bytes of jobs and results in the file beyond which new jobs are refused (Fault::SizeLimit); 0: no limit. What is
  /// known of accepted jobs is still written.
  std::uint64_t max_bytes = std::uint64_t{8} << 30;
  /// The same of Durability::Memory: bytes of remembered jobs and results; beyond them the oldest are forgotten.
  std::uint64_t max_bytes_in_memory = std::uint64_t{512} << 20;
  /// Dead letters beyond this number, or older than that, are forgotten.
  std::size_t dead_max = 1'000;
  milliseconds dead_ttl{std::int64_t{30} * 86'400'000};
  /// Writes, and bytes of payloads in them, that may wait for the disk before new jobs are refused (Fault::QueueFull).
  std::size_t max_backlog = 65'536;
  std::size_t max_backlog_bytes = std::size_t{256} << 20;

  /// Pages (of 4 KiB) of write-ahead log beyond which it is copied back into the database while work goes on.
  int log_pages = 2048;

  /// Wall time in milliseconds since the epoch, for expiry; any thread calls it. Empty: the system's clock.
  std::function<std::int64_t()> wall_ms;
  const char* vfs = nullptr;  ///< a registered SQLite VFS to go through; for tests
};

/// Whether the journal can write at this time. While it cannot, it tries again by itself (after 50 ms, then ever more
/// seldom, at least every 2 s) and says so here when it can.
struct Health {
  bool writable = true;
  std::error_code error;    ///< of the last failure; empty if there was none yet
  std::string text;         ///< that failure in words, fit for an operator and for the reason of a 503
  std::size_t unsaved = 0;  ///< writes kept in memory until the disk takes them, finished results among them
};

/// What writing costs, for onlookers.
struct Figures {
  bool kept = false;        ///< there is a file
  std::uint64_t bytes = 0;  ///< of the file and its log
  Histogram commits;        ///< of one transaction, from its beginning until it was as durable as configured
};

inline constexpr std::uint32_t kMaxChunks = (1u << 24) - 1;  ///< the highest chunk number of a job

/// A Journal with what its owner needs besides. One thread, the event loop's, makes all calls.
///
/// The promises behind the port:
///  - Writes become durable in the order of the calls. Callbacks run in poll(), in that order too; a refusal that
///    needs no disk is called back at once.
///  - accept: the id must be new. It may be that of a remembered job that did not complete (a retry: the new life
///    replaces the old one in one step); else Fault::Duplicate. An idempotency key must be new as well, whatever became
///    of the job that had it before (Fault::DuplicateKey), until that is forgotten.
///  - finish: the first outcome counts, a second is ignored and reported like the first. An error says that the result is
///    not safe *yet*: the journal keeps it and goes on trying. It may be delivered meanwhile.
///  - start, chunk, checkpoint: an error means that it was not written and will not be.
///  - requeue, settle, forget, progress: reported by nobody, kept like a finish while the disk refuses (progress is not).
///  - polled: likewise, but dropped while the disk refuses, as progress is.
///  - lookup sees every finish that was called back.
class Store : public Journal {
 public:
  /// Runs the callbacks of what has been done since. Returns how many writes and lookups that were.
  virtual std::size_t poll() = 0;
  /// Every job that is not settled, in order of acceptance. What was read at open is handed over: once.
  virtual std::vector<Recovered> recover() = 0;
  /// The suspects that were known at open.
  virtual std::vector<Suspect> suspects() { return {}; }
  /// The first run number that no attempt in this state directory has ever had; count up from it.
  virtual RunNumber next_run() const = 0;
  /// The id of the live or remembered job that was accepted under an idempotency key. Sees every acceptance that was
  /// called back.
  virtual void lookup_key(std::string_view key, std::function<void(std::optional<std::string>)> found) = 0;
  /// Ends a finished job's retention at `at_ms` (wall time) if that is earlier than it would end.
  virtual void expire(std::string_view id, std::int64_t at_ms) = 0;
  /// Live jobs and those that are remembered, by order of acceptance, as far as the file has them. Looks at so many for one
  /// page that nobody waits long for it: an empty one is not the end where it has a `before`.
  virtual void jobs(JobsQuery query, std::function<void(JobsPage)> found) = 0;
  /// One of them with all that is kept of it; of an input of more than `most` bytes the size only.
  virtual void record(std::string_view id, std::size_t most, std::function<void(std::optional<JobRecord>)> found) = 0;
  virtual Health health() const = 0;
  virtual Figures figures() const { return {}; }
};

/// Opens the journal that `options` describe. `wake` is called, from another thread, when there is something to poll();
/// once, until poll() is called. Throws std::system_error with a text for the operator: the directory is in use (Fault::
/// InUse), the journal is from a newer version (Fault::TooNew), the disk fails.
///
/// Destroying the store writes what is queued, waits for it, and runs no callbacks.
std::unique_ptr<Store> open(Options options, std::function<void()> wake);

}  // namespace bulkhead::journal
