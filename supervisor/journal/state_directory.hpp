// The directory in which a supervisor keeps what must outlive it.

#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace bulkhead::journal {

/// Where the state directory is when nobody says so: the first entry of $STATE_DIRECTORY (systemd sets it), else
/// $XDG_STATE_HOME/bulkhead, else $HOME/.local/state/bulkhead, else /var/lib/bulkhead.
std::filesystem::path default_state_directory();

/// Opens (creates) the directory and holds it for this process until destruction.
///
/// What it creates is for the owner alone: 0700, files 0600. A directory that exists keeps its mode; one that others may
/// write into is refused, because they could put another journal in place of ours.
///
/// The hold is an flock on the file `lock`, which carries the holder's pid; the kernel lets go of it when the holder
/// dies, however it dies. The descriptor is close-on-exec, so no child keeps it.
class StateDirectory {
 public:
  /// Throws std::system_error: Fault::InUse with the holder's pid, Fault::Unsafe, or what the system said.
  explicit StateDirectory(std::filesystem::path path);
  ~StateDirectory();
  StateDirectory(const StateDirectory&) = delete;
  StateDirectory& operator=(const StateDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Makes sure that `name` exists there as a regular file of ours with mode 0600 (empty if new), and that its entry
  /// is on the disk. True if it is new.
  bool ensure_file(const std::string& name) const;

 private:
  void open_directory();
  void lock();

  std::filesystem::path path_;
  int directory_ = -1;
  int lock_ = -1;
};

}  // namespace bulkhead::journal
