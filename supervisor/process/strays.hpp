// Ends what a child started and left behind: the members of its process group and session, every process that carries
// its cookie in the environment (those that left the session), and whatever those have started.
//
// A process that left the session, lost its parent and wiped the cookie from its environment is found only where the
// child had a cgroup of its own (cgroups.hpp).
//
// A search does not read the whole process table. Every process whose parent died hangs under the nearest subreaper
// or PID 1, and these are among the supervisor's ancestors (or itself): so it is enough to look at the children of
// those that are younger than the child. Where the kernel does not list children, /proc is walked.

#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/process/cgroups.hpp"
#include "supervisor/process/launch.hpp"

namespace bulkhead::process {

struct Stray {
  pid_t pid = 0;
  std::string name;  ///< the kernel's name of it (comm)
};

struct StrayReport {
  std::size_t count = 0;         ///< how many were ended
  std::vector<Stray> ended;      ///< the first kNamed of them
  std::vector<Stray> survivors;  ///< killed, but not gone when the time was up (waiting in the kernel, most likely)
  std::chrono::microseconds took{0};

  static constexpr std::size_t kNamed = 16;
};

using StrayHandler = std::function<void(StrayReport)>;

/// Kills by SIGKILL, again and again until a search finds nothing or `limit` has passed, then calls `handler` from the
/// executor, never from within. The child must have ended and must not be reaped before; where it is, or is gone, the
/// handler is not called. `leaf`, if there is one, is kept until the child is reaped or gone.
void end_strays(asio::any_io_executor executor, const Child& child, std::string cookie, std::chrono::milliseconds limit,
                StrayHandler handler, const CgroupLeaf* leaf = nullptr);

/// Where to look: under the processes that take in orphans, as far as the kernel lists children, or at all there are.
enum class Search : unsigned char { BelowReapers, Everywhere };

/// The processes that end_strays would find now.
std::vector<Stray> find_strays(const Child& child, std::string_view cookie, Search search = Search::BelowReapers);

/// At the start of a supervisor: ends every process whose cookie begins with `prefix`, its own ancestors and itself
/// apart, and those that are spared. Blocks until they are gone, or `limit` has passed. Walks all of /proc.
struct Spared {
  std::set<std::string, std::less<>> cookies;
  std::set<pid_t> processes;  ///< with all below them
};
StrayReport end_leftovers(std::string_view prefix, std::chrono::milliseconds limit, const Spared& spared = {});

/// The prefix of all cookies of a state directory: a random word kept in its file `cookie`, made when it is not there.
/// Whoever calls holds the directory's lock. Throws std::system_error.
std::string cookie_prefix(const std::filesystem::path& state_dir);
/// A cookie for one child: the prefix and a random part.
std::string make_cookie(std::string_view prefix);

}  // namespace bulkhead::process
