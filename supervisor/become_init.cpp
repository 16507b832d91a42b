// The way to the init and what comes down from it: this program executes it, it starts this program anew below itself, and what
// it offers stands in the environment, which is read and cleared once: handlers are not told.

#include "supervisor/become_init.hpp"

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/init/channel.hpp"

namespace bulkhead {
namespace {

constexpr char kProgram[] = "bulkhead-init";
constexpr char kAbove[] = "BULKHEAD_INIT_PID";        // set by it for the supervisor
constexpr char kItsGrace[] = "BULKHEAD_INIT_GRACE";   // so is this: milliseconds
constexpr char kReports[] = "BULKHEAD_INIT_REPORTS";  // and this: a descriptor
/// For what an ending supervisor does after its graces: kills, webhooks, last answers.
constexpr std::chrono::milliseconds kEndingTime{15'000};

pid_t above_us = 0;
int reap_reports = -1;
std::optional<InitChannel> channel;
std::vector<std::string> words_of_start;
unsigned long inherited_mask;  // the kernel's set: the lowest bit is signal 1

// Not even a sanitizer is set up when this runs: plain code and bare system calls. Spelled the one way that both
// GCC and Clang read: Clang knows no gnu:: form, nor several names in one string.
#define BEFORE_SANITIZERS __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

BEFORE_SANITIZERS bool same(const char* a, const char* b) {
  while (*a != '\0' && *a == *b) ++a, ++b;
  return *a == *b;
}

BEFORE_SANITIZERS void block_early(int argc, char** argv, char**) {
  if (argc < 2 || (!same(argv[1], "init") && !same(argv[1], "run") && !same(argv[1], "serve"))) return;
  const unsigned long all_but_the_c_library_s = ~(3UL << 31);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all_but_the_c_library_s, &inherited_mask, sizeof inherited_mask);
}

// Before any constructor, ours or a library's.
[[gnu::section(".preinit_array"), gnu::used]] void (*const at_the_start)(int, char**, char**) = block_early;

std::string find_init() {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const std::filesystem::path& place :
       {self / "init" / kProgram, self.parent_path() / "libexec" / "bulkhead" / kProgram,
        std::filesystem::path(BULKHEAD_LIBEXEC_DIR) / kProgram})
    if (access(place.c_str(), X_OK) == 0) return place.string();
  return {};
}

/// As in /proc/self/status.
std::string mask_in_hex() {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016lx", inherited_mask);
  return text.data();
}

/// Only returns if it fails.
void execute(std::vector<std::string> words, char** more) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  for (; *more != nullptr; ++more) arguments.push_back(*more);
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
}

/// From SIGTERM to the end, at the longest. A job's ladder, and a second one behind it: of a child that was launched
/// meanwhile, or that sat idle and does not go.
std::chrono::milliseconds longest_end(const config::Config& config) {
  return config.grace + config.cancel_grace + 2 * config.term_grace + kEndingTime;
}

/// The name this program was started by, which may lead to another file some day; what it leads to now where the kernel
/// was not told that name.
std::string own_path() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path exact = fs::read_symlink("/proc/self/exe", error);
  const auto* name = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  if (name == nullptr) return exact;
  const fs::path path = fs::absolute(name, error);
  return !error && fs::equivalent(path, exact, error) ? path : exact;
}

/// A new supervisor has as long to become ready, but no longer than children wait for one.
std::chrono::seconds trial_of(const config::Config& config) {
  using std::chrono::seconds;
  auto most = std::chrono::floor<seconds>(config.orphan_timeout / 2);
  return std::max(seconds(1), std::min(std::chrono::ceil<seconds>(config.upgrade_timeout), most));
}

void take_channel() {
  const char* text = std::getenv(init::kChannel);
  const char* life = std::getenv(init::kLife);
  InitChannel found;
  int version = 0;
  if (text != nullptr &&
      std::sscanf(text, "%d %d %d %d %d %d", &version, &found.listeners_in, &found.listeners_out, &found.connections_in,
                  &found.connections_out, &found.ready) == 6 &&
      version == init::kChannelVersion) {
    bool open = true;
    for (int fd : {found.listeners_in, found.listeners_out, found.connections_in, found.connections_out, found.ready})
      open = fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && open;
    found.life = life != nullptr ? life : "first";
    if (open) channel = std::move(found);
  }
  unsetenv(init::kChannel);
  unsetenv(init::kLife);
}

bool below_init() {
  const char* above = std::getenv(kAbove);
  bool below = above != nullptr && std::atol(above) == getppid();
  unsetenv(kAbove);  // nobody else's business
  if (below) above_us = getppid();
  const char* reports = std::getenv(kReports);
  if (below && reports != nullptr && fcntl(std::atoi(reports), F_SETFD, FD_CLOEXEC) == 0)
    reap_reports = std::atoi(reports);
  unsetenv(kReports);
  if (below) {
    take_channel();
    prctl(PR_SET_NAME, "bulkhead");  // executed through a descriptor it would have that one's
  }
  return below;
}

}  // namespace

int become_init(char** argv) {
  std::string program = find_init();
  if (!program.empty()) execute({program, "--mask", mask_in_hex()}, argv + 2);
  std::fprintf(stderr, "bulkhead: cannot run %s: %s\n", program.empty() ? kProgram : program.c_str(),
               program.empty() ? "it is not installed" : std::strerror(errno));
  return config::kBroken;
}

void become_init_of_supervisor(const config::Config& config, char** argv, int restarts) {
  for (char** word = argv; *word != nullptr; ++word) words_of_start.emplace_back(*word);
  if (below_init() || config.init == config::Init::Never) return;
  std::string program = find_init();
  std::string self = own_path();
  // In whole seconds, upwards.
  auto seconds = std::chrono::ceil<std::chrono::seconds>(longest_end(config)).count();
  if (!program.empty())
    execute({program, "--supervise", std::to_string(restarts), "--grace", std::to_string(seconds), "--trial",
             std::to_string(trial_of(config).count()), "--", self},
            argv + 1);
  std::fprintf(stderr, "bulkhead: warning: no init (%s: %s): orphans go unreaped, and a killed supervisor stays away\n",
               kProgram, program.empty() ? "not installed" : std::strerror(errno));
}

void fit_graces(config::Config& config) {
  const char* given = std::getenv(kItsGrace);
  const std::chrono::milliseconds most(given == nullptr ? 0 : std::atoll(given));
  unsetenv(kItsGrace);
  if (given == nullptr || longest_end(config) <= most) return;
  auto over = longest_end(config) - most;
  const auto asked = config.grace;
  for (auto* grace : {&config.grace, &config.cancel_grace, &config.term_grace}) {
    const auto less = std::min(over, *grace);
    *grace -= less;
    over = std::max(over - (grace == &config.term_grace ? 2 * less : less), std::chrono::milliseconds(0));
  }
  std::fprintf(stderr,
               "bulkhead: warning: grace = %lld s: the init above was started for less and would kill before; it is "
               "%lld s until a restart of the service\n",
               static_cast<long long>(asked.count() / 1000), static_cast<long long>(config.grace.count() / 1000));
}

pid_t init_above() { return above_us; }

const std::optional<InitChannel>& init_channel() { return channel; }

void tell_init_ready() {
  if (!channel) return;
  const auto self = static_cast<std::int32_t>(getpid());
  if (write(channel->ready, &self, sizeof self) == sizeof self) kill(above_us, SIGCHLD);
}

const std::vector<std::string>& own_words() { return words_of_start; }

int take_reap_reports() { return std::exchange(reap_reports, -1); }

void open_for_signals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace bulkhead
