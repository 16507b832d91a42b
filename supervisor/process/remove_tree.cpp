// Every step is relative to an open directory, so that nothing is reached by a path that somebody could have changed.
// A directory is entered by openat2 with the promise to cross no mount; where the kernel lacks it, device numbers are
// compared instead, which misses only bind mounts of the same device, whose root unlinkat then refuses to remove.

#include "supervisor/process/remove_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>

#include "supervisor/process/descriptor.hpp"

namespace bulkhead::process {
namespace {

constexpr int kDepth = 64;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

class Removal {
 public:
  Removal(int top, const std::atomic<bool>& stop, std::string& failure) : top_(top), stop_(stop), failure_(failure) {}

  bool run(const std::string& name) {
    struct stat status {};
    if (::fstat(top_, &status) == 0) device_ = status.st_dev;
    bool good = remove_directory(top_, name.c_str(), 0);
    while (!moved_up_.empty() && !stop_) {
      std::string next = std::move(moved_up_.front());
      moved_up_.pop_front();
      good = remove_directory(top_, next.c_str(), 0) && good;
    }
    return good && !stop_;
  }

 private:
  bool fail(const char* name) {
    bool mounted = errno == EBUSY || errno == EXDEV;
    const char* reason = mounted ? "something is mounted there" : std::strerror(errno);
    if (failure_.empty()) failure_ = std::string("could not remove ") + name + ": " + reason;
    return false;
  }

  int enter(int parent, const char* name, int flags) {
    open_how how{};
    how.flags = static_cast<unsigned>(flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
    int fd = static_cast<int>(::syscall(SYS_openat2, parent, name, &how, sizeof how));
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return fd;
    fd = ::openat(parent, name, static_cast<int>(how.flags));
    struct stat status {};
    if (fd >= 0 && ::fstat(fd, &status) == 0 && status.st_dev == device_) return fd;
    if (fd >= 0) {
      ::close(fd);
      errno = EXDEV;
    }
    return -1;
  }

  // Gives a directory that is ours the permissions we need; by its descriptor, as a name could be a link by now.
  void permit(int parent, const char* name) {
    Descriptor directory(enter(parent, name, O_PATH));
    if (directory) ::chmod(("/proc/self/fd/" + std::to_string(directory.get())).c_str(), 0700);
  }

  bool remove_entry(int parent, const dirent& entry, int depth) {
    bool directory = entry.d_type == DT_DIR;
    if (!directory) {
      if (::unlinkat(parent, entry.d_name, 0) == 0 || errno == ENOENT) return true;
      if (errno != EISDIR) return fail(entry.d_name);
    }
    return remove_directory(parent, entry.d_name, depth);
  }

  bool remove_directory(int parent, const char* name, int depth) {
    if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return true;
    if (errno == ENOTDIR) return ::unlinkat(parent, name, 0) == 0 || errno == ENOENT || fail(name);
    if (errno == EBUSY) return fail(name);
    int fd = enter(parent, name, O_RDONLY);
    if (fd < 0 && errno == EACCES) {
      permit(parent, name);
      fd = enter(parent, name, O_RDONLY);
    }
    if (fd < 0) return errno == ENOENT || fail(name);
    struct stat status {};
    if (::fstat(fd, &status) == 0 && (status.st_mode & 0700) != 0700) ::fchmod(fd, 0700);
    if (depth == kDepth) {
      ::close(fd);
      return move_up(parent, name);
    }
    bool good = empty(fd, depth + 1);
    if (!good) return false;
    return ::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT || fail(name);
  }

  bool move_up(int parent, const char* name) {
    std::string there = ".deep-" + std::to_string(::gettid()) + "-" + std::to_string(moved_++);
    if (::renameat(parent, name, top_, there.c_str()) < 0) return fail(name);
    moved_up_.push_back(std::move(there));
    return true;
  }

  // Takes the descriptor. A pass may miss entries where names move while they are read, so the last one finds nothing.
  bool empty(int fd, int depth) {
    std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(fd));
    if (!directory) {
      ::close(fd);
      return fail("a directory");
    }
    bool good = true;
    for (bool found = true; found && good;) {
      found = false;
      ::rewinddir(directory.get());
      while (const dirent* entry = ::readdir(directory.get())) {
        if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
        if (stop_) return false;
        found = true;
        good = remove_entry(fd, *entry, depth) && good;
      }
    }
    return good;
  }

  int top_;
  const std::atomic<bool>& stop_;
  std::string& failure_;
  dev_t device_ = 0;
  unsigned moved_ = 0;
  std::deque<std::string> moved_up_;
};

}  // namespace

bool remove_tree(int top, const std::string& name, const std::atomic<bool>& stop, std::string& failure) {
  return Removal(top, stop, failure).run(name);
}

}  // namespace bulkhead::process
