// bulkhead: arguments, configuration, and the supervisor they describe; or a command to an endpoint that runs.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "client/client.hpp"
#include "supervisor/become_init.hpp"
#include "supervisor/config/config.hpp"
#include "supervisor/observe/log.hpp"
#include "supervisor/source/test_input.hpp"
#include "supervisor/supervisor.hpp"

namespace {

using namespace bulkhead;

constexpr char kNothingToRun[] =
    "bulkhead: there is no job to run: neither --test_input in the handler's arguments, nor test_input.json in the "
    "working\n"
    "bulkhead: directory. (RUNPOD_WEBHOOK_GET_JOB is not looked at: this version takes no jobs from the platform.)\n"
    "bulkhead: try it on one job:  bulkhead run -- ./handler --test_input '{\"input\": {}}'\n"
    "bulkhead: serve jobs:         bulkhead serve -- ./handler\n";

int print(const config::Exit& exit) {
  std::fputs(exit.text.c_str(), exit.code == config::kOk ? stdout : stderr);
  return exit.code;
}

/// A state directory for a local test: nothing of it is kept.
class PassingState {
 public:
  PassingState() {
    std::string path = (std::filesystem::temp_directory_path() / "bulkhead-test-XXXXXX").string();
    if (!mkdtemp(path.data())) throw std::system_error(errno, std::generic_category(), "mkdtemp " + path);
    path_ = path;
  }
  ~PassingState() {
    std::error_code ignored;  // a leftover in the temporary directory is all that can come of it
    std::filesystem::remove_all(path_, ignored);
  }
  PassingState(const PassingState&) = delete;
  PassingState& operator=(const PassingState&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// How often a minute a supervisor that was killed is started again.
int restarts(const config::Config& config) {
  // The local test's job lives in memory: another supervisor would run it a second time.
  return config.subcommand == config::Subcommand::Serve ? 10 : 0;
}

int supervise(config::Config config) {
  observe::Log log(static_cast<observe::Severity>(config.log_level),
                   config.log_format == config::LogFormat::Json ? observe::Format::Json : observe::Format::Text);
  if (config.subcommand == config::Subcommand::Serve) return Supervisor(std::move(config), std::nullopt, log).run();

  auto found = find_test_job(config.command);
  if (auto* wrong = std::get_if<std::string>(&found)) {
    std::fprintf(stderr, "bulkhead: %s\n", wrong->c_str());
    return config::kJobFailed;
  }
  if (std::holds_alternative<NoTestJob>(found)) {
    std::fputs(kNothingToRun, stderr);
    return config::kUsage;
  }
  PassingState state;
  config.state_dir = state.path();
  config.durability = config::Durability::Memory;
  auto& test = std::get<TestJob>(found);
  test.job.policy.execution_timeout = config.execution_timeout;
  test.job.policy.max_attempts = 1 + config.retries;
  return Supervisor(std::move(config), std::move(test), log).run();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "init") return become_init(argv);
  if (auto code = client::run(argc, argv)) return *code;
  auto parsed = config::parse(argc, argv, config::environment_of(environ));
  if (auto* exit = std::get_if<config::Exit>(&parsed)) return print(*exit);
  become_init_of_supervisor(std::get<config::Config>(parsed), argv, restarts(std::get<config::Config>(parsed)));
  try {
    return supervise(std::move(std::get<config::Config>(parsed)));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bulkhead: %s\n", error.what());
    return config::kBroken;
  }
}
