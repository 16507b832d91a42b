#include "supervisor/probe.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <variant>
#include <vector>

#include "protocol/handshake.hpp"
#include "supervisor/doctor/address.hpp"
#include "supervisor/init/channel.hpp"
#include "supervisor/journal/maintenance.hpp"

namespace bulkhead {
namespace {

constexpr std::string_view kEndpoint = "endpoint ";
constexpr std::string_view kMetrics = "metrics ";

std::string_view port_of(std::string_view address) { return address.substr(address.rfind(':') + 1); }

/// Of the addresses to listen on one where that will fail, and why; empty: there is none. `listening` is kListening's value.
std::string cannot_listen(const config::Config& config, const std::string& listening) {
  std::vector<std::string> held;
  bool endpoint = false;  // the asker may take its jobs from elsewhere
  bool given = false;     // it was handed its sockets, and `listen` says nothing then
  std::istringstream lines(listening);
  for (std::string line; std::getline(lines, line);) {
    const bool metrics = line.starts_with(kMetrics);
    if (!metrics && !line.starts_with(kEndpoint)) continue;
    held.push_back(line.substr(metrics ? kMetrics.size() : kEndpoint.size()));
    endpoint = endpoint || !metrics;
    given = given || held.back().starts_with("fd:");
  }
  std::vector<std::string> wanted = config.metrics_listen;
  if (endpoint && !given) wanted.insert(wanted.end(), config.listen.begin(), config.listen.end());
  for (const std::string& address : wanted) {
    if (address.starts_with("fd:") || std::find(held.begin(), held.end(), address) != held.end()) continue;
    const int error = doctor::try_address(address);
    // 0.0.0.0:8000 in place of 127.0.0.1:8000: what is in the way is let go of by then.
    const bool in_our_own_way = error == EADDRINUSE && std::any_of(held.begin(), held.end(), [&](const auto& ours) {
                                  return !ours.starts_with("unix:") && port_of(ours) == port_of(address);
                                });
    if (error != 0 && !in_our_own_way) return "cannot listen on " + address + ": " + std::strerror(error);
  }
  return {};
}

}  // namespace

int probe(int argc, const char* const* argv, const config::Environment& environment) {
  if (argc < 4) {
    std::fputs("bulkhead: probe is what one version asks another at an upgrade: bulkhead probe CHANNEL WORDS…\n",
               stderr);
    return config::kUsage;
  }
  if (const int channel = std::atoi(argv[2]); channel != init::kChannelVersion) {
    std::fprintf(
        stderr,
        "the init above has version %d of its channel, and this program speaks version %d: it needs a restart of "
        "the service or container\n",
        channel, init::kChannelVersion);
    return config::kBroken;
  }
  std::vector<const char*> words{argv[0]};
  words.insert(words.end(), argv + 3, argv + argc);
  auto parsed = config::parse(static_cast<int>(words.size()), words.data(), environment);
  if (auto* exit = std::get_if<config::Exit>(&parsed)) {
    std::fputs(exit->text.c_str(), stderr);
    return exit->code != config::kOk ? exit->code : config::kUsage;
  }
  const auto& config = std::get<config::Config>(parsed);
  if (auto listening = environment.find(kListening); listening != environment.end()) {
    if (const std::string refusal = cannot_listen(config, listening->second); !refusal.empty()) {
      std::fprintf(stderr, "%s\n", refusal.c_str());
      return config::kBroken;
    }
  }
  int format = 0;
  try {
    format = journal::format_version(std::filesystem::path(config.state_dir) / "journal.db");
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return config::kBroken;
  }
  std::printf("%s%s\",\"journal\":%d,\"journal_now\":%d,\"protocol\":[%u,%u]}\n", kProbed.data(),
              std::string(config::version()).c_str(), journal::newest_format(), format,
              static_cast<unsigned>(protocol::kOldestVersion), static_cast<unsigned>(protocol::kVersion));
  return std::fflush(stdout) == 0 ? config::kOk : config::kBroken;
}

}  // namespace bulkhead
