// The values that are more than a number or a word: devices, addresses, keys, limits by path.
//
// Each is read by a function of its own that puts it into the Config or answers with what is wrong, as the end of a
// sentence that begins with the option's name ("must be …"), and shown by another as `check` prints it. Nothing of a
// value that is refused is kept.

#include "supervisor/config/values.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <fstream>
#include <utility>

#include "supervisor/config/units.hpp"

namespace bulkhead::config {
namespace {

/// Host and port of HOST:PORT, or none.
std::optional<std::pair<std::string_view, std::string_view>> split_address(std::string_view listen) {
  std::size_t colon = listen.rfind(':');
  if (colon == std::string_view::npos) return {};
  std::string_view host = listen.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return {};
  }
  if (host.empty()) return {};
  return std::pair{host, listen.substr(colon + 1)};
}

/// RunPod's table of what an endpoint takes in ten seconds, and at a time.
const std::array kRunpodLimits{
    RateLimit{"run", 1000, 200},         RateLimit{"runsync", 2000, 400}, RateLimit{"status", 2000, 400},
    RateLimit{"status-sync", 2000, 400}, RateLimit{"stream", 2000, 400},  RateLimit{"openai", 2000, 400},
    RateLimit{"cancel", 100, 20},        RateLimit{"purge-queue", 2, 0},  RateLimit{"requests", 10, 2}};

/// The file's lines without blank ones and comments, or none when it cannot be read.
std::optional<Texts> read_lines(const std::string& path) {
  std::ifstream file(path);
  if (!file) return {};
  Texts lines;
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && line.front() != '#') lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

std::string join(const Texts& texts) {
  std::string all;
  for (const std::string& text : texts) all.append(all.empty() ? "" : ",").append(text);
  return all;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

std::string set_dispatch_window(Config& config, const Texts& texts) {
  if (texts.front() == "auto") {
    config.dispatch_window.reset();
    return {};
  }
  auto value = parse_integer(texts.front());
  if (!value || *value < 0 || *value > 16) return "must be auto, or a whole number, 0 to 16";
  config.dispatch_window = static_cast<int>(*value);
  return {};
}

std::string show_dispatch_window(const Config& config) {
  return config.dispatch_window ? std::to_string(*config.dispatch_window) : "auto";
}

std::string set_retry_on(Config& config, const Texts& texts) {
  constexpr std::array<std::string_view, 4> kWays{"crash", "timeout", "lost", "error"};
  config.retry_on.clear();
  for (const std::string& text : texts) {
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      std::string way = text.substr(begin, end - begin);
      begin = end + 1;
      if (way == "none" && texts.size() == 1 && text == way) return {};
      if (std::find(kWays.begin(), kWays.end(), way) == kWays.end())
        return "must be one or several of crash, timeout, lost, error with commas between, or none";
      if (std::find(config.retry_on.begin(), config.retry_on.end(), way) == config.retry_on.end())
        config.retry_on.push_back(std::move(way));
    }
  }
  return {};
}

std::string set_retry_backoff(Config& config, const Texts& texts) {
  constexpr milliseconds kLongest{3'600'000};
  const std::string& text = texts.front();
  const std::size_t dots = text.find("..");
  auto least = parse_duration(text.substr(0, dots));
  auto most = dots == std::string::npos ? least : parse_duration(text.substr(dots + 2));
  if (!least || !most || *least > *most || *most > kLongest)
    return "must be two durations from 0s to 1h, the smaller one first, such as 200ms..30s";
  config.retry_backoff_min = *least;
  config.retry_backoff_max = *most;
  return {};
}

std::string show_retry_backoff(const Config& config) {
  return format_duration(config.retry_backoff_min) + ".." + format_duration(config.retry_backoff_max);
}

std::string set_gpus(Config& config, const Texts& texts) {
  Gpus gpus;
  if (texts.size() == 1) {
    for (auto [word, which] :
         {std::pair{"inherited", Gpus::Which::Inherited}, {"none", Gpus::Which::None}, {"all", Gpus::Which::All}}) {
      if (texts.front() != word) continue;
      gpus.which = which;
      config.gpus = std::move(gpus);
      return {};
    }
  }
  gpus.which = Gpus::Which::Listed;
  for (const std::string& text : texts) {
    std::size_t begin = 0;
    while (begin <= text.size()) {
      std::size_t end = std::min(text.find(',', begin), text.size());
      std::string device = text.substr(begin, end - begin);
      bool number = !device.empty() && device.find_first_not_of("0123456789") == std::string::npos;
      if (!number && !device.starts_with("GPU-") && !device.starts_with("MIG-")) {
        return "must be none, all, or devices such as 0,1 or GPU-<uuid>";
      }
      if (std::find(gpus.devices.begin(), gpus.devices.end(), device) != gpus.devices.end()) {
        return "names device " + device + " twice";
      }
      gpus.devices.push_back(std::move(device));
      begin = end + 1;
    }
  }
  config.gpus = std::move(gpus);
  return {};
}

std::string set_preload(Config& config, const Texts& texts) {
  Texts modules;
  for (const std::string& text : texts) {
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      std::string module = text.substr(begin, end - begin);
      const bool name =
          !module.empty() && module.front() != '.' && module.back() != '.' && module.find("..") == std::string::npos &&
          std::all_of(module.begin(), module.end(),
                      [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '.' || c >= 0x80; });
      if (!name) return "must be names of Python modules with commas between, such as numpy,onnxruntime";
      if (std::find(modules.begin(), modules.end(), module) == modules.end()) modules.push_back(std::move(module));
      begin = end + 1;
    }
  }
  config.preload = std::move(modules);
  return {};
}

