// From arguments, environment and file to a Config. CLI11 splits the flags; which place wins is decided here, per
// option, because every value has to remember where it came from.

#include <CLI/CLI.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "supervisor/config/config.hpp"
#include "supervisor/config/file.hpp"
#include "supervisor/config/help.hpp"
#include "supervisor/config/options.hpp"
#include "supervisor/config/values.hpp"

namespace bulkhead::config {
namespace {

/// The values of one option in one place.
struct Given {
  Texts texts;
  std::string origin;  ///< "--workers", "BULKHEAD_WORKERS" or "bulkhead.toml:3"
  int error_code = kUsage;
};

struct CommandLine {
  Subcommand subcommand = Subcommand::Serve;
  bool check = false;
  bool of_both = false;  ///< check: of run and of serve
  bool json = false;     ///< doctor, check
  std::map<std::string, Texts, std::less<>> flags;
  Texts command;
};

std::string verb_of(const CommandLine& line) {
  if (line.subcommand == Subcommand::Doctor) return "doctor";
  return line.check ? "check" : line.subcommand == Subcommand::Run ? "run" : "serve";
}

Exit usage(std::string problem, const CommandLine& line) {
  std::string name = verb_of(line);
  return {kUsage, "bulkhead: " + problem + "\nTry `bulkhead " + name + " --help`.\n"};
}

/// An option of the other subcommand.
bool is_elsewhere(const Option& option, const CommandLine& line) {
  if (line.of_both) return false;
  return line.subcommand == Subcommand::Run ? option.serve_only : option.run_only;
}

std::vector<std::string_view> flag_names(const CommandLine& line) {
  std::vector<std::string_view> names{"config", "help"};
  for (const Option& option : options()) {
    bool elsewhere = is_elsewhere(option, line);
    bool hidden = option.secret || elsewhere;
    if (!hidden) names.push_back(option.name);
  }
  return names;
}

/// What the command line has that no option takes.
Exit explain_extra(const std::string& extra, const CommandLine& line) {
  std::string name = verb_of(line);
  if (!extra.starts_with('-')) {
    return usage("what is " + extra + "? The handler's command stands behind two dashes: bulkhead " + name +
                     " [options] -- " + extra,
                 line);
  }
  std::string typed =
      extra.substr(extra.find_first_not_of('-') == std::string::npos ? 0 : extra.find_first_not_of('-'));
  typed = typed.substr(0, typed.find('='));
  for (const Option& option : options()) {
    if (option.name != typed) continue;
    if (option.secret) return usage("--" + typed + " is not a flag: set " + option.variable(), line);
    if (option.run_only) return usage("--" + typed + " is an option of run, not of serve", line);
    return usage("--" + typed + " is an option of serve, not of run", line);
  }
  auto names = flag_names(line);
  std::string_view near = nearest(typed, names);
  std::string hint = near.empty() ? "" : "; did you mean --" + std::string(near) + "?";
  return usage("unknown option --" + typed + hint, line);
}

/// The handler's own test flags may stand before the two dashes as well: they are taken off `words`.
Texts take_test_flags(Texts& words) {
  Texts taken;
  for (auto word = words.begin(); word != words.end();) {
    const std::string name = word->substr(0, word->find('='));
    const bool joined = name.size() < word->size();
    if ((name != "--test_input" && name != "--test_output") || (!joined && word + 1 == words.end())) {
      ++word;
      continue;
    }
    const auto end = word + (joined ? 1 : 2);
    taken.insert(taken.end(), word, end);
    word = words.erase(word, end);
  }
  return taken;
}

std::variant<CommandLine, Exit> read_command_line(int argc, const char* const* argv) {
  if (argc < 2) return Exit{kUsage, program_help()};
  std::string_view verb = argv[1];
  if (verb == "--help" || verb == "-h" || verb == "help") return Exit{kOk, program_help()};
  if (verb == "--version" || verb == "version") return Exit{kOk, "bulkhead " BULKHEAD_VERSION "\n"};

  CommandLine line;
  line.check = verb == "check";
  line.subcommand = verb == "run" ? Subcommand::Run : verb == "doctor" ? Subcommand::Doctor : Subcommand::Serve;
  if (verb != "run" && verb != "serve" && verb != "doctor" && !line.check) {
    std::vector<std::string_view> names;
    std::string list;
    for (const Command& command : commands()) {
      names.push_back(command.name);
      list.append(list.empty() ? "" : ", ").append(command.name);
    }
    std::string_view near = nearest(verb, names);
    std::string hint = near.empty() ? "It is one of " + list + "." : "Did you mean " + std::string(near) + "?";
    return Exit{kUsage, "bulkhead: what is " + std::string(verb) + "? " + hint + "\nTry `bulkhead --help`.\n"};
  }

  // `check run …`, `check serve …`: what that would use; `check …`: the latter, and what only run has.
  const char* const* begin = argv + 2;
  line.of_both = line.check;
  if (line.check && begin != argv + argc &&
      (*begin == std::string_view("run") || *begin == std::string_view("serve"))) {
    if (*begin == std::string_view("run")) line.subcommand = Subcommand::Run;
    line.of_both = false;
    ++begin;
  }

  // The handler's own arguments are nobody's business: CLI11 never sees what stands behind the first "--".
  const char* const* dashes = std::find(begin, argv + argc, std::string_view("--"));
  if (dashes != argv + argc) line.command.assign(dashes + 1, argv + argc);

  CLI::App app;
  app.set_help_flag("-h,--help", "");
  app.allow_extras();
  if (line.subcommand == Subcommand::Doctor || line.check) app.add_flag("--json", line.json);
  std::map<std::string, Texts> raw;
  for (std::string_view name : flag_names(line)) {
    if (name == "help") continue;
    std::string flag(name);
    bool bare = std::any_of(options().begin(), options().end(),
                            [&](const Option& option) { return option.name == name && option.flag; });
    if (bare) {
      app.add_flag_callback("--" + flag, [&texts = raw[flag]] { texts = {"true"}; });
      continue;
    }
    app.add_option("--" + flag, raw[flag])
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  Texts reversed(begin, dashes);
  if (line.subcommand == Subcommand::Run && !line.command.empty()) {
    const Texts test = take_test_flags(reversed);
    line.command.insert(line.command.end(), test.begin(), test.end());
  }
  // CLI11 takes them from the back.
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return Exit{kOk, subcommand_help(line.subcommand, line.check)};
  } catch (const CLI::ParseError& error) {
    return usage(error.what(), line);
  }
  if (!app.remaining().empty()) return explain_extra(app.remaining().front(), line);
  for (auto& [name, texts] : raw) {
    if (!texts.empty()) line.flags.emplace(name, std::move(texts));
  }
  return line;
}

Texts split_commas(const std::string& text) {
  Texts parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    std::size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// The file's settings by key, its command taken out, or what is wrong with its keys.
struct File {
  std::string path;
  std::map<std::string, Setting, std::less<>> settings;
  Texts command;
  int command_line = 0;
};

std::variant<File, Exit> load(const std::string& path) {
  auto read = read_file(path);
  if (auto* problem = std::get_if<std::string>(&read)) return Exit{kBadConfig, "bulkhead: " + *problem + "\n"};
  File file{.path = path};
  std::vector<std::string_view> names{"command"};
  for (const Option& option : options()) {
    if (!option.secret) names.push_back(option.name);
  }
  for (Setting& setting : std::get<std::vector<Setting>>(read)) {
    std::string where = "bulkhead: " + path + ":" + std::to_string(setting.line) + ": ";
    if (setting.key == "command") {
      if (!setting.is_list || setting.texts.empty()) {
        return Exit{kBadConfig, where + "command: must be an array such as [\"./handler\", \"--fast\"]\n"};
      }
      file.command = std::move(setting.texts);
      file.command_line = setting.line;
      continue;
    }
    if (std::find(names.begin(), names.end(), setting.key) == names.end()) {
      std::string_view near = nearest(setting.key, names);
      return Exit{kBadConfig, where + "unknown key " + setting.key +
                                  (near.empty() ? "; `bulkhead check` lists the keys\n"
                                                : "; did you mean " + std::string(near) + "?\n")};
    }
    file.settings.emplace(setting.key, std::move(setting));
  }
  return file;
}

/// The highest place that gives the option a value.
std::optional<Given> find(const Option& option, const CommandLine& line, const Environment& environment,
                          const File& file) {
  if (auto flag = line.flags.find(option.name); flag != line.flags.end()) {
    // Said twice, the last word counts, as everywhere.
    Texts texts = option.list ? flag->second : Texts{flag->second.back()};
    return Given{std::move(texts), "--" + std::string(option.name), kUsage};
  }
  std::string variable = option.variable();
  if (auto set = environment.find(variable); set != environment.end()) {
    return Given{option.list ? split_commas(set->second) : Texts{set->second}, variable, kBadConfig};
  }
  if (auto setting = file.settings.find(option.name); setting != file.settings.end()) {
    return Given{setting->second.texts, file.path + ":" + std::to_string(setting->second.line), kBadConfig};
  }
  return {};
}

/// "--workers 0", "BULKHEAD_WORKERS=0" or "bulkhead.toml:3: workers = 0".
std::string quote(const Option& option, const Given& given) {
  std::string value;
  for (const std::string& text : given.texts) value.append(value.empty() ? "" : ",").append(text);
  if (option.secret || option.name == "worker-env") value = "***";
  if (given.origin.starts_with("--")) return given.origin + " " + value;
  if (given.origin.starts_with("BULKHEAD_")) return given.origin + "=" + value;
  return given.origin + ": " + std::string(option.name) + " = " + value;
}

/// Where state goes when nobody says: systemd's directory, then XDG's.
std::optional<Given> default_state_dir(const Environment& environment) {
  auto get = [&](std::string_view name) -> std::string {
    auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  if (std::string dir = get("STATE_DIRECTORY"); !dir.empty()) {
    // A unit with several state directories lists them with colons between; the first is ours.
    return Given{{dir.substr(0, dir.find(':'))}, "STATE_DIRECTORY"};
  }
  // XDG says that a relative one is to be ignored.
  if (std::string dir = get("XDG_STATE_HOME"); dir.starts_with('/'))
    return Given{{dir + "/bulkhead"}, "XDG_STATE_HOME"};
  if (std::string home = get("HOME"); home.starts_with('/')) return Given{{home + "/.local/state/bulkhead"}, "HOME"};
  return {};
}

/// The sockets that whoever started us listens on already, if they are meant for this process (sd_listen_fds(3)).
std::optional<Given> inherited_sockets(const Environment& environment) {
  auto number = [&](std::string_view name) {
    auto found = environment.find(name);
    long value = 0;
    if (found == environment.end()) return value;
    const std::string& text = found->second;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? value : 0;
  };
  constexpr long kFirst = 3;
  long count = number("LISTEN_FDS");
  if (count < 1 || count > 1000 || number("LISTEN_PID") != getpid()) return {};
  Given given{.origin = "LISTEN_FDS"};
  for (long fd = kFirst; fd < kFirst + count; ++fd) given.texts.push_back("fd:" + std::to_string(fd));
  return given;
}

/// `run` takes jobs from RunPod's platform.
bool on_platform(const Environment& environment) {
  auto found = environment.find("RUNPOD_WEBHOOK_GET_JOB");
  return found != environment.end() && !found->second.empty();
}

/// What RunPod's platform says to its workers by their environment, where `run` is one.
std::optional<Given> platform_default(std::string_view option, const Environment& environment) {
  auto get = [&](std::string_view name) -> std::string {
    auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  if (!on_platform(environment)) return {};
  if (option == "setup-timeout") {
    std::string seconds = get("RUNPOD_INIT_TIMEOUT");
    auto value = parse_integer(seconds);
    if (value && *value > 0 && *value <= 86'400) return Given{{seconds + "s"}, "RUNPOD_INIT_TIMEOUT", kBadConfig};
  } else if (option == "log-level") {
    for (std::string_view name : {"RUNPOD_LOG_LEVEL", "RUNPOD_DEBUG_LEVEL"}) {
      static const std::map<std::string, std::string, std::less<>> kLevels{{"TRACE", "trace"}, {"DEBUG", "debug"},
                                                                           {"INFO", "info"},   {"WARN", "warning"},
                                                                           {"ERROR", "error"}, {"NOTSET", "error"}};
      std::string level = get(name);
      std::transform(level.begin(), level.end(), level.begin(),
                     [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
      if (auto found = kLevels.find(level); found != kLevels.end())
        return Given{{found->second}, std::string(name), kBadConfig};
    }
  } else if (option == "state-dir") {
    return Given{{"/var/lib/bulkhead"}, "the last resort", kBadConfig};  // an image need not set HOME
  } else if (option == "log-format" && !get("RUNPOD_ENDPOINT_ID").empty()) {
    return Given{{"runpod"}, "RUNPOD_ENDPOINT_ID", kBadConfig};
  }
  return {};
}

/// Standard error is systemd's journal (systemd.exec(5)): lines have fields there.
std::optional<Given> journal_format(const Environment& environment) {
  auto found = environment.find("JOURNAL_STREAM");
  struct stat status {};
  if (found == environment.end() || fstat(STDERR_FILENO, &status) != 0) return {};
  if (found->second != std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino)) return {};
  return Given{{"journal"}, "JOURNAL_STREAM", kBadConfig};
}

/// BULKHEAD_* variables that nothing reads: most likely mistyped.
std::string strange_variables(const Environment& environment) {
  std::string text;
  for (auto entry = environment.lower_bound("BULKHEAD_"); entry != environment.end(); ++entry) {
    const std::string& name = entry->first;
    if (!name.starts_with("BULKHEAD_")) break;
    // Two are read by the commands that speak to an endpoint, one by handlers in Python.
    bool known = name == "BULKHEAD_CONFIG" || name == "BULKHEAD_URL" || name == "BULKHEAD_API_KEY" ||
                 name == "BULKHEAD_NAN_AS_NULL" || name == "BULKHEAD_JOURNAL_SOCKET" ||
                 std::any_of(options().begin(), options().end(),
                             [&](const Option& option) { return option.variable() == name; });
    if (!known) text += "note: " + name + " is set, and no option reads it\n";
  }
  return text;
}

struct Row {
  std::string name, value, origin;
};

std::string table(const std::vector<Row>& rows) {
  std::size_t name_width = 0;
  std::size_t value_width = 0;
  for (const Row& row : rows) {
    name_width = std::max(name_width, row.name.size());
    value_width = std::max(value_width, std::min<std::size_t>(row.value.size(), 40));
  }
  std::string text;
  for (const Row& row : rows) {
    text.append(row.name).append(name_width - row.name.size() + 2, ' ');
    text.append(row.value);
    text.append(row.value.size() < value_width ? value_width - row.value.size() + 2 : 2, ' ');
    text.append(row.origin).append("\n");
  }
  return text;
}

/// One object, {"settings":[{"name","value","origin"}]}, on one line.
std::string as_json(const std::vector<Row>& rows) {
  auto quoted = [](const std::string& text) {
    std::string json = "\"";
    for (char c : text) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      auto code = static_cast<unsigned char>(c);
      if (code < 0x20) {
        json.append("\\u00").append(1, kDigits[code >> 4]).append(1, kDigits[code & 15]);
      } else {
        if (c == '"' || c == '\\') json += '\\';
        json += c;
      }
    }
    return json + "\"";
  };
  std::string text;
  for (const Row& row : rows) {
    text.append(text.empty() ? "{\"settings\":[" : ",");
    text.append("{\"name\":" + quoted(row.name) + ",\"value\":" + quoted(row.value));
    text.append(",\"origin\":" + quoted(row.origin) + "}");
  }
  return text + "]}\n";
}

/// What only shows when all values are there.
std::optional<Exit> check_together(const Config& config) {
  if (config.subcommand != Subcommand::Serve || !config.api_keys.empty()) return {};
  for (const std::string& listen : config.listen) {
    if (is_local(listen)) continue;
    return Exit{kBadConfig, "bulkhead: refusing to listen on " + listen +
                                " without keys: whoever reaches it could run jobs.\nGive clients keys "
                                "(--api-key-file FILE or BULKHEAD_API_KEYS), or listen on 127.0.0.1 or unix:/path.\n"};
  }
  return {};
}

}  // namespace

std::string_view version() { return BULKHEAD_VERSION; }

Environment environment_of(const char* const* environ) {
  Environment environment;
  for (; *environ != nullptr; ++environ) {
    std::string_view entry = *environ;
    std::size_t equals = entry.find('=');
    if (equals != std::string_view::npos) environment.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return environment;
}

std::variant<Config, Exit> parse(int argc, const char* const* argv, const Environment& environment) {
  auto read = read_command_line(argc, argv);
  if (auto* exit = std::get_if<Exit>(&read)) return std::move(*exit);
  auto& line = std::get<CommandLine>(read);

  File file;
  std::string path;
  if (auto set = environment.find("BULKHEAD_CONFIG"); set != environment.end()) path = set->second;
  if (auto flag = line.flags.find("config"); flag != line.flags.end()) path = flag->second.back();
  if (!path.empty()) {
    auto loaded = load(path);
    if (auto* exit = std::get_if<Exit>(&loaded)) return std::move(*exit);
    file = std::move(std::get<File>(loaded));
  }

  Config config;
  config.subcommand = line.subcommand;
  std::vector<Row> rows;
  for (const Option& option : options()) {
    auto given = find(option, line, environment, file);
    if (!given && option.name == "state-dir") given = default_state_dir(environment);
    if (!given && line.subcommand == Subcommand::Run) given = platform_default(option.name, environment);
    if (!given && option.name == "log-format") given = journal_format(environment);
    if (!given && option.name == "listen") given = inherited_sockets(environment);
    if (!given && option.name == "state-dir" && !line.check) {
      return Exit{kBadConfig, "bulkhead: no place to keep state: HOME is not set either; give --state-dir DIR\n"};
    }
    if (given) {
      std::string problem =
          given->texts.empty() && !option.list ? "must be one value" : option.set(config, given->texts);
      if (given->texts.size() > 1 && !option.list) problem = "must be one value, not a list";
      if (!problem.empty()) {
        std::string text = quote(option, *given) + ": " + problem;
        if (given->error_code == kUsage) return usage(std::move(text), line);
        return Exit{given->error_code, "bulkhead: " + text + "\n"};
      }
    }
    if ((option.secret && !given) || is_elsewhere(option, line)) continue;
    std::string shown = option.show(config);
    if (!given && line.subcommand == Subcommand::Run && option.name == "execution-timeout" && on_platform(environment))
      shown = "the job's own";
    rows.push_back({std::string(option.name), std::move(shown), given ? given->origin : "default"});
  }

  config.command = line.command.empty() ? file.command : line.command;
  if (auto exit = check_together(config)) return std::move(*exit);
  if (line.check) {
    Row row{"command", "", "not given: serve and run need one behind --"};
    for (const std::string& word : config.command) row.value.append(row.value.empty() ? "" : " ").append(word);
    if (!line.command.empty()) row.origin = "behind --";
    if (line.command.empty() && !file.command.empty()) row.origin = path + ":" + std::to_string(file.command_line);
    rows.insert(rows.begin(), std::move(row));
    return Exit{kOk, line.json ? as_json(rows) : table(rows) + strange_variables(environment)};
  }
  if (line.subcommand == Subcommand::Doctor) {
    config.json = line.json;
    return config;
  }
  if (config.command.empty()) {
    return usage("nothing to run: put the handler's command behind two dashes, as in `bulkhead " +
                     std::string(line.subcommand == Subcommand::Run ? "run" : "serve") + " -- ./handler`",
                 line);
  }
  return config;
}

}  // namespace bulkhead::config
