#include "supervisor/journal/state_directory.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "supervisor/journal/error.hpp"

namespace bulkhead::journal {
namespace {

[[noreturn]] void throw_errno(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// mkdir -p with mode 0700, each new entry made durable in its parent.
void create(const std::filesystem::path& path) {
  if (path.empty() || std::filesystem::exists(path)) return;
  create(path.parent_path());
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throw_errno("creating " + path.string());
  std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  if (int fd = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); fd >= 0) {
    // Some file systems refuse to sync a directory; they have no need of it.
    fsync(fd);
    close(fd);
  }
}

/// A process that it had forked and that has not come to its exec yet holds the lock of a supervisor that was killed: for
/// some milliseconds, or longer where the machine is busy.
constexpr std::chrono::seconds kLeftoversTime{3};

/// Whom the lock file names, as text; empty where it does not.
std::string holder_of(int lock) {
  char pid[32] = {};
  ssize_t size = pread(lock, pid, sizeof pid - 1, 0);
  std::string holder(pid, size > 0 ? static_cast<std::size_t>(size) : 0);
  return holder.substr(0, holder.find('\n'));
}

bool is_gone(const std::string& holder) {
  pid_t pid = 0;
  auto [end, error] = std::from_chars(holder.data(), holder.data() + holder.size(), pid);
  return error == std::errc{} && pid > 0 && kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace

std::filesystem::path default_state_directory() {
  if (std::string list = environment("STATE_DIRECTORY"); !list.empty()) return list.substr(0, list.find(':'));
  // The specification asks for an absolute path, and to ignore the variable otherwise.
  if (std::string home = environment("XDG_STATE_HOME"); home.starts_with('/')) return home + "/bulkhead";
  if (std::string home = environment("HOME"); home.starts_with('/')) return home + "/.local/state/bulkhead";
  return "/var/lib/bulkhead";
}

StateDirectory::StateDirectory(std::filesystem::path path) : path_(std::move(path)) {
  try {
    open_directory();
    lock();
  } catch (...) {
    if (lock_ >= 0) close(lock_);
    if (directory_ >= 0) close(directory_);
    throw;
  }
}

StateDirectory::~StateDirectory() {
  // The lock file stays: removing it would let two newcomers lock two different files.
  close(lock_);
  close(directory_);
}

void StateDirectory::open_directory() {
  create(std::filesystem::absolute(path_).lexically_normal());
  directory_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory_ < 0) throw_errno("opening the state directory " + path_.string());
  struct stat status {};
  if (fstat(directory_, &status) != 0) throw_errno("looking at the state directory " + path_.string());
  if (status.st_uid != geteuid() && status.st_uid != 0) {
    throw std::system_error(Fault::Unsafe, "state directory " + path_.string() + " belongs to another user");
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw std::system_error(Fault::Unsafe, "state directory " + path_.string() + " (chmod go-w it, or choose another)");
  }
}

void StateDirectory::lock() {
  lock_ = openat(directory_, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_ < 0) throw_errno("opening " + (path_ / "lock").string());
  const auto deadline = std::chrono::steady_clock::now() + kLeftoversTime;
  while (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw_errno("locking " + (path_ / "lock").string());
    const std::string holder = holder_of(lock_);
    if (is_gone(holder) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      continue;
    }
    throw std::system_error(
        Fault::InUse, "state directory " + path_.string() + (holder.empty() ? "" : " is held by process " + holder));
  }
  std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(lock_, 0) != 0 || pwrite(lock_, pid.data(), pid.size(), 0) < 0) {
    // The pid is a courtesy to whoever comes second; a full disk must not keep the first from starting.
    if (errno != ENOSPC && errno != EDQUOT) throw_errno("writing " + (path_ / "lock").string());
  }
}

bool StateDirectory::ensure_file(const std::string& name) const {
  bool fresh = true;
  int fd = openat(directory_, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 && errno == EEXIST) {
    fresh = false;
    fd = openat(directory_, name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  }
  if (fd < 0) throw_errno("opening " + (path_ / name).string());
  struct stat status {};
  bool good = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  if (good && (status.st_mode & 077) != 0) good = fchmod(fd, 0600) == 0;
  int error = good ? 0 : (errno != 0 ? errno : EINVAL);
  close(fd);
  if (error != 0) throw std::system_error(error, std::generic_category(), "securing " + (path_ / name).string());
  if (fresh && fsync(directory_) != 0 && errno != EINVAL) throw_errno("syncing " + path_.string());
  return fresh;
}

}  // namespace bulkhead::journal
