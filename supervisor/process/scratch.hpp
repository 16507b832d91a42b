// Private scratch directories, one per child, and their removal.
//
// A child's directory is taken from its place at once (by a rename), so that its successor starts clean however much
// the old one wrote; what it holds is deleted on a thread of its own. Deletion follows no link, crosses no mount
// (what was mounted there stays, and is reported), is not stopped by directories without permissions, and uses a
// bounded number of descriptors however deep the tree is.

#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace bulkhead::process {

/// The variable beside TMPDIR that names a child's scratch directory.
inline constexpr char kScratchVariable[] = "BULKHEAD_SCRATCH";

class ScratchRoot;

/// Owns one directory: discarded when this ends. The ScratchRoot outlives it.
class Scratch {
 public:
  Scratch() = default;
  Scratch(Scratch&& other) noexcept;
  Scratch& operator=(Scratch&& other) noexcept;
  ~Scratch() { discard(); }

  const std::string& path() const { return path_; }

  /// Moves the directory out of the way at once; its contents are deleted soon. Never throws: what cannot be moved is
  /// counted in ScratchRoot::Figures and swept at the next start.
  void discard() noexcept;

 private:
  friend class ScratchRoot;
  Scratch(ScratchRoot* root, std::string path, std::string name);
  ScratchRoot* root_ = nullptr;
  std::string path_;
  std::string name_;
};

class ScratchRoot {
 public:
  struct Figures {
    std::uint64_t waiting = 0;  ///< directories moved away and not yet deleted
    std::uint64_t deleted = 0;  ///< directories deleted with all they held
    std::uint64_t failed = 0;   ///< directories of which something could not be deleted
    std::string last_failure;   ///< "could not remove …/x: Device or resource busy"
  };

  /// Makes `runtime_dir`/scratch and `runtime_dir`/trash (0700) and sweeps what a dead supervisor left in both, in the
  /// background, those in `kept` apart: whoever lives there still does. One ScratchRoot per runtime directory at a time.
  /// Throws std::system_error.
  explicit ScratchRoot(const std::filesystem::path& runtime_dir, const std::set<std::string>& kept = {});
  /// Goes on deleting for at most kLastWork, then leaves the rest for the next start.
  ~ScratchRoot();
  ScratchRoot(const ScratchRoot&) = delete;
  ScratchRoot& operator=(const ScratchRoot&) = delete;

  static constexpr std::chrono::seconds kLastWork{5};

  /// A new, empty directory (0700) whose name begins with `name` (a worker's id). Throws std::system_error.
  Scratch make(std::string_view name);

  /// The one that was kept under this name.
  Scratch take_up(std::string_view name);

  /// Waits until all that was discarded is deleted (or could not be); false if `limit` passed first.
  bool wait_until_clean(std::chrono::milliseconds limit);
  Figures figures() const;

 private:
  friend class Scratch;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bulkhead::process
