// Each answer is put together from one or a few reads of /proc, without a lock on anything: processes come and go
// meanwhile, and a file that was there may be gone. That is an answer too (empty), never an error. Names of processes may
// hold anything, parentheses and newlines included, so `stat` is read from its last parenthesis on.

#include "supervisor/process/process_table.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <memory>
#include <unordered_set>
#include <utility>

namespace bulkhead::process {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

class File {
 public:
  explicit File(const char* path) : fd_(::open(path, O_RDONLY | O_CLOEXEC)) {}
  File(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  explicit operator bool() const { return fd_ >= 0; }
  /// At most `size` bytes; short only at the end of the file.
  std::size_t read(char* buffer, std::size_t size) {
    std::size_t have = 0;
    while (have < size) {
      ssize_t got = ::read(fd_, buffer + have, size - have);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      have += static_cast<std::size_t>(got);
    }
    return have;
  }

 private:
  int fd_;
};

struct Path {
  template <typename... Arguments>
  explicit Path(const char* format, Arguments... arguments) {
    std::snprintf(text, sizeof text, format, arguments...);
  }
  char text[64];
};

template <typename Number>
bool take_number(std::string_view& text, Number& number) {
  text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

std::vector<pid_t> numbers_in(const char* path, bool& there) {
  std::vector<pid_t> numbers;
  Directory directory(::opendir(path));
  there = directory != nullptr;
  if (!directory) return numbers;
  while (const dirent* entry = ::readdir(directory.get())) {
    std::string_view name = entry->d_name;
    pid_t number = 0;
    if (name[0] >= '0' && name[0] <= '9' && take_number(name, number)) numbers.push_back(number);
  }
  return numbers;
}

std::optional<std::vector<pid_t>> list_children(pid_t pid) {
  std::vector<pid_t> children;
  bool there = false;
  for (pid_t thread : numbers_in(Path("/proc/%d/task", pid).text, there)) {
    File file(Path("/proc/%d/task/%d/children", pid, thread).text);
    if (!file) {
      if (errno == ENOENT && ::access(Path("/proc/%d/task/%d/stat", pid, thread).text, F_OK) == 0) return std::nullopt;
      continue;
    }
    std::string list(4096, '\0');
    std::size_t length = 0;
    while ((length += file.read(list.data() + length, list.size() - length)) == list.size()) list.resize(2 * length);
    std::string_view text(list.data(), length);
    for (pid_t child = 0; take_number(text, child);) children.push_back(child);
  }
  return children;
}

enum class Found : std::uint8_t { Yes, No, Nothing };

/// Looks through an environment; `Nothing`: it is empty.
Found look_for(File& file, std::string_view name, const std::function<bool(std::string_view)>& matches) {
  // A cookie is the first variable of what the supervisor starts, so one page mostly will do.
  std::string text(4096, '\0');
  std::size_t length = 0, start = 0;
  for (bool at_end = false; !at_end;) {
    length += file.read(text.data() + length, text.size() - length);
    at_end = length < text.size();
    for (;;) {
      std::size_t end = text.find('\0', start);
      if (end >= length && !at_end) break;
      end = std::min(end, length);
      std::string_view entry(text.data() + start, end - start);
      if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=' &&
          matches(entry.substr(name.size() + 1)))
        return Found::Yes;
      start = end + 1;
      if (start >= length) break;
    }
    if (!at_end) text.resize(text.size() * 4);
  }
  return length == 0 ? Found::Nothing : Found::No;
}

/// What /proc/PID/stat says, its fields numbered as in proc(5). False if there is no such process.
class Stat {
 public:
  explicit Stat(pid_t pid) {
    File file(Path("/proc/%d/stat", pid).text);
    if (!file) return;
    const std::string_view text(buffer_, file.read(buffer_, sizeof buffer_));
    // The name stands in parentheses and may hold any character, these included.
    const std::size_t open = text.find('('), close = text.rfind(')');
    if (open == std::string_view::npos || close == std::string_view::npos || close + 3 > text.size()) return;
    name = text.substr(open + 1, close - open - 1);
    state = text[close + 2];
    rest_ = text.substr(close + 3);
  }
  Stat(const Stat&) = delete;
  explicit operator bool() const { return state != '\0'; }

  /// Field `number` of those from 4 on; those asked for one after the other have to stand in this order. False if it is
  /// not there.
  template <typename Number>
  bool take(int number, Number& value) {
    for (; next_ <= number; ++next_) {
      rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
      word_ = rest_.substr(0, rest_.find_first_of(" \n"));
      rest_.remove_prefix(word_.size());
    }
    return take_number(word_, value);
  }

  std::string_view name;
  char state = '\0';

