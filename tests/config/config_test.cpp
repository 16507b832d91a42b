#include "supervisor/config/config.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "supervisor/config/options.hpp"
#include "supervisor/config/units.hpp"

namespace bulkhead::config {
namespace {

using namespace std::chrono_literals;

/// A settings file that is gone with the test.
class File {
 public:
  explicit File(std::string_view text) {
    char name[] = "/tmp/bulkhead-config-XXXXXX";
    int fd = mkstemp(name);
    close(fd);
    path_ = name;
    std::ofstream(path_) << text;
  }
  ~File() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::variant<Config, Exit> run(std::vector<std::string> words, Environment environment = {{"HOME", "/home/me"}}) {
  words.insert(words.begin(), "bulkhead");
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  return parse(static_cast<int>(argv.size()), argv.data(), environment);
}

/// The configuration of `bulkhead serve WORDS -- ./handler`.
Config serve(std::vector<std::string> words, Environment environment = {{"HOME", "/home/me"}}) {
  words.insert(words.begin(), "serve");
  words.insert(words.end(), {"--", "./handler"});
  auto result = run(words, environment);
  if (auto* exit = std::get_if<Exit>(&result)) ADD_FAILURE() << exit->text;
  return std::holds_alternative<Config>(result) ? std::get<Config>(result) : Config{};
}

Exit refused(std::vector<std::string> words, Environment environment = {{"HOME", "/home/me"}}) {
  auto result = run(words, environment);
  if (std::holds_alternative<Config>(result)) {
    ADD_FAILURE() << "was accepted";
    return {};
  }
  return std::get<Exit>(result);
}

TEST(Units, DurationsTakeUnits) {
  EXPECT_EQ(parse_duration("500ms"), 500ms);
  EXPECT_EQ(parse_duration("10s"), 10s);
  EXPECT_EQ(parse_duration("5m"), 5min);
  EXPECT_EQ(parse_duration("2h"), 2h);
  EXPECT_EQ(parse_duration("1d"), 24h);
  EXPECT_EQ(parse_duration("90"), 90s);
  EXPECT_EQ(parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_duration("0"), 0ms);
  for (const char* bad : {"", "s", "-1s", "1x", "1 fortnight", "s1", "1s2", "nan", "1e99", "99999999999999999999d"}) {
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
  }
}

TEST(Units, SizesTakeUnits) {
  EXPECT_EQ(parse_size("512M"), 512 << 20);
  EXPECT_EQ(parse_size("64K"), 64 << 10);
  EXPECT_EQ(parse_size("20MiB"), 20 << 20);
  EXPECT_EQ(parse_size("2G"), 2LL << 30);
  EXPECT_EQ(parse_size("100"), 100);
  EXPECT_EQ(parse_size("1.5K"), 1536);
  for (const char* bad : {"", "M", "-1", "1T", "0.3", "1e30", "1 MiB x"})
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
}

TEST(Units, FormatsAreReadBackAsTheSameValue) {
  for (auto value : {0ms, 1ms, 1500ms, 90s + 0ms, 120s + 0ms, 7min + 0ms, 26h + 0ms, 48h + 0ms}) {
    EXPECT_EQ(parse_duration(format_duration(value)), value);
  }
  EXPECT_EQ(format_duration(420s), "7m");
  for (std::int64_t value : {0LL, 1LL, 1536LL, 20LL << 20, (20LL << 20) + 1, 3LL << 30}) {
    EXPECT_EQ(parse_size(format_size(value)), value);
  }
}

TEST(Config, DefaultsStandWhenNothingIsSaid) {
  Config config = serve({});
  EXPECT_EQ(config.subcommand, Subcommand::Serve);
  EXPECT_EQ(config.command, std::vector<std::string>{"./handler"});
  EXPECT_EQ(config.workers, 1);
  EXPECT_EQ(config.listen, std::vector<std::string>{"127.0.0.1:8000"});
  EXPECT_EQ(config.dispatch_window, std::nullopt);
  EXPECT_EQ(config.max_run_body, 10 << 20);
  EXPECT_EQ(config.durability, Durability::Full);
  EXPECT_EQ(config.state_dir, "/home/me/.local/state/bulkhead");
}

TEST(Config, AFlagWinsOverTheEnvironmentAndThatOverTheFile) {
  File file("workers = 3\nspares = 3\nretries = 3\ngrace = 3\n");
  Environment environment{{"HOME", "/h"}, {"BULKHEAD_WORKERS", "2"}, {"BULKHEAD_SPARES", "2"}};
  Config config = serve({"--config", file.path(), "--workers", "1"}, environment);
  EXPECT_EQ(config.workers, 1);
  EXPECT_EQ(config.spares, 2);
  EXPECT_EQ(config.retries, 3);
  EXPECT_EQ(config.grace, 3s);
}

TEST(Config, TheEnvironmentMayNameTheFile) {
  File file("workers = 7\n");
  EXPECT_EQ(serve({}, {{"HOME", "/h"}, {"BULKHEAD_CONFIG", file.path()}}).workers, 7);
}

TEST(Config, EveryKindOfValueIsReadFromAFile) {
  File file(R"(# a comment
workers = 4
setup-timeout = "90s"          # another
request-timeout = 1.5
max-run-body = "1M"
max-result = 2048
gpus = [0, "1"]
listen = ["127.0.0.1:0", "unix:/run/x.sock"]
durability = "memory"
log-format = "json"
dispatch-window = 3
command = ["./handler", "--tag=#1", "two words"]
[worker-env]
HF_HOME = "/models"
N = 3
)");
  auto result = run({"serve", "--config", file.path()});
  ASSERT_TRUE(std::holds_alternative<Config>(result)) << std::get<Exit>(result).text;
  auto& config = std::get<Config>(result);
  EXPECT_EQ(config.workers, 4);
  EXPECT_EQ(config.setup_timeout, 90s);
  EXPECT_EQ(config.request_timeout, 1500ms);
  EXPECT_EQ(config.max_run_body, 1 << 20);
  EXPECT_EQ(config.max_result, 2048);
  EXPECT_EQ(config.gpus.which, Gpus::Which::Listed);
  EXPECT_EQ(config.gpus.devices, (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(config.listen, (std::vector<std::string>{"127.0.0.1:0", "unix:/run/x.sock"}));
  EXPECT_EQ(config.durability, Durability::Memory);
  EXPECT_EQ(config.log_format, LogFormat::Json);
  EXPECT_EQ(config.dispatch_window, 3);
  EXPECT_EQ(config.command, (std::vector<std::string>{"./handler", "--tag=#1", "two words"}));
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(config.worker_env, (std::vector<Pair>{{"HF_HOME", "/models"}, {"N", "3"}}));
}

TEST(Config, TheHandlersArgumentsAreLeftAlone) {
  auto result = run({"run", "--workers", "2", "--", "python3", "h.py", "--test_input", "{\"input\": {}}", "--", "-x"});
  ASSERT_TRUE(std::holds_alternative<Config>(result));
  auto& config = std::get<Config>(result);
  EXPECT_EQ(config.subcommand, Subcommand::Run);
  EXPECT_EQ(config.command,
            (std::vector<std::string>{"python3", "h.py", "--test_input", "{\"input\": {}}", "--", "-x"}));
}

TEST(Config, ListsAreRepeatedFlagsOrCommas) {
  EXPECT_EQ(serve({"--listen", "127.0.0.1:1", "--listen", "unix:/a"}).listen,
            (std::vector<std::string>{"127.0.0.1:1", "unix:/a"}));
  EXPECT_EQ(serve({}, {{"HOME", "/h"}, {"BULKHEAD_LISTEN", "127.0.0.1:1,unix:/a"}}).listen,
            (std::vector<std::string>{"127.0.0.1:1", "unix:/a"}));
  EXPECT_EQ(serve({"--worker-env", "A=1=2", "--worker-env=B="}).worker_env,
            (std::vector<std::pair<std::string, std::string>>{{"A", "1=2"}, {"B", ""}}));
  EXPECT_EQ(serve({"--preload", "numpy,a.b", "--preload", "numpy"}).preload,
            (std::vector<std::string>{"numpy", "a.b"}));
  EXPECT_EQ(serve({"--gpus", "0,2"}).gpus.devices, (std::vector<std::string>{"0", "2"}));
}

TEST(Config, OfAFlagGivenTwiceTheLastCounts) { EXPECT_EQ(serve({"--workers", "2", "--workers", "5"}).workers, 5); }

TEST(Config, TheStateDirectoryFollowsItsOrder) {
  Environment environment{{"HOME", "/h"}, {"XDG_STATE_HOME", "/x"}, {"STATE_DIRECTORY", "/s:/t"}};
  EXPECT_EQ(serve({"--state-dir", "/d"}, environment).state_dir, "/d");
  EXPECT_EQ(serve({}, environment).state_dir, "/s");
  environment.erase("STATE_DIRECTORY");
  EXPECT_EQ(serve({}, environment).state_dir, "/x/bulkhead");
  environment["XDG_STATE_HOME"] = "relative";
  EXPECT_EQ(serve({}, environment).state_dir, "/h/.local/state/bulkhead");
  Exit exit = refused({"serve", "--", "x"}, {});
  EXPECT_EQ(exit.code, kBadConfig);
  EXPECT_NE(exit.text.find("--state-dir"), std::string::npos);
}

TEST(Config, WithoutKeysItListensOnThisMachineOnly) {
  for (const char* local : {"127.0.0.1:0", "127.8.8.8:1", "localhost:1", "[::1]:1", "unix:/x"})
    serve({"--listen", local});
  for (const char* open : {"0.0.0.0:1", "[::]:1", "192.168.1.1:1", "example.org:1"}) {
    Exit exit = refused({"serve", "--listen", open, "--", "x"});
    EXPECT_EQ(exit.code, kBadConfig);
    EXPECT_NE(exit.text.find("without keys"), std::string::npos);
  }
  Config config = serve({"--listen", "0.0.0.0:1"}, {{"HOME", "/h"}, {"BULKHEAD_API_KEYS", "me=k1,you=k2"}});
  ASSERT_EQ(config.api_keys.size(), 2U);
  EXPECT_EQ(config.api_keys[1].name, "you");
  EXPECT_EQ(config.api_keys[1].key, "k2");
}

TEST(Config, KeysAreReadFromAFile) {
  File keys("# clients\nme=k1\n\nyou=k=2\n");
  Config config = serve({"--api-key-file", keys.path()});
  ASSERT_EQ(config.api_keys.size(), 2U);
  EXPECT_EQ(config.api_keys[1].key, "k=2");
}

TEST(Config, RateLimitsAreNamedOrRunpods) {
  EXPECT_TRUE(serve({}).rate_limits.empty());
  EXPECT_TRUE(serve({"--rate-limit", "none"}).rate_limits.empty());
  Config own = serve({"--rate-limit", "run=5/2", "--rate-limit", "status=9"});
  ASSERT_EQ(own.rate_limits.size(), 2U);
  EXPECT_EQ(own.rate_limits[0].path, "run");
  EXPECT_EQ(own.rate_limits[0].per_window, 5);
  EXPECT_EQ(own.rate_limits[0].at_once, 2);
  EXPECT_EQ(own.rate_limits[1].at_once, 0);
  Config mixed = serve({"--rate-limit", "runpod", "--rate-limit", "run=7"});
  EXPECT_EQ(mixed.rate_limits.size(), 9U);
  EXPECT_EQ(mixed.rate_limits.back().per_window, 7);
  for (const char* bad : {"run", "=5", "run=", "run=x", "run=-1", "run=1/x", "run=1/", "nowhere=5"}) {
    EXPECT_EQ(refused({"serve", "--rate-limit", bad, "--", "x"}).code, kUsage) << bad;
  }
}

TEST(Config, SocketsThatWereHandedOverAreTheDefaultAddress) {
  Environment environment{{"HOME", "/h"}, {"LISTEN_FDS", "2"}, {"LISTEN_PID", std::to_string(getpid())}};
  EXPECT_EQ(serve({}, environment).listen, (std::vector<std::string>{"fd:3", "fd:4"}));
  EXPECT_EQ(serve({"--listen", "127.0.0.1:1"}, environment).listen, std::vector<std::string>{"127.0.0.1:1"});
  environment["LISTEN_PID"] = "1";  // somebody else's
  EXPECT_EQ(serve({}, environment).listen, std::vector<std::string>{"127.0.0.1:8000"});
  EXPECT_EQ(refused({"serve", "--listen", "fd:1", "--", "x"}).code, kUsage);
}

TEST(Config, HelpAndVersionAreAnswers) {
  for (const char* word : {"--help", "-h", "help"}) {
    Exit exit = refused({word});
    EXPECT_EQ(exit.code, kOk);
    EXPECT_NE(exit.text.find("bulkhead serve --workers 2 -- ./handler"), std::string::npos);
  }
  EXPECT_EQ(refused({"--version"}).text.substr(0, 9), "bulkhead ");
  for (const char* verb : {"run", "serve", "check"}) {
    Exit exit = refused({verb, "--workers", "2", "--help"});
    EXPECT_EQ(exit.code, kOk);
    EXPECT_NE(exit.text.find("--setup-timeout DURATION"), std::string::npos);
    EXPECT_NE(exit.text.find("Examples:"), std::string::npos);
    EXPECT_NE(exit.text.find("Exit codes:"), std::string::npos);
  }
  EXPECT_EQ(refused({"run", "--help"}).text.find("--listen"), std::string::npos);
  EXPECT_NE(refused({"run", "--help"}).text.find("Signals:"), std::string::npos);
  EXPECT_NE(refused({"run", "--help"}).text.find("[10m; on RunPod: the job's own]"), std::string::npos);
  EXPECT_EQ(refused({}).code, kUsage);
}

TEST(Config, NoLineOfTheHelpIsWiderThanATerminal) {
  for (const char* verb : {"run", "serve", "check"}) {
    std::istringstream lines(refused({verb, "--help"}).text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 125U) << line;
  }
}

TEST(Config, WhatThePlatformSaysIsTheDefaultOfRun) {
  Environment platform{{"RUNPOD_WEBHOOK_GET_JOB", "http://x/job-take/$ID?a"},
                       {"RUNPOD_INIT_TIMEOUT", "90"},
                       {"RUNPOD_LOG_LEVEL", "WARN"},
                       {"RUNPOD_ENDPOINT_ID", "ep"}};
  auto config = std::get<Config>(run({"run", "--", "x"}, platform));
  EXPECT_EQ(config.setup_timeout, 90s);
  EXPECT_EQ(config.log_level, LogLevel::Warning);
  EXPECT_EQ(config.log_format, LogFormat::RunPod);
  EXPECT_EQ(config.state_dir, "/var/lib/bulkhead");  // HOME is not set
  EXPECT_FALSE(config.execution_timeout_given);
  config = std::get<Config>(run({"run", "--log-level", "error", "--execution-timeout", "10m", "--prefetch", "2",
                                 "--runpod-stop-pod", "--log-format", "text", "--", "x"},
                                platform));
  EXPECT_EQ(config.log_level, LogLevel::Error);
  EXPECT_EQ(config.log_format, LogFormat::Text);
  EXPECT_TRUE(config.execution_timeout_given);
  EXPECT_EQ(config.prefetch, 2);
  EXPECT_TRUE(config.runpod_stop_pod);
  platform["HOME"] = "/home/me";
  EXPECT_EQ(serve({}, platform).log_level, LogLevel::Info);
  platform["BULKHEAD_RUNPOD_STOP_POD"] = "1";
  EXPECT_TRUE(std::get<Config>(run({"run", "--", "x"}, platform)).runpod_stop_pod);
  platform["BULKHEAD_RUNPOD_STOP_POD"] = "perhaps";
  EXPECT_NE(refused({"run", "--", "x"}, platform).text.find("must be true or false"), std::string::npos);
}

struct Mistake {
  const char* what;
  std::vector<std::string> words;
  int code;
  std::vector<std::string> says;
};

TEST(Config, MistakesOnTheCommandLineAreExplained) {
  const Mistake mistakes[] = {
      {"unknown verb", {"start"}, kUsage, {"start", "run, serve, check, doctor, submit"}},
      {"unknown flag", {"serve", "--wrokers", "3"}, kUsage, {"--wrokers", "did you mean --workers?"}},
      {"flag of serve", {"run", "--listen", "x:1", "--", "x"}, kUsage, {"--listen is an option of serve"}},
      {"flag of run", {"serve", "--prefetch", "1", "--", "x"}, kUsage, {"--prefetch is an option of run"}},
      {"secret as flag", {"serve", "--api-keys", "a=b", "--", "x"}, kUsage, {"BULKHEAD_API_KEYS"}},
      {"no dashes", {"serve", "./handler"}, kUsage, {"-- ./handler"}},
      {"no command", {"serve"}, kUsage, {"nothing to run", "serve -- ./handler"}},
      {"no command", {"run", "--"}, kUsage, {"nothing to run", "run -- ./handler"}},
      {"no value", {"serve", "--workers", "--", "x"}, kUsage, {"--workers"}},
      {"too low", {"serve", "--workers", "0", "--", "x"}, kUsage, {"--workers 0", "1 to 1024"}},
      {"too high", {"serve", "--workers", "1025", "--", "x"}, kUsage, {"1 to 1024"}},
      {"not a number", {"serve", "--workers", "two", "--", "x"}, kUsage, {"--workers two", "whole number"}},
      {"half a worker", {"serve", "--workers", "1.5", "--", "x"}, kUsage, {"whole number"}},
      {"bad duration", {"serve", "--grace", "5y", "--", "x"}, kUsage, {"--grace 5y", "500ms, 10s, 5m"}},
      {"bad size", {"serve", "--max-result", "1Q", "--", "x"}, kUsage, {"--max-result 1Q", "64K, 512M"}},
      {"bad word", {"serve", "--durability", "max", "--", "x"}, kUsage, {"full, relaxed, memory"}},
      {"bad window", {"serve", "--dispatch-window", "17", "--", "x"}, kUsage, {"auto", "0 to 16"}},
      {"bad gpus", {"serve", "--gpus", "one", "--", "x"}, kUsage, {"none, all"}},
      {"bad module", {"serve", "--preload", "numpy;os", "--", "x"}, kUsage, {"Python modules"}},
      {"gpu twice", {"serve", "--gpus", "1,1", "--", "x"}, kUsage, {"twice"}},
      {"bad variable", {"serve", "--worker-env", "A B=1", "--", "x"}, kUsage, {"NAME=VALUE"}},
      {"our variable", {"serve", "--worker-env", "BULKHEAD_X=1", "--", "x"}, kUsage, {"BULKHEAD_"}},
      {"no port", {"serve", "--listen", "localhost", "--", "x"}, kUsage, {"HOST:PORT"}},
      {"bare IPv6", {"serve", "--listen", "::1:80", "--", "x"}, kUsage, {"[IPV6]:PORT"}},
      {"port too high", {"serve", "--listen", "localhost:65536", "--", "x"}, kUsage, {"65535"}},
      {"missing file", {"serve", "--config", "/nonexistent/b.toml", "--", "x"}, kBadConfig, {"/nonexistent/b.toml"}},
      {"missing keys", {"serve", "--api-key-file", "/nonexistent/k", "--", "x"}, kUsage, {"/nonexistent/k", "read"}},
  };
  for (const Mistake& mistake : mistakes) {
    SCOPED_TRACE(mistake.what);
    Exit exit = refused(mistake.words);
    EXPECT_EQ(exit.code, mistake.code);
    for (const std::string& part : mistake.says) EXPECT_NE(exit.text.find(part), std::string::npos) << exit.text;
    EXPECT_EQ(exit.text.back(), '\n');
  }
}

TEST(Config, MistakesInAFileNameItsLineAndTheFix) {
  struct {
    const char* text;
    const char* line;
    std::vector<std::string> says;
  } mistakes[] = {
      {"workers = 2\nwokers = 3\n", ":2: ", {"unknown key wokers", "did you mean workers?"}},
      {"\n\nworkers = 0\n", ":3: ", {"workers = 0", "1 to 1024"}},
      {"workers = [1, 2]\n", ":1: ", {"one value"}},
      {"setup_timeout = 3\n", ":1: ", {"did you mean setup-timeout?"}},
      {"workers = \n", ":1: ", {"TOML"}},
      {"workers = 1\nworkers = 2\n", ":2: ", {"TOML"}},
      {"[serve]\nworkers = 1\n", ":1: ", {"unknown key serve"}},
      {"command = \"./x\"\n", ":1: ", {"array"}},
      {"ttl = 1979-05-27\n", ":1: ", {"ttl", "must be"}},
      {"api-keys = [\"a=b\"]\n", ":1: ", {"unknown key api-keys"}},
  };
  for (auto& mistake : mistakes) {
    SCOPED_TRACE(mistake.text);
    File file(mistake.text);
    Exit exit = refused({"serve", "--config", file.path(), "--", "x"});
    EXPECT_EQ(exit.code, kBadConfig);
    EXPECT_NE(exit.text.find(file.path() + mistake.line), std::string::npos) << exit.text;
    for (const std::string& part : mistake.says) EXPECT_NE(exit.text.find(part), std::string::npos) << exit.text;
  }
}

TEST(Config, MistakesInTheEnvironmentNameTheVariable) {
  Exit exit = refused({"serve", "--", "x"}, {{"HOME", "/h"}, {"BULKHEAD_WORKERS", "x"}});
  EXPECT_EQ(exit.code, kBadConfig);
  EXPECT_NE(exit.text.find("BULKHEAD_WORKERS=x"), std::string::npos);
}

TEST(Config, SecretsAreNeverShown) {
  Environment environment{{"HOME", "/h"},
                          {"BULKHEAD_API_KEYS", "me=hunter2"},
                          {"BULKHEAD_WEBHOOK_SECRET", "hunter3"},
                          {"BULKHEAD_WORKER_ENV", "TOKEN=hunter4"}};
  Exit exit = refused({"check"}, environment);
  EXPECT_EQ(exit.code, kOk);
  EXPECT_EQ(exit.text.find("hunter"), std::string::npos) << exit.text;
  environment["BULKHEAD_API_KEYS"] = "hunter2";
  EXPECT_EQ(refused({"check"}, environment).text.find("hunter"), std::string::npos);
  environment["BULKHEAD_WORKER_ENV"] = "hunter4";
  EXPECT_EQ(refused({"check"}, environment).text.find("hunter"), std::string::npos);
}

TEST(Config, CheckShowsEachValueAndWhereItComesFrom) {
  File file("workers = 2\nlisten = [\"127.0.0.1:0\", \"unix:/run/b.sock\"]\ncommand = [\"./h\", \"-v\"]\n");
  Environment environment{{"BULKHEAD_SPARES", "1"}, {"BULKHEAD_TYPO", "1"}, {"STATE_DIRECTORY", "/var/lib/b"}};
  Exit exit = refused({"check", "--config", file.path(), "--gpus", "0,1"}, environment);
  EXPECT_EQ(exit.code, kOk);
  std::string text = exit.text;
  for (std::size_t at; (at = text.find(file.path())) != std::string::npos;)
    text.replace(at, file.path().size(), "FILE");
  EXPECT_EQ(text, R"(command              ./h -v                        FILE:3
workers              2                             FILE:1
spares               1                             BULKHEAD_SPARES
setup-timeout        7m                            default
max-jobs-per-worker  0                             default
gpus                 0,1                           --gpus
preload                                            default
worker-env                                         default
worker-memory-max    0B                            default
worker-pids-max      0                             default
worker-cpu-weight    0                             default
retries              0                             default
retry-on             crash,lost                    default
retry-backoff        200ms..30s                    default
execution-timeout    10m                           default
ttl                  1d                            default
stall-timeout        0s                            default
quarantine           0                             default
cancel-grace         5s                            default
term-grace           5s                            default
grace                30s                           default
orphan-timeout       1m                            default
orphan-buffer        1MiB                          default
upgrade-timeout      20s                           default
dispatch-window      auto                          default
prefetch             0                             default
runpod-stop-pod      false                         default
listen               127.0.0.1:0,unix:/run/b.sock  FILE:2
api-key-file                                       default
endpoint-id                                        default
webhook-secret-file                                default
webhook-tries        16                            default
webhook-pause        1s                            default
webhook-timeout      30s                           default
queue-max            100000                        default
max-run-body         10MiB                         default
max-runsync-body     20MiB                         default
max-result           20MiB                         default
max-chunk            1MiB                          default
checkpoint-max       64MiB                         default
max-header           16KiB                         default
max-connections      1024                          default
request-timeout      1m                            default
rate-limit           none                          default
state-dir            /var/lib/b                    STATE_DIRECTORY
durability           full                          default
keep-async           30m                           default
keep-sync            1m                            default
dead-max             1000                          default
dead-ttl             30d                           default
init                 always                        default
metrics-listen                                     default
log-level            info                          default
log-format           text                          default
note: BULKHEAD_TYPO is set, and no option reads it
)");
}

TEST(Config, CheckShowsWhatRunWouldUseToo) {
  Environment platform{{"RUNPOD_WEBHOOK_GET_JOB", "http://x/job-take/$ID?a"}, {"RUNPOD_INIT_TIMEOUT", "90"}};
  std::string text = refused({"check", "run", "--prefetch", "2", "--", "x"}, platform).text;
  EXPECT_NE(text.find("RUNPOD_INIT_TIMEOUT"), std::string::npos) << text;
  EXPECT_NE(text.find("execution-timeout    the job's own"), std::string::npos) << text;
  EXPECT_EQ(text.find("\nlisten "), std::string::npos) << text;
  EXPECT_NE(refused({"check", "run"}, {{"HOME", "/h"}}).text.find("execution-timeout    10m"), std::string::npos);
  text = refused({"check", "serve"}, platform).text;
  EXPECT_EQ(text.find("RUNPOD_INIT_TIMEOUT"), std::string::npos) << text;
  EXPECT_EQ(text.find("prefetch"), std::string::npos) << text;
  EXPECT_EQ(refused({"check", "serve", "--prefetch", "2"}, platform).code, kUsage);
  EXPECT_EQ(refused({"check", "run", "--listen", "127.0.0.1:0"}, platform).code, kUsage);
}

TEST(Config, GuardsOfHandlerProcesses) {
  EXPECT_EQ(serve({"--worker-memory-max", "2G"}).worker_memory_max, 2LL << 30);
  EXPECT_EQ(serve({"--worker-memory-max", "0"}).worker_memory_max, 0);
  EXPECT_EQ(serve({"--worker-pids-max", "64", "--worker-cpu-weight", "10"}).worker_pids_max, 64);
  Exit exit = refused({"serve", "--worker-memory-max", "512", "--", "x"});
  EXPECT_EQ(exit.code, kUsage);
  EXPECT_NE(exit.text.find("--worker-memory-max 512: must be 0 (no limit), or a size from 1MiB"), std::string::npos)
      << exit.text;
}

TEST(Config, EveryOptionsDefaultIsAValueItTakes) {
  Config config;
  for (const Option& option : options()) {
    std::string shown = option.show(config);
    if (shown.empty()) continue;
    Config other;
    EXPECT_EQ(option.set(other, {shown}), "") << option.name;
    EXPECT_EQ(option.show(other), shown) << option.name;
  }
}

}  // namespace
}  // namespace bulkhead::config
