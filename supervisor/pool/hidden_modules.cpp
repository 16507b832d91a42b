#include "supervisor/pool/hidden_modules.hpp"

namespace bulkhead::pool {

Sign sign_of(std::string_view line) {
  if (line.starts_with("--- Starting Serverless Worker")) return Sign::OtherWorker;
  for (std::string_view name : {"'runpod'", "'bulkhead'"})
    if (line.starts_with("ModuleNotFoundError: No module named ") && line.ends_with(name)) return Sign::NoModule;
  return Sign::None;
}

std::string ignoring_flag(const std::vector<std::string>& command) {
  if (command.empty()) return {};
  const std::string_view program = std::string_view(command[0]).substr(command[0].rfind('/') + 1);
  if (!program.starts_with("python") && !program.starts_with("pypy")) return {};
  for (std::size_t i = 1; i < command.size(); ++i) {
    const std::string_view word = command[i];
    if (word.size() < 2 || word[0] != '-') return {};  // the handler's file
    if (word[1] == '-') continue;
    for (std::size_t at = 1; at < word.size(); ++at) {
      if (word[at] == 'I' || word[at] == 'E') return command[i];
      if (word[at] == 'c' || word[at] == 'm') return {};
      if (word[at] != 'W' && word[at] != 'X') continue;
      if (at + 1 == word.size()) ++i;  // its value is the next word
      break;
    }
  }
  return {};
}

std::string advice(const std::vector<std::string>& command,
                   const std::vector<std::pair<std::string, std::string>>& environment) {
  std::string directory;
  for (const auto& [name, value] : environment)
    if (name == "PYTHONPATH") directory = value.substr(0, value.find(':'));
  const std::string flag = ignoring_flag(command);
  std::string text = "its Python does not see Bulkhead's modules, which children find by PYTHONPATH: ";
  if (directory.empty()) return text + "they were not found beside this bulkhead; install it whole";
  text += flag.empty() ? "was its environment cleared on the way, or is it a frozen program? Keep PYTHONPATH"
                       : "it was started with " + flag + ", which ignores that. Leave the flag out";
  return text + ", or begin the handler with: import sys; sys.path.insert(0, \"" + directory + "\")";
}

}  // namespace bulkhead::pool
