// What this file keeps true:
//
// - Nothing is assumed of a cgroup: each guard is tried once at the start, on a cgroup made for that, and where it does
//   not work the next one takes its place. So a leaf made later fails only where somebody changed what is there.
// - Nothing is left half done: where controllers cannot be had, the supervisor moves back.
// - A leaf's directories are removed by the leaf, or, where the kernel is not ready for that, by its owner: at the next
//   leaf, and at the end. What a killed supervisor left, its successor removes.

#include "supervisor/process/cgroups.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>
#include <utility>

#include "protocol/environment.hpp"
#include "supervisor/process/process_table.hpp"

namespace bulkhead::process {

using Weight = Cgroups::Remark::Weight;

namespace {

constexpr char kLeafMark[] = "-w";
constexpr std::size_t kLongestFile = 64 * 1024;

/// 0, or errno.
int write_to(int directory, const char* file, std::string_view text) {
  Descriptor fd(::openat(directory, file, O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  return ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno;
}

int write_to(const std::string& directory, const char* file, std::string_view text) {
  return write_to(AT_FDCWD, (directory + '/' + file).c_str(), text);
}

std::string read_from(int directory, const char* file) {
  Descriptor fd(::openat(directory, file, O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  for (ssize_t got; fd && text.size() < kLongestFile && (got = ::read(fd.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  return text;
}

std::string read_from(const std::string& directory, const char* file) {
  return read_from(AT_FDCWD, (directory + '/' + file).c_str());
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t end; (text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size())), !text.empty());
       text.remove_prefix(end)) {
    end = std::min(text.find_first_of(" \n"), text.size());
    words.emplace_back(text.substr(0, end));
  }
  return words;
}

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<pid_t> pids_in(std::string_view procs) {
  std::vector<pid_t> pids;
  for (const std::string& word : words_of(procs)) {
    pid_t pid = 0;
    std::from_chars(word.data(), word.data() + word.size(), pid);
    if (pid > 0) pids.push_back(pid);  // 0: one outside our process namespace
  }
  return pids;
}

/// systemd marks what it has delegated; and what belongs to a user who is not root, was given to them.
bool is_delegated(const std::string& directory) {
  char mark[8];
  for (const char* name : {"trusted.delegate", "user.delegate"})
    if (::getxattr(directory.c_str(), name, mark, sizeof mark) == 1 && mark[0] == '1') return true;
  struct stat found {};
  return ::geteuid() != 0 && ::stat(directory.c_str(), &found) == 0 && found.st_uid == ::geteuid();
}

bool is_writable(const std::string& directory) {
  return ::access(directory.c_str(), W_OK) == 0 && ::access((directory + "/cgroup.procs").c_str(), W_OK) == 0;
}

std::string error_text(int error) { return std::generic_category().message(error); }

std::string in_mebibytes(std::int64_t bytes) {
  return bytes % (1 << 20) == 0 ? std::to_string(bytes >> 20) + " MiB" : std::to_string(bytes) + " bytes";
}

void wait_a_moment() {
  timespec moment{0, 2'000'000};
  ::nanosleep(&moment, nullptr);
}

/// Processes and threads of our user, as RLIMIT_NPROC counts them.
std::int64_t tasks_of_our_user() {
  std::int64_t tasks = 0;
  for (pid_t pid : all_processes()) {
    struct stat found {};
    if (::stat(("/proc/" + std::to_string(pid)).c_str(), &found) != 0 || found.st_uid != ::geteuid()) continue;
    if (auto facts = read_facts(pid)) tasks += facts->threads;
  }
  return tasks;
}

std::vector<std::string> leaves_in(const std::string& base, std::string_view mark) {
  std::vector<std::string> leaves;
  DIR* directory = base.empty() ? nullptr : ::opendir(base.c_str());
  if (directory == nullptr) return leaves;
  while (const dirent* entry = ::readdir(directory))
    if (std::string_view(entry->d_name).starts_with(mark)) leaves.push_back(base + '/' + entry->d_name);
  ::closedir(directory);
  return leaves;
}

/// Kills what is in it until nothing is, for two seconds at most.
void empty_leaf(const std::string& leaf) {
  for (int round = 0; round < 1'000; ++round) {
    auto members = pids_in(read_from(leaf, "cgroup.procs"));
    if (members.empty()) return;
    write_to(leaf, "cgroup.kill", "1");
    for (pid_t pid : members)
      if (auto facts = read_facts(pid)) end_process(*facts);
    wait_a_moment();
  }
}

}  // namespace

// ---- one leaf ------------------------------------------------------------------------------------------------------

std::vector<int> CgroupLeaf::directories() const {
  std::vector<int> descriptors;
  for (const Directory& directory : directories_) descriptors.push_back(directory.fd.get());
  return descriptors;
}

std::optional<std::uint64_t> CgroupLeaf::oom_kills() const {
  if (oom_file_in_ < 0) return std::nullopt;
  auto words = words_of(read_from(directories_[static_cast<std::size_t>(oom_file_in_)].fd.get(), oom_file_));
  for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
    std::uint64_t count = 0;
    const std::string& number = words[i + 1];
    if (words[i] == "oom_kill" &&
        std::from_chars(number.data(), number.data() + number.size(), count).ec == std::errc{})
      return count;
  }
  return std::nullopt;
}

std::vector<pid_t> CgroupLeaf::members() const {
  // All of them hold the same processes.
  return directories_.empty() ? std::vector<pid_t>() : pids_in(read_from(directories_[0].fd.get(), "cgroup.procs"));
}

void CgroupLeaf::kill() const {
  for (const Directory& directory : directories_) write_to(directory.fd.get(), "cgroup.kill", "1");
}

void CgroupLeaf::discard() noexcept {
  for (Directory& directory : std::exchange(directories_, {})) {
    directory.fd.close();
    owner_->remove(std::move(directory.path));
  }
  oom_file_in_ = -1;
}

// ---- what there is -------------------------------------------------------------------------------------------------

Cgroups::Cgroups(Guards guards, std::string name, pid_t init, CgroupPlaces places)
    : guards_(guards), name_(std::move(name)), init_(init), places_(std::move(places)) {
  prepare_v2();
  if (guards_.memory_max > 0) guard_memory();
  if (guards_.pids_max > 0) guard_pids();
  if (guards_.cpu_weight > 0) tell_cpu();
}

Cgroups::~Cgroups() { retry_removals(); }

void Cgroups::prepare_v2() {
  const bool asked = guards_.memory_max > 0 || guards_.pids_max > 0 || guards_.cpu_weight > 0;
  std::string base = places_.v2;
  if (base.empty()) return void(v2_fault_ = "there is none here");
  const std::string own = std::string("/") + kSupervisorLeaf;
  const bool moved = base.ends_with(own);  // an earlier supervisor has
  if (moved) base.resize(base.size() - own.size());
  if (!is_writable(base)) return void(v2_fault_ = base + " is not ours to write");
  const bool delegated = is_delegated(base);
  if (!delegated && !asked) return;

  const auto available = words_of(read_from(base, "cgroup.controllers"));
  const auto on = words_of(read_from(base, "cgroup.subtree_control"));
  std::vector<std::string_view> missing;
  for (std::string_view controller : {"memory", "pids", "cpu"})
    if (has(available, controller) && !has(on, controller)) missing.push_back(controller);
  const bool of_use = (guards_.memory_max > 0 && has(available, "memory")) ||
                      (guards_.pids_max > 0 && has(available, "pids")) ||
                      (guards_.cpu_weight > 0 && has(available, "cpu"));
  if (!delegated && !of_use) return void(v2_fault_ = base + " has no such controller");
  v2_ = base;
  if (!missing.empty() && !moved && !enable(missing) && !delegated) return v2_.clear();
  v2_controllers_ = words_of(read_from(base, "cgroup.subtree_control"));
  if (std::string fault = probe(v2_, "", ""); !fault.empty()) {
    v2_fault_ = std::move(fault);
    return v2_.clear();
  }
  say(Weight::Debug, "each handler process has a cgroup of its own below " + v2_);
}

/// Moves us out of the way, and has the controllers handed on; or moves us back, and says why not.
bool Cgroups::enable(const std::vector<std::string_view>& controllers) {
  const std::string leaf = v2_ + '/' + kSupervisorLeaf;
  auto move_to = [&](const std::string& place) {
    if (init_ > 0) write_to(place, "cgroup.procs", std::to_string(init_));
    return write_to(place, "cgroup.procs", "0");
  };
  int error = ::mkdir(leaf.c_str(), 0755) == 0 || errno == EEXIST ? 0 : errno;
  if (error == 0) error = move_to(leaf);
  bool any = false;
  for (std::string_view controller : controllers) {
    if (error != 0 && !any) break;
    const int refused = write_to(v2_, "cgroup.subtree_control", "+" + std::string(controller));
    any = any || refused == 0;
    if (refused != 0) error = refused;
  }
  if (any) return true;
  v2_fault_ = v2_ + " hands no controllers on: " +
              (error == EBUSY ? "it has other processes beside ours in it" : error_text(error));
  say(Weight::Debug, "cgroup v2: " + v2_fault_);
  move_to(v2_);
  ::rmdir(leaf.c_str());
  return false;
}

void Cgroups::guard_memory() {
  const std::string limit = in_mebibytes(guards_.memory_max);
  if (has(v2_controllers_, "memory"))
    return say(Weight::Info, "memory of each handler process: at most " + limit + ", by cgroup v2");
  std::string faults = "cgroup v2: " + (v2_fault_.empty() ? "no memory controller" : v2_fault_);
  std::string fault = places_.v1_memory.empty() ? "there is none here" : probe("", places_.v1_memory, "");
  if (fault.empty()) {
    v1_memory_ = places_.v1_memory;
    return say(Weight::Info, "memory of each handler process: at most " + limit + ", by cgroup v1 (" + faults + ")");
  }
  limit_address_space_ = true;
  say(Weight::Warning, "memory of each handler process: at most " + limit +
                           " of address space for each single process (RLIMIT_AS), for "
                           "want of a cgroup (" +
                           faults + "; cgroup v1: " + fault +
                           "). What reserves much more than it uses, such as CUDA or "
                           "a JVM, does not start so; several processes of one handler may use as much each");
}

void Cgroups::guard_pids() {
  const std::string limit = std::to_string(guards_.pids_max);
  if (has(v2_controllers_, "pids"))
    return say(Weight::Info, "processes and threads of each handler process: at most " + limit + ", by cgroup v2");
  std::string faults = "cgroup v2: " + (v2_fault_.empty() ? "no pids controller" : v2_fault_);
  std::string fault = places_.v1_pids.empty() ? "there is none here" : probe("", "", places_.v1_pids);
  if (fault.empty()) {
    v1_pids_ = places_.v1_pids;
    return say(Weight::Info,
               "processes and threads of each handler process: at most " + limit + ", by cgroup v1 (" + faults + ")");
  }
  limit_tasks_ = true;
  say(Weight::Warning, "processes and threads of each handler process: at most " + limit +
                           " beyond those that the user has when it starts "
                           "(RLIMIT_NPROC), for want of a cgroup (" +
                           faults + "; cgroup v1: " + fault +
                           "). The kernel counts by user, not by "
                           "handler" +
                           (::geteuid() == 0 ? ", and does not hold root to it: this is NO limit here" : ""));
}

void Cgroups::tell_cpu() {
  if (has(v2_controllers_, "cpu")) return;
  say(Weight::Warning,
      "handler processes have no CPU weight: cgroup v2: " + (v2_fault_.empty() ? "no cpu controller" : v2_fault_));
}

// ---- leaves --------------------------------------------------------------------------------------------------------

CgroupLeaf Cgroups::make_in(const std::string& name, std::string_view v2, std::string_view v1_memory,
                            std::string_view v1_pids) {
  CgroupLeaf leaf;
  leaf.owner_ = this;
  auto fail = [&](const std::string& what, int error) {
    leaf.discard();
    throw std::system_error(error, std::generic_category(), what);
  };
  auto add = [&](std::string_view base) {
    std::string path = std::string(base) + '/' + name;
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) fail("make the cgroup " + path, errno);
    Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) fail("open the cgroup " + path, errno);
    leaf.directories_.push_back({std::move(path), std::move(fd)});
  };
  auto set = [&](const char* file, std::int64_t value) {
    const auto& directory = leaf.directories_.back();
    if (const int error = write_to(directory.fd.get(), file, std::to_string(value)); error != 0)
      fail("write " + directory.path + '/' + file, error);
  };
  if (!v2.empty()) {
    add(v2);
    const bool memory = has(v2_controllers_, "memory");
    if (memory) leaf.oom_file_in_ = 0, leaf.oom_file_ = "memory.events";
    // Without one another of its processes could be killed, and the handler wait for it for ever.
    if (memory) write_to(leaf.directories_.back().fd.get(), "memory.oom.group", "1");
    if (memory && guards_.memory_max > 0) set("memory.max", guards_.memory_max);
    if (has(v2_controllers_, "pids") && guards_.pids_max > 0) set("pids.max", guards_.pids_max);
    if (has(v2_controllers_, "cpu") && guards_.cpu_weight > 0) set("cpu.weight", guards_.cpu_weight);
  }
  if (!v1_memory.empty()) {
    add(v1_memory);
    set("memory.limit_in_bytes", guards_.memory_max);
    leaf.oom_file_in_ = static_cast<int>(leaf.directories_.size()) - 1;
    leaf.oom_file_ = "memory.oom_control";
  }
  if (!v1_pids.empty()) {
    add(v1_pids);
    set("pids.max", guards_.pids_max);
  }
  return leaf;
}

CgroupLeaf Cgroups::make(std::string_view child_id) {
  retry_removals();
  return make_in(name_ + '-' + std::string(child_id), v2_, v1_memory_, v1_pids_);
}

/// What is wrong with a leaf of this kind; nothing: it works.
std::string Cgroups::probe(std::string_view v2, std::string_view v1_memory, std::string_view v1_pids) {
  try {
    make_in(name_ + "-probe", v2, v1_memory, v1_pids).discard();
    return {};
  } catch (const std::system_error& error) {
    return error.what();
  }
}

void Cgroups::add_limits(std::vector<SpawnPlan::Limit>& limits) const {
  auto add = [&](int resource, std::int64_t value) {
    const auto most = static_cast<rlim_t>(value);
    limits.push_back({.resource = resource, .value = {.rlim_cur = most, .rlim_max = most}});
  };
  if (limit_address_space_) add(RLIMIT_AS, guards_.memory_max);
  if (limit_tasks_) add(RLIMIT_NPROC, tasks_of_our_user() + guards_.pids_max);
}

// ---- removal -------------------------------------------------------------------------------------------------------

void Cgroups::remove(std::string path) noexcept {
  if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return;
  not_removed_.push_back(std::move(path));
}

void Cgroups::retry_removals() noexcept {
  for (std::string& path : std::exchange(not_removed_, {})) remove(std::move(path));
}

std::size_t Cgroups::end_leftovers(std::string_view cookie_prefix, const std::set<pid_t>& spared) {
  std::size_t ended = 0;
  for (const std::string& base : {v2_, places_.v1_memory, places_.v1_pids})
    for (const std::string& leaf : leaves_in(base, name_ + kLeafMark)) {
      const auto members = pids_in(read_from(leaf, "cgroup.procs"));
      const bool known = std::any_of(members.begin(), members.end(), [&](pid_t pid) {
        const auto is_ours = [&](std::string_view value) { return value.starts_with(cookie_prefix); };
        return spared.contains(pid) || has_variable(pid, protocol::environment::kCookie, is_ours) == Has::Yes;
      });
      if (known) continue;
      ended += members.size();
      empty_leaf(leaf);
      remove(leaf);
    }
  return ended;
}

}  // namespace bulkhead::process
