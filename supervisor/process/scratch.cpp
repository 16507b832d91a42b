// A ScratchRoot owns two directories, scratch/ (in use) and trash/ (to be deleted), and one thread that empties the
// latter. The thread shares nothing with the callers but the queue of names and the figures, under one mutex. At the
// end the thread gets some more time, is then told to stop, which it sees between two entries, and is joined; what it
// left is found by the next ScratchRoot.

#include "supervisor/process/scratch.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cassert>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "supervisor/process/descriptor.hpp"
#include "supervisor/process/remove_tree.hpp"

namespace bulkhead::process {
namespace {

std::system_error failed(const std::string& operation, const std::filesystem::path& path) {
  return std::system_error(errno, std::generic_category(), operation + " " + path.string());
}

// Made if it is not there; a link in its place is refused.
Descriptor open_own_directory(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) throw failed("mkdir", path);
  Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) throw failed("open", path);
  return directory;
}

std::vector<std::string> names_in(int directory) {
  std::vector<std::string> names;
  DIR* stream = ::fdopendir(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (stream == nullptr) return names;
  while (const dirent* entry = ::readdir(stream))
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
      names.emplace_back(entry->d_name);
  ::closedir(stream);
  return names;
}

}  // namespace

struct ScratchRoot::State {
  State(const std::filesystem::path& runtime_dir, const std::set<std::string>& kept)
      : path(runtime_dir / "scratch"),
        in_use(open_own_directory(path)),
        trash(open_own_directory(runtime_dir / "trash")) {
    for (std::string& name : names_in(trash.get())) queue.push_back(std::move(name));
    for (const std::string& name : names_in(in_use.get()))
      if (!kept.contains(name)) move_away(name);
    figures.waiting = queue.size();
    worker = std::thread([this] { work(); });
  }

  ~State() {
    {
      std::unique_lock lock(mutex);
      ending = true;
      changed.notify_all();
      changed.wait_for(lock, kLastWork, [this] { return figures.waiting == 0; });
      stop = true;
    }
    worker.join();
  }

  // With the mutex held, or alone.
  void move_away(const std::string& name) {
    // A number of its own, also against what an earlier process left there.
    std::string there;
    int error = 0;
    do {
      there = name + "." + std::to_string(moved++);
      error = rename(name, there);
    } while (error == EEXIST || error == ENOTEMPTY);
    if (error == ENOENT) return;  // the child has removed it itself
    if (error != 0) return note_failure("could not move " + name + " away: " + std::strerror(error));
    queue.push_back(std::move(there));
    ++figures.waiting;
  }

  int rename(const std::string& name, const std::string& there) {
    if (::renameat2(in_use.get(), name.c_str(), trash.get(), there.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno != EACCES && errno != EINVAL && errno != ENOSYS) return errno;
    // Without permission to write a directory its own entry `..` cannot be changed.
    Descriptor directory(::openat(in_use.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (directory) ::chmod(("/proc/self/fd/" + std::to_string(directory.get())).c_str(), 0700);
    return ::renameat(in_use.get(), name.c_str(), trash.get(), there.c_str()) == 0 ? 0 : errno;
  }

  void note_failure(std::string text) {
    ++figures.failed;
    figures.last_failure = std::move(text);
  }

  void work() {
    // Deleting can wait; the priority is this thread's alone.
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 10);
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return ending || !queue.empty(); });
      if (stop || queue.empty()) return;
      std::string name = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      std::string failure;
      bool good = remove_tree(trash.get(), name, stop, failure);
      lock.lock();
      if (good)
        ++figures.deleted;
      else if (!stop)
        note_failure(std::move(failure));
      --figures.waiting;
      changed.notify_all();
    }
  }

  const std::filesystem::path path;
  const Descriptor in_use;
  const Descriptor trash;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> queue;
  Figures figures;
  std::uint64_t moved = 0;
  bool ending = false;
  std::atomic<bool> stop{false};
  std::thread worker;
};

Scratch::Scratch(ScratchRoot* root, std::string path, std::string name)
    : root_(root), path_(std::move(path)), name_(std::move(name)) {}

Scratch::Scratch(Scratch&& other) noexcept
    : root_(std::exchange(other.root_, nullptr)), path_(std::move(other.path_)), name_(std::move(other.name_)) {}

Scratch& Scratch::operator=(Scratch&& other) noexcept {
  if (this == &other) return *this;
  discard();
  root_ = std::exchange(other.root_, nullptr);
  path_ = std::move(other.path_);
  name_ = std::move(other.name_);
  return *this;
}

void Scratch::discard() noexcept {
  ScratchRoot* root = std::exchange(root_, nullptr);
  if (root == nullptr) return;
  std::lock_guard lock(root->state_->mutex);
  root->state_->move_away(name_);
  root->state_->changed.notify_all();
}

ScratchRoot::ScratchRoot(const std::filesystem::path& runtime_dir, const std::set<std::string>& kept)
    : state_(std::make_unique<State>(runtime_dir, kept)) {}
ScratchRoot::~ScratchRoot() = default;

Scratch ScratchRoot::make(std::string_view name) {
  assert(!name.empty() && name.find('/') == std::string_view::npos && name.front() != '.');
  std::string chosen(name);
  for (int next = 2; ::mkdirat(state_->in_use.get(), chosen.c_str(), 0700) < 0; ++next) {
    if (errno != EEXIST) throw failed("mkdir", state_->path / chosen);
    chosen = std::string(name) + "-" + std::to_string(next);
  }
  std::string path = (state_->path / chosen).string();
  return Scratch(this, std::move(path), std::move(chosen));
}

Scratch ScratchRoot::take_up(std::string_view name) {
  assert(!name.empty() && name.find('/') == std::string_view::npos && name.front() != '.');
  return Scratch(this, (state_->path / name).string(), std::string(name));
}

bool ScratchRoot::wait_until_clean(std::chrono::milliseconds limit) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, limit, [this] { return state_->figures.waiting == 0; });
}

ScratchRoot::Figures ScratchRoot::figures() const {
  std::lock_guard lock(state_->mutex);
  return state_->figures;
}

}  // namespace bulkhead::process
