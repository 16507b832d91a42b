// A search begins at the reapers: of all processes that lost their parent, the kernel made one of them the new parent
// (its nearest subreaper, or the first process), and what a child left lies under these. From there on it goes down:
// everything a stray has started is a stray too, whatever its environment says.
//
// Ending is a loop of search and kill, since what is being killed may fork meanwhile; it ends when a search finds
// nothing, and nobody in its lists was gone when looked at: such a one may have left a child that the lists do not have
// yet. Nor was anybody just beginning another program: whose that is can be told a moment later. Each process is killed through a descriptor of its own after a second look at its start time, the group in
// one go besides. The zombie of the child is the anchor: while it is there, no stranger can have its group or
// session.
//
// An Ending owns itself through its timer, and holds the child weakly: with the child goes the work.

#include "supervisor/process/strays.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <map>
#include <memory>
#include <set>
#include <system_error>
#include <utility>

#include "protocol/environment.hpp"
#include "supervisor/process/child_state.hpp"
#include "supervisor/process/process_table.hpp"

namespace bulkhead::process {
namespace {

using std::chrono::steady_clock;
using Identity = std::pair<pid_t, std::uint64_t>;  // pid and start time

Identity identity(const ProcessFacts& facts) { return {facts.pid, facts.start_time}; }

// Those under which the kernel may have put an orphan of ours: PID 1 and the subreapers among our ancestors, which do
// not say that they are some, and ourselves if we are.
std::vector<pid_t> possible_reapers() {
  std::vector<pid_t> reapers = ancestors();
  int subreaper = 0;
  ::prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
  if (subreaper != 0 || ::getpid() == 1) reapers.push_back(::getpid());
  return reapers;
}

Has has_cookie(pid_t pid, std::string_view cookie) {
  if (cookie.empty()) return Has::No;
  return has_variable(pid, protocol::environment::kCookie, [&](std::string_view value) { return value == cookie; });
}

Has belongs(const ProcessFacts& process, pid_t leader, std::string_view cookie) {
  if (process.session == leader || process.group == leader) return Has::Yes;
  return has_cookie(process.pid, cookie);
}

// Adds the living descendants of `found` to it.
void add_descendants(std::vector<ProcessFacts>& found) {
  std::set<pid_t> known;
  for (const ProcessFacts& stray : found) known.insert(stray.pid);
  for (std::size_t i = 0; i < found.size(); ++i) {
    auto children = children_of(found[i].pid);
    if (!children) return;
    for (pid_t pid : *children) {
      if (!known.insert(pid).second) continue;
      auto facts = read_facts(pid);
      if (facts && !facts->is_dead() && facts->parent == found[i].pid) found.push_back(std::move(*facts));
    }
  }
}

// Adds what lives in the child's cgroup to `found`.
void add_members(const CgroupLeaf& leaf, std::vector<ProcessFacts>& found) {
  std::set<pid_t> known;
  for (const ProcessFacts& stray : found) known.insert(stray.pid);
  for (pid_t pid : leaf.members()) {
    auto facts = known.insert(pid).second ? read_facts(pid) : std::nullopt;
    if (facts && !facts->is_dead()) found.push_back(std::move(*facts));
  }
}

bool is_at_or_below(const ProcessFacts& process, const std::set<pid_t>& those) {
  if (those.empty() || those.contains(process.pid)) return !those.empty();
  for (pid_t above = process.parent; above > 1;) {
    if (those.contains(above)) return true;
    const auto facts = read_facts(above);
    above = facts ? facts->parent : 0;
  }
  return false;
}

struct Findings {
  std::vector<ProcessFacts> processes;
  bool disturbed = false;  ///< one in the lists has ended meanwhile: a child it had may have been missed
  bool undecided = false;  ///< of one it could not be told yet: it was beginning another program

