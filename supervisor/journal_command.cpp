#include "supervisor/journal_command.hpp"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <variant>
#include <vector>

#include "supervisor/journal/maintenance.hpp"

namespace bulkhead {
namespace {

constexpr char kHelp[] =
    R"(Usage: bulkhead journal inspect [--state-dir DIR | FILE]
       bulkhead journal verify  [--state-dir DIR | FILE]
       bulkhead journal backup  [--state-dir DIR] TARGET

Looks at the journal of a state directory, or at a copy of one (FILE), whether a supervisor runs on it or not. Nothing is
changed.

inspect prints what is in it, as one JSON object: jobs by state, ages in milliseconds, sizes, the format's version.
verify checks the database and the journal's own invariants, and prints a line for each fault.
backup writes a consistent copy of the present moment to TARGET, which must not exist. To go back to it, stop the
supervisor, put the copy in place of journal.db, and remove journal.db-wal and journal.db-shm.

  --state-dir DIR    where jobs are kept [BULKHEAD_STATE_DIR, $STATE_DIRECTORY or ~/.local/state/bulkhead]

Exit codes:
  0   done; verify: the journal is whole               2   wrong usage
  1   verify: it is not                                71  it cannot be read, or the copy cannot be written
)";

int usage(const std::string& problem) {
  std::fprintf(stderr, "bulkhead journal: %s\nTry `bulkhead journal --help`.\n", problem.c_str());
  return config::kUsage;
}

/// Where `serve` would keep its jobs, by what of its settings says that.
std::variant<std::string, config::Exit> state_directory(const std::string& given,
                                                        const config::Environment& environment) {
  config::Environment few;
  for (const char* name : {"BULKHEAD_STATE_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"})
    if (auto found = environment.find(name); found != environment.end()) few.insert(*found);
  std::vector<const char*> words{"bulkhead", "serve"};
  if (!given.empty()) words.insert(words.end(), {"--state-dir", given.c_str()});
  words.insert(words.end(), {"--", "none"});
  auto parsed = config::parse(static_cast<int>(words.size()), words.data(), few);
  if (auto* exit = std::get_if<config::Exit>(&parsed)) return *exit;
  return std::get<config::Config>(parsed).state_dir;
}

std::int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

int verify(const std::filesystem::path& file) {
  const auto faults = journal::verify(file);
  for (const std::string& fault : faults) std::printf("%s\n", fault.c_str());
  if (faults.empty()) std::printf("%s is whole\n", file.c_str());
  return faults.empty() ? config::kOk : 1;
}

}  // namespace

int journal_command(int argc, const char* const* argv, const config::Environment& environment) {
  std::string given;
  std::vector<std::string> words;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "-h" || word == "--help") return std::fputs(kHelp, stdout), config::kOk;
    if (word.starts_with("--state-dir=")) {
      given = word.substr(12);
    } else if (word == "--state-dir") {
      if (++i == argc) return usage("--state-dir needs DIR");
      given = argv[i];
    } else if (word.starts_with('-')) {
      return usage("unknown option " + word);
    } else {
      words.push_back(word);
    }
  }
  if (words.empty()) return usage("do what? inspect, verify or backup");
  const std::string& action = words[0];
  if (action != "inspect" && action != "verify" && action != "backup")
    return usage("what is " + action + "? It is inspect, verify or backup");
  if (words.size() > 2) return usage("what is " + words[2] + "?");
  if (action == "backup" && words.size() < 2) return usage("backup needs the path of a file to write");

  auto directory = state_directory(given, environment);
  if (auto* wrong = std::get_if<config::Exit>(&directory)) return std::fputs(wrong->text.c_str(), stderr), wrong->code;
  std::filesystem::path file = std::filesystem::path(std::get<std::string>(directory)) / "journal.db";
  if (action != "backup" && words.size() == 2) file = words[1];
  try {
    if (action == "verify") return verify(file);
    if (action == "backup")
      journal::back_up_to(file, words[1]);
    else
      std::fputs(journal::inspect(file, now_ms()).c_str(), stdout);
    return config::kOk;
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "bulkhead journal: %s\n", error.what());
    return config::kBroken;
  }
}

}  // namespace bulkhead
