// Where sockets, black boxes and scratch directories live while a supervisor does.

#pragma once

#include <filesystem>

namespace bulkhead {

/// The directory for what belongs to the state directory `state` and need not survive a reboot: made if it is not there,
/// 0700, ours. The same state directory always gives the same one, so that a new supervisor finds what its predecessor
/// left. Short, because a Unix socket's path has 107 bytes.
///
/// Below $RUNTIME_DIRECTORY (set by systemd), else $XDG_RUNTIME_DIR/bulkhead, else /run/bulkhead where that may be
/// written, else /tmp/bulkhead-UID. Throws std::system_error, also where somebody else owns it or may write to it.
std::filesystem::path runtime_directory(const std::filesystem::path& state);

}  // namespace bulkhead