  /// Takes in what was found out about one process.
  void add(ProcessFacts process, Has belongs) {
    undecided |= belongs == Has::NotYet;
    if (belongs == Has::Yes) processes.push_back(std::move(process));
  }
};

// All processes that belong to the dead child `leader`. Empty optional: the kernel does not list children.
std::optional<Findings> search_below_reapers(pid_t leader, std::uint64_t since, std::string_view cookie) {
  std::vector<pid_t> reapers = possible_reapers();
  Findings findings;
  for (pid_t reaper : reapers) {
    auto children = children_of(reaper);
    if (!children) return std::nullopt;
    for (pid_t pid : *children) {
      if (pid == leader || pid == ::getpid() || std::find(reapers.begin(), reapers.end(), pid) != reapers.end())
        continue;
      auto facts = read_facts(pid);
      if (facts && facts->start_time < since) continue;
      if (!facts || facts->is_dead()) {
        findings.disturbed = true;
      } else {
        const Has it_belongs = belongs(*facts, leader, cookie);
        findings.add(std::move(*facts), it_belongs);
      }
    }
  }
  add_descendants(findings.processes);
  return findings;
}

Findings search_everywhere(pid_t leader, std::uint64_t since, std::string_view cookie) {
  std::map<pid_t, ProcessFacts> younger;
  for (pid_t pid : all_processes()) {
    auto facts = pid == leader || pid == ::getpid() ? std::nullopt : read_facts(pid);
    if (facts && !facts->is_dead() && facts->start_time >= since) younger.emplace(pid, std::move(*facts));
  }
  Findings findings;
  std::set<pid_t> strays;
  for (const auto& [pid, facts] : younger) {
    const Has it_belongs = belongs(facts, leader, cookie);
    findings.undecided |= it_belongs == Has::NotYet;
    if (it_belongs == Has::Yes) strays.insert(pid);
  }
  for (bool more = !strays.empty(); more;) {
    more = false;
    for (const auto& [pid, facts] : younger)
      if (strays.contains(facts.parent) && strays.insert(pid).second) more = true;
  }
  findings.processes.reserve(strays.size());
  for (pid_t pid : strays) findings.processes.push_back(younger.at(pid));
  return findings;
}

Findings search(pid_t leader, std::string_view cookie, Search where) {
  auto facts = read_facts(leader);
  std::uint64_t since = facts ? facts->start_time : 0;
  if (where == Search::BelowReapers)
    if (auto findings = search_below_reapers(leader, since, cookie)) return std::move(*findings);
  return search_everywhere(leader, since, cookie);
}

// Keeps account of who was found over the rounds of one ending.
class Account {
 public:
  /// One round's finding: what was known and is not found any more has ended.
  void found(const std::vector<ProcessFacts>& now) {
    for (const ProcessFacts& process : now) names_[identity(process)] = process.name;
    last_ = now;
  }
  /// Adds those of earlier rounds that are still there: one that is dying may have slipped through a search.
  void add_living(std::vector<ProcessFacts>& now) const {
    std::set<Identity> known;
    for (const ProcessFacts& process : now) known.insert(identity(process));
    for (const ProcessFacts& process : last_) {
      auto facts = known.contains(identity(process)) ? std::nullopt : read_facts(process.pid);
      if (facts && !facts->is_dead() && identity(*facts) == identity(process)) now.push_back(std::move(*facts));
    }
  }
  StrayReport report() const {
    StrayReport report;
    std::set<Identity> alive;
    for (const ProcessFacts& process : last_) {
      alive.insert(identity(process));
      if (report.survivors.size() < StrayReport::kNamed) report.survivors.push_back({process.pid, process.name});
    }
    report.count = names_.size() - alive.size();
    for (const auto& [who, name] : names_)
      if (!alive.contains(who) && report.ended.size() < StrayReport::kNamed) report.ended.push_back({who.first, name});
    report.took = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - started_);
    return report;
  }

 private:
  std::map<Identity, std::string> names_;
  std::vector<ProcessFacts> last_;
  steady_clock::time_point started_ = steady_clock::now();
};

constexpr std::chrono::microseconds kFirstPause{500};
constexpr std::chrono::microseconds kLongestPause{20'000};
constexpr int kRepeats = 3;  // of disturbed searches that found nothing: others' processes come and go at all times
/// Of waiting for processes to show whose they are: far more than a program needs to begin on a busy machine, and no
/// long delay where one never shows it.
constexpr std::chrono::milliseconds kUndecidedTime{250};

class Ending : public std::enable_shared_from_this<Ending> {
 public:
  Ending(asio::any_io_executor executor, const Child& child, std::string cookie, std::chrono::milliseconds limit,
         StrayHandler handler, const CgroupLeaf* leaf)
      : child_(child.state()),
        cookie_(std::move(cookie)),
        deadline_(steady_clock::now() + limit),
        handler_(std::move(handler)),
        leaf_(leaf),
        timer_(executor) {}

  void round() {
    auto child = child_.lock();
    if (!child || child->reaped) return;
    // Without its zombie only the cookie tells: the numbers may be a stranger's.
    auto [found, disturbed, undecided] =
        search(child->keeps_numbers() ? child->pid : -1, cookie_, Search::BelowReapers);
    if (leaf_) add_members(*leaf_, found);
    account_.add_living(found);
    account_.found(found);
    // Also where nothing was found: a search may miss one, and the group costs one call.
    child->signal_group(SIGKILL);
    if (leaf_) leaf_->kill();
    for (const ProcessFacts& process : found) end_process(process);
    const auto now = steady_clock::now();
    const bool decided = !undecided || now >= decided_by_;
    const bool settled = found.empty() && decided && (!disturbed || repeats_++ == kRepeats);
    if (settled || now >= deadline_) return finish();
    timer_.expires_after(std::exchange(pause_, std::min(2 * pause_, kLongestPause)));
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->round();
    });
  }