std::string show_gpus(const Config& config) {
  switch (config.gpus.which) {
    case Gpus::Which::Inherited: return "inherited";
    case Gpus::Which::None: return "none";
    case Gpus::Which::All: return "all";
    case Gpus::Which::Listed: break;
  }
  return join(config.gpus.devices);
}

std::string set_worker_env(Config& config, const Texts& texts) {
  config.worker_env.clear();
  for (const std::string& text : texts) {
    std::size_t equals = text.find('=');
    std::string name = text.substr(0, equals);
    bool good = equals != std::string::npos && !name.empty() && (name.front() < '0' || name.front() > '9') &&
                std::all_of(name.begin(), name.end(), [](unsigned char c) { return c == '_' || std::isalnum(c); });
    if (!good) return "must be NAME=VALUE, the name of letters, digits and underscores";
    if (name.starts_with("BULKHEAD_")) return "must not set " + name + ": BULKHEAD_* is how the child is spoken to";
    config.worker_env.emplace_back(std::move(name), text.substr(equals + 1));
  }
  return {};
}

std::string show_worker_env(const Config& config) {
  std::string all;
  for (const auto& [name, value] : config.worker_env) all.append(all.empty() ? "" : ",").append(name).append("=***");
  return all;
}

std::string fault_of_addresses(const Texts& texts) {
  for (const std::string& text : texts) {
    if (text.starts_with("fd:")) {
      auto fd = parse_integer(std::string_view(text).substr(3));
      if (!fd || *fd < 3 || *fd > 65535) return "must be the number of a listening socket after fd:, 3 or more";
      continue;
    }
    if (text.starts_with("unix:")) {
      // sockaddr_un holds 108 bytes, its terminating zero included.
      if (text.size() == 5 || text.size() - 5 > 107) return "must name a path of 1 to 107 bytes after unix:";
      continue;
    }
    auto parts = split_address(text);
    auto port = parts ? parse_integer(parts->second) : std::nullopt;
    if (!port || *port < 0 || *port > 65535) {
      return "must be HOST:PORT, [IPV6]:PORT or unix:/path, the port 0 (any that is free) to 65535";
    }
  }
  return {};
}

std::string set_listen(Config& config, const Texts& texts) {
  std::string fault = fault_of_addresses(texts);
  if (fault.empty()) config.listen = texts;
  return fault;
}

std::string set_metrics_listen(Config& config, const Texts& texts) {
  std::string fault = fault_of_addresses(texts);
  if (fault.empty()) config.metrics_listen = texts;
  return fault;
}

