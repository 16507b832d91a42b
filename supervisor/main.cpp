// bulkhead: arguments, configuration, and the supervisor they describe; or a command to an endpoint that runs.

#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "client/client.hpp"
#include "supervisor/become_init.hpp"
#include "supervisor/completion.hpp"
#include "supervisor/config/config.hpp"
#include "supervisor/doctor/doctor.hpp"
#include "supervisor/journal_command.hpp"
#include "supervisor/observe/log.hpp"
#include "supervisor/passing_state.hpp"
#include "supervisor/probe.hpp"
#include "supervisor/settings.hpp"
#include "supervisor/source/runpod_settings.hpp"
#include "supervisor/source/test_input.hpp"
#include "supervisor/supervisor.hpp"

namespace {

using namespace bulkhead;

constexpr char kNothingToRun[] =
    "bulkhead: there is no job to run: neither --test_input in the handler's arguments, nor test_input.json in the "
    "working\n"
    "bulkhead: directory, nor RUNPOD_WEBHOOK_GET_JOB in the environment, which RunPod sets for its workers (together "
    "with\n"
    "bulkhead: RUNPOD_WEBHOOK_POST_OUTPUT and RUNPOD_AI_API_KEY) and which makes this a worker of an endpoint.\n"
    "bulkhead: try it on one job:  bulkhead run -- ./handler --test_input '{\"input\": {}}'\n"
    "bulkhead: serve jobs:         bulkhead serve -- ./handler\n";

int print(const config::Exit& exit) {
  std::fputs(exit.text.c_str(), exit.code == config::kOk ? stdout : stderr);
  return exit.code;
}

/// How often a minute a supervisor that was killed is started again.
int restarts(const config::Config& config, const config::Environment& environment) {
  // The local test's job lives in memory: another supervisor would run it a second time.
  auto take = environment.find("RUNPOD_WEBHOOK_GET_JOB");
  bool local = config.subcommand == config::Subcommand::Run &&
               (names_test_job(config.command) || take == environment.end() || take->second.empty());
  return local ? 0 : 10;
}

int supervise_test(config::Config config, Supervisor::Reread reread, observe::Log& log) {
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
  TestJob& test = std::get<TestJob>(found);
  test.job.policy = settings::policy(config);
  return Supervisor(std::move(config), std::move(reread), std::move(test), log).run();
}

int supervise(config::Config config, const config::Environment& environment, Supervisor::Reread reread) {
  static constexpr observe::Format kFormats[] = {observe::Format::Text, observe::Format::Json, observe::Format::Journal,
                                                 observe::Format::RunPod};
  observe::Log log(static_cast<observe::Severity>(config.log_level), kFormats[static_cast<int>(config.log_format)]);
  if (config.subcommand == config::Subcommand::Serve)
    return Supervisor(std::move(config), std::move(reread), FromClients{}, log).run();
  if (names_test_job(config.command)) return supervise_test(std::move(config), std::move(reread), log);

  auto platform = runpod_settings(environment, settings::fresh_id());
  if (auto* wrong = std::get_if<std::string>(&platform)) {
    std::fprintf(stderr, "bulkhead: %s\n", wrong->c_str());
    return config::kBadConfig;
  }
  if (auto* worker = std::get_if<RunPodSettings>(&platform))
    return Supervisor(std::move(config), std::move(reread), std::move(*worker), log).run();
  return supervise_test(std::move(config), std::move(reread), log);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "init") return become_init(argv);
  if (auto code = client::run(argc, argv)) return *code;
  if (argc > 1 && std::string_view(argv[1]) == "completion") return completion_command(argc - 2, argv + 2);
  const auto environment = config::environment_of(environ);
  if (argc > 1 && std::string_view(argv[1]) == "probe") return probe(argc, argv, environment);
  if (argc > 1 && std::string_view(argv[1]) == "journal") return journal_command(argc - 2, argv + 2, environment);
  auto parsed = config::parse(argc, argv, environment);
  if (auto* exit = std::get_if<config::Exit>(&parsed)) return print(*exit);
  if (auto& config = std::get<config::Config>(parsed); config.subcommand == config::Subcommand::Doctor)
    return doctor::examine({config.state_dir, config.listen, config.json});
  become_init_of_supervisor(std::get<config::Config>(parsed), argv,
                            restarts(std::get<config::Config>(parsed), environment));
  fit_graces(std::get<config::Config>(parsed));
  try {
    return supervise(std::move(std::get<config::Config>(parsed)), environment,
                     [argc, argv, &environment] { return config::parse(argc, argv, environment); });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bulkhead: %s\n", error.what());
    return config::kBroken;
  }
}
