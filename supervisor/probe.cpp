#include "supervisor/probe.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <variant>
#include <vector>

#include "protocol/handshake.hpp"
#include "supervisor/init/channel.hpp"
#include "supervisor/journal/maintenance.hpp"

namespace bulkhead {

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
  int format = 0;
  try {
    format = journal::format_version(std::filesystem::path(std::get<config::Config>(parsed).state_dir) / "journal.db");
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