 private:
  void finish() {
    asio::post(timer_.get_executor(), [self = shared_from_this(), report = account_.report()]() mutable {
      if (!self->child_.expired()) self->handler_(std::move(report));
    });
  }

  std::weak_ptr<Child::State> child_;
  std::string cookie_;
  steady_clock::time_point deadline_;
  steady_clock::time_point decided_by_ = steady_clock::now() + kUndecidedTime;
  StrayHandler handler_;
  const CgroupLeaf* leaf_;
  asio::steady_timer timer_;
  std::chrono::microseconds pause_ = kFirstPause;
  int repeats_ = 0;
  Account account_;
};

std::string random_word(std::size_t bytes) {
  unsigned char raw[32];
  if (::getrandom(raw, bytes, 0) != static_cast<ssize_t>(bytes))
    throw std::system_error(errno, std::generic_category(), "getrandom");
  constexpr char kDigits[] = "0123456789abcdef";
  std::string word;
  for (std::size_t i = 0; i < bytes; ++i) {
    word += kDigits[raw[i] >> 4];
    word += kDigits[raw[i] & 15];
  }
  return word;
}

constexpr std::size_t kPrefixBytes = 16;

}  // namespace

void end_strays(asio::any_io_executor executor, const Child& child, std::string cookie, std::chrono::milliseconds limit,
                StrayHandler handler, const CgroupLeaf* leaf) {
  std::make_shared<Ending>(std::move(executor), child, std::move(cookie), limit, std::move(handler), leaf)->round();
}

std::vector<Stray> find_strays(const Child& child, std::string_view cookie, Search where) {
  std::vector<Stray> strays;
  for (ProcessFacts& process : search(child.pid(), cookie, where).processes)
    strays.push_back({process.pid, std::move(process.name)});
  return strays;
}

StrayReport end_leftovers(std::string_view prefix, std::chrono::milliseconds limit, const Spared& spared) {
  Account account;
  if (prefix.empty()) return account.report();
  std::vector<pid_t> our_own = ancestors();
  our_own.push_back(::getpid());
  const auto is_left_over = [&](std::string_view value) {
    return value.starts_with(prefix) && !spared.cookies.contains(value);
  };
  const auto start = steady_clock::now();
  for (auto pause = kFirstPause;; pause = std::min(2 * pause, kLongestPause)) {
    Findings findings;
    for (pid_t pid : all_processes()) {
      if (std::find(our_own.begin(), our_own.end(), pid) != our_own.end()) continue;
      const Has it_is = has_variable(pid, protocol::environment::kCookie, is_left_over);
      if (it_is == Has::No) continue;
      if (auto facts = read_facts(pid); facts && !facts->is_dead()) findings.add(std::move(*facts), it_is);
    }
    auto& found = findings.processes;
    add_descendants(found);
    std::erase_if(found, [&](const ProcessFacts& process) { return is_at_or_below(process, spared.processes); });
    account.add_living(found);
    account.found(found);
    for (const ProcessFacts& process : found) end_process(process);
    const auto took = steady_clock::now() - start;
    const bool settled = found.empty() && (!findings.undecided || took >= kUndecidedTime);
    if (settled || took >= limit) return account.report();
    timespec time{0, std::chrono::nanoseconds(pause).count()};
    ::nanosleep(&time, nullptr);
  }
}

std::string cookie_prefix(const std::filesystem::path& state_dir) {
  std::filesystem::path path = state_dir / "cookie";
  auto fail = [&](const char* operation) {
    return std::system_error(errno, std::generic_category(), std::string(operation) + " " + path.string());
  };
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) throw fail("open");
  char buffer[2 * kPrefixBytes];
  ssize_t got = ::read(fd, buffer, sizeof buffer);
  std::string word(buffer, got > 0 ? static_cast<std::size_t>(got) : 0);
  bool good = word.size() == sizeof buffer && word.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!good) {
    word = random_word(kPrefixBytes);
    bool written = ::pwrite(fd, word.data(), word.size(), 0) == static_cast<ssize_t>(word.size()) && ::fsync(fd) == 0;
    if (!written) {
      auto error = fail("write");
      ::close(fd);
      throw error;
    }
  }
  ::close(fd);
  return word;
}

std::string make_cookie(std::string_view prefix) { return std::string(prefix) + "." + random_word(8); }

}  // namespace bulkhead::process
