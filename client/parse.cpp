// How a command line is split by the rows of options.cpp, and what of it stands for itself: an input, an id, a number.
// Whatever is wrong ends here, with the word it is about and what would be right, before anything is asked of anybody.

#include <algorithm>
#include <charconv>
#include <utility>

#include "client/options.hpp"

namespace bulkhead::client {
namespace {

Exit usage(std::string problem, Verb verb) {
  std::string name(name_of(verb));
  return {kUsage, "bulkhead " + name + ": " + problem + "\nTry `bulkhead " + name + " --help`.\n"};
}

const Option* find(std::string_view name, Verb verb) {
  for (const Option& option : options()) {
    if (option.name == name && option.belongs(verb)) return &option;
  }
  return nullptr;
}

const Option* find(char letter, Verb verb) {
  for (const Option& option : options()) {
    if (option.letter == letter && option.belongs(verb)) return &option;
  }
  return nullptr;
}

std::string explain_unknown(const std::string& name, Verb verb) {
  if (name == "api-key") return "--api-key is not a flag, for others can read it: set BULKHEAD_API_KEY";
  for (const Option& option : options()) {
    if (option.name == name) return "--" + name + " is not an option of " + std::string(name_of(verb));
  }
  return "unknown option --" + name;
}

}  // namespace

bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  });
}

namespace {

bool takes_id(const Options& options) {
  if (options.verb == Verb::Dead) return options.action != "list" && options.action != "clear";
  const auto& all = commands();
  return std::find_if(all.begin(), all.end(), [&](const Command& c) { return c.verb == options.verb; })->takes_id;
}

std::string set_workers(Options& options, const std::string& word) {
  constexpr int kMost = 1024;  // as serve's --workers
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), options.workers);
  bool good = error == std::errc{} && end == word.data() + word.size();
  if (good && options.workers >= 0 && options.workers <= kMost) return {};
  return "'" + word + "' cannot be a number of handler processes: 0 to 1024";
}

/// What stands on its own: the input, the id, what to do.
std::string take_word(Options& options, const std::string& word) {
  if (options.verb == Verb::Submit) {
    if (options.argument) return "one input only; what is " + word + "? (Put the JSON between single quotes.)";
    options.argument = word;
    return {};
  }
  if (options.verb == Verb::Dead && options.action.empty()) {
    std::string known = " " + std::string(kDeadActions) + " ";
    if (word.empty() || known.find(" " + word + " ") == std::string::npos)
      return "what is " + word + "? It is list, show, retry, drop or clear";
    options.action = word;
    return {};
  }
  if (options.verb == Verb::Dead && !takes_id(options))
    return options.action + " takes no more words; what is " + word + "?";
  if (options.verb == Verb::Scale && options.workers < 0) return set_workers(options, word);
  if (!takes_id(options) || !options.id.empty()) return "what is " + word + "?";
  if (!is_id(word)) return "'" + word + "' cannot be a job's id: 1 to 128 letters, digits, dashes or underscores";
  options.id = word;
  return {};
}

/// What only shows when all is read.
std::optional<std::string> check_together(const Options& options) {
  if (options.verb == Verb::Dead && options.action.empty()) return "do what? list, show, retry, drop or clear";
  if (takes_id(options) && options.id.empty()) return "which job? Give its id, as submit printed it";
  if (options.verb == Verb::Scale && options.workers < 0) return "to how many handler processes? Give a number";
  bool separate = options.execution_timeout || options.ttl || options.low_priority || !options.webhook.empty();
  if (options.request && separate) return "--request is the whole request: put policy and webhook into it";
  if (options.argument && !options.file.empty()) return "give the input once: as an argument, or as --file";
  if (options.json && options.stream) return "--stream prints the chunks, --json the job: give one of them";
  if (options.quiet && (options.json || options.watch))
    return "--quiet prints ids alone, once: without --json or --watch";
  return {};
}

/// Takes an option at arguments[i], and its value; i is then the last word of it. The answer says what is wrong.
std::string take_option(Options& parsed, const std::vector<std::string>& arguments, std::size_t& i) {
  const std::string& word = arguments[i];
  std::string name = word.substr(std::min(word.find_first_not_of('-'), word.size()));
  const Option* option = nullptr;
  std::string shown;
  std::string value;
  bool attached = false;
  if (word.starts_with("--")) {
    std::size_t equals = word.find('=');
    attached = equals != std::string::npos;
    if (attached) value = word.substr(equals + 1);
    name = name.substr(0, name.find('='));
    option = find(name, parsed.verb);
    shown = "--" + name;
  } else {
    option = find(word[1], parsed.verb);
    shown = word.substr(0, 2);
    if (option != nullptr && word.size() > 2) {
      // "-n5"; flags do not stand together.
      if (option->value.empty()) return shown + " takes no value; what is " + word + "?";
      attached = true;
      value = word.substr(2);
    }
  }
  if (option == nullptr) return explain_unknown(name, parsed.verb);
  if (option->value.empty() && attached) return shown + " takes no value";
  if (!option->value.empty() && !attached) {
    if (++i == arguments.size()) return shown + " needs " + std::string(option->value);
    value = arguments[i];
  }
  std::string problem = option->set(parsed, value);
  return problem.empty() ? "" : shown + (value.empty() ? "" : " " + value) + ": " + problem;
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> kCommands{
      {Verb::Submit, "submit", "", false},   {Verb::Status, "status", "", true},
      {Verb::Stream, "stream", "", true},    {Verb::Cancel, "cancel", "", true},
      {Verb::Retry, "retry", "", true},      {Verb::Purge, "purge", "", false},
      {Verb::Health, "health", "", false},   {Verb::Ps, "ps", "", false},
      {Verb::Top, "top", "", false},         {Verb::Logs, "logs", "", false},
      {Verb::Drain, "drain", "", false},     {Verb::Scale, "scale", "", false},
      {Verb::Upgrade, "upgrade", "", false}, {Verb::Dead, "dead", kDeadActions, false}};
  return kCommands;
}

std::string_view name_of(Verb verb) {
  for (const Command& command : commands())
    if (command.verb == verb) return command.name;
  return {};
}

std::variant<Options, Exit> parse(Verb verb, const std::vector<std::string>& arguments) {
  Options parsed{.verb = verb};
  // Help is wanted most where something is wrong.
  auto words_only = std::find(arguments.begin(), arguments.end(), "--");
  for (auto word = arguments.begin(); word != words_only; ++word)
    if (*word == "-h" || *word == "--help") return Exit{kOk, help(verb)};
  if (std::string problem = set_surroundings(parsed); !problem.empty()) return usage(problem, verb);

  bool only_words = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (!only_words && word == "--") {
      only_words = true;
      continue;
    }
    // A negative number is an input, and a single dash is standard input.
    bool flag = !only_words && word.starts_with('-') && word.size() > 1 && !(word[1] >= '0' && word[1] <= '9');
    std::string problem = flag ? take_option(parsed, arguments, i) : take_word(parsed, word);
    if (!problem.empty()) return usage(problem, verb);
  }
  if (auto problem = check_together(parsed)) return usage(*problem, verb);
  return parsed;
}

}  // namespace bulkhead::client
