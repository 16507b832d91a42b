// A layer under SQLite that fails on demand: disks that fill up, break, turn read-only, or lose power.

#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace bulkhead::journal::testing {

/// Registers itself as a SQLite VFS that passes everything on to the system's, under a name of its own; journals that use
/// it must be gone before it is. Thread-safe.
class FaultVfs {
 public:
  FaultVfs();
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  const char* name() const { return name_.c_str(); }

  enum class Mode { Good, Full, ReadOnly, BadWrite, BadSync, Dead };
  /// What writes (and syncs) answer from now on. Dead: everything fails, reads too.
  void set_mode(Mode mode) { mode_ = mode; }

  /// Called before every operation that changes a file, with its number, counted from 1: the test may kill its process.
  std::function<void(std::uint64_t)> before_change;
  std::uint64_t changes() const { return changes_; }
  std::uint64_t syncs() const { return syncs_; }
  /// Makes each sync last, like a slow disk: called inside it. To be set, like before_change, before a journal is open.
  std::function<void()> in_sync;

  /// From now on remembers what each file looks like on the disk, and what was written since its last sync.
  void track() { tracking_ = true; }
  /// Goes Dead before change number `change`.
  void die_at(std::uint64_t change) { die_at_ = change; }
  /// After every journal has been closed: makes the files what a power cut at the moment of death may have left. Of what
  /// was not synced each write is lost, kept, or torn at sector boundaries, whatever its order.
  void cut_power(std::uint64_t seed);

 private:
  struct Pending {
    std::int64_t offset = 0;
    std::vector<char> bytes;
    std::optional<std::int64_t> truncate;
  };
  struct Image {
    bool durable_entry = false;  ///< its name is in the directory for good
    std::vector<char> durable;
    std::vector<Pending> pending;
  };
  struct File;
  friend struct Methods;

  int change(const std::string& path, Pending pending);
  void opened(const std::string& path);
  int synced(const std::string& path);

  std::string name_;
  sqlite3_vfs vfs_{};
  sqlite3_vfs* real_ = nullptr;
  std::atomic<Mode> mode_{Mode::Good};
  std::atomic<bool> tracking_{false};
  std::atomic<std::uint64_t> changes_{0}, syncs_{0}, die_at_{0};
  std::mutex mutex_;
  std::map<std::string, Image> images_;
};

}  // namespace bulkhead::journal::testing
