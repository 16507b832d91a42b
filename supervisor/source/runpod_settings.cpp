#include "supervisor/source/runpod_settings.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace bulkhead {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPingMin{100};
constexpr milliseconds kPingMax{3'600'000};

std::string value_of(const EnvironmentVariables& environment, std::string_view name) {
  auto found = environment.find(name);
  return found == environment.end() ? std::string() : found->second;
}

std::optional<std::string> fault_of_url(std::string_view url) {
  if (!url.starts_with("http://") && !url.starts_with("https://"))
    return "must be a URL that begins with http:// or https://";
  if (std::any_of(url.begin(), url.end(), [](char c) { return c >= 0 && c <= ' '; }))
    return "must be a URL without blanks and control characters";
  return {};
}

void set_ping_interval(RunPodSettings& settings, const std::string& text) {
  if (text.empty()) return;
  std::int64_t given = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), given);
  if (error != std::errc{} || end != text.data() + text.size() || given <= 0) {
    settings.remarks.emplace_back("RUNPOD_PING_INTERVAL is not a number of milliseconds: a ping goes out every " +
                                  std::to_string(settings.ping_interval.count()) + " ms");
    return;
  }
  settings.ping_interval = std::clamp(milliseconds(given), kPingMin, kPingMax);
  if (settings.ping_interval.count() != given)
    settings.remarks.emplace_back("RUNPOD_PING_INTERVAL is beyond its limits: a ping goes out every " +
                                  std::to_string(settings.ping_interval.count()) + " ms");
}

void set_number(RunPodSettings& settings, const EnvironmentVariables& environment, std::string_view name,
                double& number) {
  std::string text = value_of(environment, name);
  if (text.empty()) return;
  double given = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), given);
  if (error == std::errc{} && end == text.data() + text.size() && given >= 0 && given <= 1e9)
    number = given;
  else
    settings.remarks.emplace_back(std::string(name) + " is not a number, and is not honoured");
}

void set_fitness(RunPodSettings& settings, const EnvironmentVariables& environment) {
  std::string skip = value_of(environment, "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS");
  std::transform(skip.begin(), skip.end(), skip.begin(),
                 [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  settings.fitness.checked = skip != "true";
  set_number(settings, environment, "RUNPOD_MIN_MEMORY_GB", settings.fitness.memory_gb);
  set_number(settings, environment, "RUNPOD_MIN_DISK_PERCENT", settings.fitness.disk_percent);
}

/// Variables of the official worker that mean something else here, or nothing.
void remark_unsupported(RunPodSettings& settings, const EnvironmentVariables& environment) {
  static constexpr std::pair<std::string_view, std::string_view> kUnsupported[] = {
      {"RUNPOD_REALTIME_PORT", "no realtime server is started; `bulkhead serve` answers requests over HTTP"},
      {"RUNPOD_REALTIME_CONCURRENCY", "no realtime server is started"},
      {"RUNPOD_NETWORK_CHECK_TIMEOUT", "the network is not checked at start"},
      {"RUNPOD_MIN_CUDA_VERSION", "CUDA is not checked at start"},
      {"RUNPOD_GPU_TEST_TIMEOUT", "the GPU is not tested at start"},
      {"RUNPOD_GPU_BENCHMARK_TIMEOUT", "the GPU is not tested at start"},
      {"RUNPOD_GPU_MAX_ERROR_MESSAGES", "the GPU is not tested at start"},
      {"RUNPOD_BINARY_GPU_TEST_PATH", "the GPU is not tested at start"},
  };
  for (const auto& [name, meaning] : kUnsupported)
    if (!value_of(environment, name).empty())
      settings.remarks.emplace_back(std::string(name) + " is set and not supported: " + std::string(meaning));
}

}  // namespace

std::variant<RunPodSettings, NotOnRunPod, std::string> runpod_settings(const EnvironmentVariables& environment,
                                                                       std::string_view fresh_id) {
  RunPodSettings settings;
  settings.take = value_of(environment, "RUNPOD_WEBHOOK_GET_JOB");
  if (settings.take.empty()) return NotOnRunPod{};
  settings.output = value_of(environment, "RUNPOD_WEBHOOK_POST_OUTPUT");
  settings.stream = value_of(environment, "RUNPOD_WEBHOOK_POST_STREAM");
  settings.ping = value_of(environment, "RUNPOD_WEBHOOK_PING");
  if (settings.output.empty())
    return "RUNPOD_WEBHOOK_GET_JOB is set and RUNPOD_WEBHOOK_POST_OUTPUT is not: results would have nowhere to go. Set "
           "both, or neither for a local test.";
  for (auto [name, url] :
       {std::pair("RUNPOD_WEBHOOK_GET_JOB", &settings.take), std::pair("RUNPOD_WEBHOOK_POST_OUTPUT", &settings.output),
        std::pair("RUNPOD_WEBHOOK_POST_STREAM", &settings.stream), std::pair("RUNPOD_WEBHOOK_PING", &settings.ping)}) {
    if (url->empty()) continue;
    if (auto fault = fault_of_url(*url)) return std::string(name) + " " + *fault;
  }
  settings.key = value_of(environment, "RUNPOD_AI_API_KEY");
  if (std::any_of(settings.key.begin(), settings.key.end(), [](char c) { return c >= 0 && c < ' '; }))
    return std::string("RUNPOD_AI_API_KEY has a line break or control character in it: it cannot be sent in a header");
  settings.worker_id = value_of(environment, "RUNPOD_POD_ID");
  if (settings.worker_id.empty()) settings.worker_id = fresh_id;
  settings.integration = value_of(environment, "RUNPOD_UA_INTEGRATION");
  std::erase_if(settings.integration, [](char c) { return c <= ' ' || c > '~'; });
  if (settings.key.empty())
    settings.remarks.emplace_back("RUNPOD_AI_API_KEY is not set: calls to the platform carry no key");
  if (settings.stream.empty())
    settings.remarks.emplace_back("RUNPOD_WEBHOOK_POST_STREAM is not set: chunks of streams are not sent");
  if (settings.ping.empty())
    settings.remarks.emplace_back("RUNPOD_WEBHOOK_PING is not set: the platform is sent no pings");
  set_ping_interval(settings, value_of(environment, "RUNPOD_PING_INTERVAL"));
  set_fitness(settings, environment);
  remark_unsupported(settings, environment);
  return settings;
}

}  // namespace bulkhead
