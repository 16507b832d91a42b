#include "supervisor/become_init.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace bulkhead {
namespace {

constexpr char kProgram[] = "bulkhead-init";
constexpr char kAbove[] = "BULKHEAD_INIT_PID";  // set by it for the supervisor
/// For what an ending supervisor does after its graces: kills, webhooks, last answers.
constexpr std::chrono::milliseconds kEndingTime{15'000};

sigset_t inherited_mask;

void block_early(int argc, char** argv, char**) {
  std::string_view word = argc > 1 ? argv[1] : "";
  if (word != "init" && word != "run" && word != "serve") return;
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &inherited_mask);
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
  unsigned long long bits = 0;
  for (int signal = 1; signal < 65; ++signal)
    if (sigismember(&inherited_mask, signal) == 1) bits |= 1ULL << (signal - 1);
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", bits);
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

bool below_init() {
  const char* above = std::getenv(kAbove);
  bool below = above != nullptr && std::atol(above) == getppid();
  unsetenv(kAbove);  // nobody else's business
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
  if (below_init() || config.init == config::Init::Never) return;
  std::string program = find_init();
  std::error_code error;
  std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
  auto longest = config.grace + config.cancel_grace + config.term_grace + kEndingTime;
  if (!program.empty())
    execute({program, "--supervise", std::to_string(restarts), "--grace", std::to_string(longest.count() / 1000), "--",
             self},
            argv + 1);
  std::fprintf(stderr, "bulkhead: warning: no init (%s: %s): orphans go unreaped, and a killed supervisor stays away\n",
               kProgram, program.empty() ? "not installed" : std::strerror(errno));
}

void open_for_signals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace bulkhead