 private:
  char buffer_[2048];
  std::string_view rest_, word_;
  int next_ = 4;
};

/// A descriptor that stands for the process: of its own kind, or where the kernel has none, of its directory in /proc.
int open_process(pid_t pid) {
  int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  return fd >= 0 ? fd : ::open(Path("/proc/%d", pid).text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/// True from when execve(2) has given a process its new memory until arguments and environment are in place there, which
/// is milliseconds where the program has to be read from its file first; true as well if the environment has appeared
/// since it was read. One without memory (a thread of the kernel, a zombie) never shows any, and an empty one is one.
bool is_beginning_a_program(pid_t pid) {
  Stat stat(pid);
  std::uint64_t memory = 0, code = 0, start = 0, end = 0;
  if (!stat || !stat.take(23, memory) || memory == 0 || !stat.take(26, code)) return false;
  // Where the code is the kernel says last of all: before, the bounds of the environment stand for nothing.
  return code == 0 || (stat.take(50, start) && stat.take(51, end) && start != end);
}

}  // namespace

std::optional<ProcessFacts> read_facts(pid_t pid) {
  Stat stat(pid);
  if (!stat) return std::nullopt;
  ProcessFacts facts;
  facts.pid = pid;
  facts.name = stat.name;
  facts.state = stat.state;
  if (!stat.take(4, facts.parent) || !stat.take(5, facts.group) || !stat.take(6, facts.session) ||
      !stat.take(20, facts.threads) || !stat.take(22, facts.start_time))
    return std::nullopt;
  return facts;
}

std::optional<std::vector<pid_t>> children_of(pid_t pid) {
  auto children = list_children(pid);
  // The kernel may leave one out where another is reaped during the reading: the list counts once two readings agree.
  for (int i = 0; i < 8 && children && !children->empty(); ++i) {
    auto again = list_children(pid);
    if (again == children) break;
    children = std::move(again);
  }
  return children;
}

std::vector<pid_t> all_processes() {
  bool there = false;
  return numbers_in("/proc", there);
}

std::vector<pid_t> ancestors() {
  std::vector<pid_t> chain;
  // A parent of 0 is one outside this process namespace.
  for (pid_t pid = ::getppid(); pid > 0;) {
    chain.push_back(pid);
    auto facts = read_facts(pid);
    pid = facts ? facts->parent : 0;
  }
  return chain;
}

Has has_variable(pid_t pid, std::string_view name, const std::function<bool(std::string_view)>& matches) {
  File file(Path("/proc/%d/environ", pid).text);
  Found found = file ? look_for(file, name, matches) : Found::Nothing;
  if (found != Found::Nothing) return found == Found::Yes ? Has::Yes : Has::No;
  if (file && is_beginning_a_program(pid)) return Has::NotYet;
  // A main thread that has ended shows nothing; the others, if there are any, still do.
  bool there = false;
  for (pid_t thread : numbers_in(Path("/proc/%d/task", pid).text, there)) {
    if (thread == pid) continue;
    File again(Path("/proc/%d/task/%d/environ", pid, thread).text);
    if (again && look_for(again, name, matches) == Found::Yes) return Has::Yes;
  }
  return Has::No;
}

bool end_process(const ProcessFacts& process) {
  int fd = open_process(process.pid);
  if (fd < 0) return false;
  auto now = read_facts(process.pid);
  bool same = now && now->start_time == process.start_time;
  bool sent = same && ::syscall(SYS_pidfd_send_signal, fd, SIGKILL, nullptr, 0) == 0;
  ::close(fd);
  return sent;
}

CpuTimes CpuTimes::read() {
  CpuTimes times;
  for (const pid_t pid : all_processes()) {
    Stat stat(pid);
    Process process{.pid = pid};
    if (!stat || !stat.take(4, process.parent) || !stat.take(6, process.session)) continue;
    // User and system time, its own and that of those it waited for.
    std::int64_t ticks = 0;
    for (int field = 14; field <= 17 && stat.take(field, ticks); ++field) process.ticks += ticks;
    times.processes_.push_back(process);
  }
  return times;
}

std::chrono::microseconds CpuTimes::of(pid_t leader) const {
  static const long ticks_a_second = ::sysconf(_SC_CLK_TCK);
  std::int64_t ticks = 0;
  std::unordered_set<pid_t> counted;
  // Once for each generation: a child may stand before its parent.
  for (bool more = true; std::exchange(more, false);) {
    for (const Process& process : processes_) {
      if (process.pid != leader && process.session != leader && !counted.contains(process.parent)) continue;
      if (!counted.insert(process.pid).second) continue;
      ticks += process.ticks;
      more = true;
    }
  }
  return std::chrono::microseconds(ticks * 1'000'000 / ticks_a_second);
}

bool catches(pid_t pid, int signal) {
  char buffer[8192];
  File file(Path("/proc/%d/status", static_cast<int>(pid)).text);
  if (!file) return false;
  std::string_view text(buffer, file.read(buffer, sizeof buffer));
  constexpr std::string_view kCaught = "SigCgt:\t";
  const std::size_t at = text.find(kCaught);
  if (at == std::string_view::npos) return false;
  text.remove_prefix(at + kCaught.size());
  std::uint64_t mask = 0;
  std::from_chars(text.data(), text.data() + text.size(), mask, 16);
  return (mask >> (signal - 1) & 1) != 0;
}

}  // namespace bulkhead::process
