// Deletes a directory with all it holds, whoever wrote it and whatever they did to it.

#pragma once

#include <atomic>
#include <string>

namespace bulkhead::process {

/// Follows no link, and enters nothing that is mounted below `name`. Directories that lack permissions get them. Uses
/// at most kDepth descriptors: what lies deeper is moved up into `top` first (a directory on the same file system),
/// under names that begin with a dot, and deleted there.
///
/// True if nothing is left. Otherwise `failure` says what could not be deleted, the first of it; all the rest is
/// gone. Returns early, false, once `stop` is set. ENOENT is success.
bool remove_tree(int top, const std::string& name, const std::atomic<bool>& stop, std::string& failure);

}  // namespace bulkhead::process