std::string set_rate_limit(Config& config, const Texts& texts) {
  constexpr std::string_view kAllowed =
      "must be none, runpod, or PATH=N or PATH=N/M (N in ten seconds, M at a time; 0: no limit), such as run=1000/200";
  std::vector<RateLimit> limits;
  for (const std::string& text : texts) {
    if (text == "none" && texts.size() == 1) break;
    if (text == "runpod") {
      limits.insert(limits.end(), kRunpodLimits.begin(), kRunpodLimits.end());
      continue;
    }
    std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) return std::string(kAllowed);
    std::size_t slash = std::min(text.find('/', equals), text.size());
    std::string_view path = std::string_view(text).substr(0, equals);
    auto per_window = parse_integer(std::string_view(text).substr(equals + 1, slash - equals - 1));
    auto at_once = slash < text.size() ? parse_integer(std::string_view(text).substr(slash + 1)) : 0;
    auto in_range = [](const std::optional<std::int64_t>& n) { return n && *n >= 0 && *n <= 1'000'000'000; };
    if (!in_range(per_window) || !in_range(at_once)) return std::string(kAllowed);
    bool known = std::any_of(kRunpodLimits.begin(), kRunpodLimits.end(), [&](auto& row) { return row.path == path; }) ||
                 path == "health" || path == "retry";
    if (!known) return "must name a path of the endpoint, such as run, runsync, status, stream or cancel";
    // A path said on its own overrides its row of a table said before it.
    std::erase_if(limits, [&](const RateLimit& limit) { return limit.path == path; });
    limits.push_back({std::string(path), static_cast<int>(*per_window), static_cast<int>(*at_once)});
  }
  config.rate_limits = std::move(limits);
  return {};
}

std::string show_rate_limits(const Config& config) {
  if (config.rate_limits.empty()) return "none";
  std::string all;
  for (const RateLimit& limit : config.rate_limits) {
    all.append(all.empty() ? "" : ",").append(limit.path).append("=").append(std::to_string(limit.per_window));
    if (limit.at_once > 0) all.append("/").append(std::to_string(limit.at_once));
  }
  return all;
}

std::string set_endpoint_id(Config& config, const Texts& texts) {
  const std::string& id = texts.front();
  bool good = !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_';
  });
  if (!good) return "must be 1 to 64 letters, digits, dashes or underscores";
  config.endpoint_id = id;
  return {};
}

std::string set_state_dir(Config& config, const Texts& texts) {
  if (texts.front().empty()) return "must be a directory";
  config.state_dir = texts.front();
  return {};
}

std::string add_keys(Config& config, const Texts& lines) {
  for (const std::string& line : lines) {
    std::size_t equals = line.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == line.size()) return "must be name=key";
    std::string name = line.substr(0, equals);
    bool twice = std::any_of(config.api_keys.begin(), config.api_keys.end(),
                             [&](const ApiKey& known) { return known.name == name; });
    if (twice) return "must name each key once; " + name + " is there twice";
    config.api_keys.push_back({std::move(name), line.substr(equals + 1)});
  }
  return {};
}

std::string set_api_key_file(Config& config, const Texts& texts) {
  auto lines = read_lines(texts.front());
  if (!lines) return "must be a file that can be read";
  if (lines->empty()) return "must hold at least one line name=key";
  std::string problem = add_keys(config, *lines);
  return problem.empty() ? problem : "every line " + problem;
}

std::string show_api_keys(const Config& config) {
  std::string all;
  for (const ApiKey& key : config.api_keys) all.append(all.empty() ? "" : ",").append(key.name).append("=***");
  return all;
}

std::string set_webhook_secret(Config& config, const Texts& texts) {
  if (texts.front().empty()) return "must not be empty";
  config.webhook_secret = texts.front();
  return {};
}

std::string set_webhook_secret_file(Config& config, const Texts& texts) {
  auto lines = read_lines(texts.front());
  if (!lines || lines->size() != 1) return "must be a file of one line, the secret";
  config.webhook_secret = lines->front();
  return {};
}

std::string show_webhook_secret(const Config& config) { return config.webhook_secret.empty() ? "" : "***"; }

bool is_local(std::string_view listen) {
  // Where a socket that was handed over listens shows only when it is looked at: the server does.
  if (listen.starts_with("unix:") || listen.starts_with("fd:")) return true;
  auto parts = split_address(listen);
  return parts && (parts->first == "localhost" || parts->first == "::1" || parts->first.starts_with("127."));
}

}  // namespace bulkhead::config
