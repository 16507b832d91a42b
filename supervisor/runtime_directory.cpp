#include "supervisor/runtime_directory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

namespace bulkhead {
namespace {

namespace fs = std::filesystem;

/// Makes the directory if it is not there; it must be a real directory of ours that nobody else may write to.
void claim(const fs::path& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    throw std::system_error(errno, std::generic_category(), "cannot make the runtime directory " + path.string());
  struct stat facts {};
  if (lstat(path.c_str(), &facts) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot look at the runtime directory " + path.string());
  if (!S_ISDIR(facts.st_mode) || facts.st_uid != geteuid() || (facts.st_mode & 0022) != 0)
    throw std::system_error(EPERM, std::generic_category(),
                            path.string() +
                                " is not a directory that belongs to this user alone; remove it, or set "
                                "XDG_RUNTIME_DIR to a directory of yours");
}

fs::path base() {
  if (const char* given = std::getenv("RUNTIME_DIRECTORY"); given && *given) {
    std::string first = given;
    return first.substr(0, first.find(':'));
  }
  fs::path parent;
  if (const char* given = std::getenv("XDG_RUNTIME_DIR"); given && *given && access(given, W_OK) == 0)
    parent = fs::path(given) / "bulkhead";
  else if (access("/run", W_OK) == 0)
    parent = "/run/bulkhead";
  else
    parent = "/tmp/bulkhead-" + std::to_string(geteuid());
  claim(parent);
  return parent;
}

/// FNV-1a: a name, not a secret.
std::string digest(const std::string& text) {
  std::uint64_t hash = 14695981039346656037u;
  for (unsigned char c : text) hash = (hash ^ c) * 1099511628211u;
  char out[17];
  std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(hash));
  return out;
}

}  // namespace

fs::path runtime_directory(const fs::path& state) {
  fs::path path = base() / digest(fs::weakly_canonical(state).string());
  claim(path);
  return path;
}

}  // namespace bulkhead
