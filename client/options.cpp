// The rows, and how a command line is split by them. A row's `set` is the only place that judges its value; its message
// stands after the value itself ("--ttl soon: must be …"). The address and the key may come from the environment, too:
// a flag wins. A key is never an argument, for everybody on the machine can read those.

#include "client/options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <utility>

namespace bulkhead::client {
namespace {

constexpr std::string_view kDefaultUrl = "http://127.0.0.1:8000";  // where `bulkhead serve` listens

bool for_submit(Verb verb) { return verb == Verb::Submit; }
bool for_waiting(Verb verb) { return verb == Verb::Submit || verb == Verb::Status; }
bool for_all(Verb) { return true; }

/// "500ms", "10s", "5m", "2h", "1d"; a bare number is seconds, as in serve's settings.
std::optional<milliseconds> parse_duration(std::string_view text) {
  constexpr double kLongest = 10'000.0 * 86'400'000.0;
  constexpr std::array<std::pair<std::string_view, double>, 6> kUnits{
      {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}}};
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(number) || number < 0) return {};
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (auto [name, factor] : kUnits) {
    if (name == unit && number * factor <= kLongest) return milliseconds(std::llround(number * factor));
  }
  return {};
}

template <std::optional<milliseconds> Options::*Member>
std::string set_duration(Options& options, const std::string& text) {
  auto value = parse_duration(text);
  if (!value || value->count() < 1) return "must be a time such as 500ms, 10s, 5m, 2h or 1d";
  options.*Member = value;
  return {};
}

template <bool Options::*Member>
std::string set_flag(Options& options, const std::string&) {
  options.*Member = true;
  return {};
}

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 0x20 && c < 0x7F; });
}

/// Whether the host of "HOST", "HOST:PORT" or "[V6]:PORT" is this machine's own.
bool is_local(std::string_view authority) {
  std::string_view host = authority.starts_with('[') ? authority.substr(0, authority.find(']') + 1)
                                                     : authority.substr(0, authority.find(':'));
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

std::string set_url(Options& options, const std::string& text) {
  Address address{.shown = text};
  if (text.starts_with("unix:")) {
    address.socket = text.substr(5);
    // sockaddr_un holds 108 bytes, its terminating zero included.
    if (address.socket.empty() || address.socket.size() > 107) return "must name a path of 1 to 107 bytes after unix:";
    address.base = "http://localhost";
    options.address = std::move(address);
    return {};
  }
  address.base = text.find("://") == std::string::npos ? "http://" + text : text;
  while (address.base.ends_with('/')) address.base.pop_back();
  bool scheme = address.base.starts_with("http://") || address.base.starts_with("https://");
  std::size_t host = address.base.find("://") + 3;
  std::string_view authority = std::string_view(address.base).substr(std::min(host, address.base.size()));
  authority = authority.substr(0, authority.find('/'));
  if (!scheme || authority.empty() || !printable(text) || text.find_first_of("?#") != std::string::npos) {
    return "must be http://HOST:PORT, https://HOST, HOST:PORT or unix:/path";
  }
  if (authority.find('@') != std::string_view::npos) {
    return "must not hold a password; set BULKHEAD_API_KEY";
  }
  address.local = is_local(authority);
  options.address = std::move(address);
  return {};
}

std::string set_key(Options& options, std::string key) {
  while (!key.empty() && (key.back() == '\n' || key.back() == '\r' || key.back() == ' ')) key.pop_back();
  if (key.empty()) return "must hold a key, and is empty";
  if (!printable(key)) return "must hold one key of printable characters, without spaces";
  options.api_key = std::move(key);
  return {};
}

std::string set_key_file(Options& options, const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::string more;
  if (!file) return "must be a file that can be read";
  std::getline(file, line);
  if (file >> more) return "must be a file of one line, the key alone";
  return set_key(options, std::move(line));
}

std::string set_webhook(Options& options, const std::string& url) {
  bool good = (url.starts_with("http://") || url.starts_with("https://")) && printable(url) && url.size() <= 4096;
  if (!good || url.find_first_of("\"\\") != std::string::npos) return "must be an http:// or https:// URL";
  options.webhook = url;
  return {};
}

std::string set_idempotency_key(Options& options, const std::string& key) {
  constexpr std::size_t kMost = 255;  // what the endpoint takes
  if (key.empty() || key.size() > kMost || !printable(key)) {
    return "must be 1 to 255 printable characters, without spaces";
  }
  options.idempotency_key = key;
  return {};
}

std::string set_file(Options& options, const std::string& path) {
  if (path.empty()) return "must be a file";
  options.file = path;
  return {};
}

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

std::string explain_unknown(const std::string& name, Verb verb) {
  if (name == "api-key") return "--api-key is not a flag, for others can read it: set BULKHEAD_API_KEY";
  for (const Option& option : options()) {
    if (option.name == name) return "--" + name + " is not an option of " + std::string(name_of(verb));
  }
  return "unknown option --" + name;
}

/// Ids are made of these; anything else cannot name a job.
bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  });
}

/// What only shows when all is read.
std::optional<std::string> check_together(const Options& options) {
  bool separate = options.execution_timeout || options.ttl || options.low_priority || !options.webhook.empty();
  if (options.body && separate) return "--body is the whole request: put policy and webhook into it";
  if (options.argument && !options.file.empty()) return "give the input once: as an argument, or as --file";
  return {};
}

/// What stands on its own: the input, or the id.
std::string take_word(Options& options, const std::string& word) {
  if (options.verb == Verb::Submit) {
    if (options.argument) return "one input only; what is " + word + "? (Put the JSON between single quotes.)";
    options.argument = word;
    return {};
  }
  if (options.verb == Verb::Dead && options.action.empty()) {
    constexpr std::array<std::string_view, 5> kActions{"list", "show", "retry", "drop", "clear"};
    if (std::find(kActions.begin(), kActions.end(), word) == kActions.end())
      return "what is " + word + "? It is list, show, retry, drop or clear";
    options.action = word;
    return {};
  }
  if (options.verb == Verb::Dead && (options.action == "list" || options.action == "clear"))
    return options.action + " takes no more words; what is " + word + "?";
  if (options.verb == Verb::Health || !options.id.empty()) return "what is " + word + "?";
  if (!is_id(word)) return "'" + word + "' cannot be a job's id: 1 to 128 letters, digits, dashes or underscores";
  options.id = word;
  return {};
}

}  // namespace

std::string_view name_of(Verb verb) {
  switch (verb) {
    case Verb::Submit: return "submit";
    case Verb::Status: return "status";
    case Verb::Cancel: return "cancel";
    case Verb::Health: return "health";
    case Verb::Dead: return "dead";
  }
  return {};
}

const std::vector<Option>& options() {
  static const std::vector<Option> kOptions{
      {"file", "FILE", "read the input from FILE; @FILE as the argument is the same", for_submit, set_file},
      {"body", "", "what is given is the whole request, {\"input\": …}, as in test_input.json", for_submit,
       set_flag<&Options::body>},
      {"wait", "", "wait until the job has ended", for_waiting, set_flag<&Options::wait>},
      {"stream", "", "wait, and print each chunk of its output the moment it comes", for_submit,
       set_flag<&Options::stream>},
      {"timeout", "DURATION", "stop trying and waiting after this long [1m; with --wait or --stream 1d]", for_all,
       set_duration<&Options::timeout>},
      {"execution-timeout", "DURATION", "how long the job may run [the endpoint's]", for_submit,
       set_duration<&Options::execution_timeout>},
      {"ttl", "DURATION", "how long the job may exist, its time in the queue included [the endpoint's]", for_submit,
       set_duration<&Options::ttl>},
      {"low-priority", "", "where the endpoint scales: not a reason to start more workers", for_submit,
       set_flag<&Options::low_priority>},
      {"webhook", "URL", "where the endpoint is to post the result", for_submit, set_webhook},
      {"idempotency-key", "KEY", "submitted twice with one key, a job runs once [a random one]", for_submit,
       set_idempotency_key},
      {"url", "URL", "the endpoint: http(s)://HOST:PORT[/PATH] or unix:/path [http://127.0.0.1:8000]", for_all,
       set_url},
      {"api-key-file", "FILE", "a file that holds the API key, and nothing else", for_all, set_key_file},
  };
  return kOptions;
}

std::variant<Options, Exit> parse(Verb verb, const std::vector<std::string>& arguments) {
  Options parsed{.verb = verb};
  set_url(parsed, std::string(kDefaultUrl));
  auto from_environment = [&](const char* name, auto set, std::string shown) -> std::optional<Exit> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return {};
    std::string problem = set(parsed, value);
    if (problem.empty()) return {};
    return usage(name + (shown.empty() ? "=" + std::string(value) : shown) + ": " + problem, verb);
  };
  if (auto exit = from_environment("BULKHEAD_URL", set_url, "")) return *exit;
  if (auto exit = from_environment("BULKHEAD_API_KEY", set_key, "=***")) return *exit;

  bool only_words = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (!only_words && (word == "-h" || word == "--help")) return Exit{kOk, help(verb)};
    if (!only_words && word == "--") {
      only_words = true;
      continue;
    }
    // A negative number is an input, and a single dash is standard input.
    bool flag = !only_words && word.starts_with('-') && word.size() > 1 && !(word[1] >= '0' && word[1] <= '9');
    if (!flag) {
      if (std::string problem = take_word(parsed, word); !problem.empty()) return usage(problem, verb);
      continue;
    }
    std::string name = word.substr(std::min(word.find_first_not_of('-'), word.size()));
    name = name.substr(0, name.find('='));
    const Option* option = word.starts_with("--") ? find(name, verb) : nullptr;
    if (option == nullptr) return usage(explain_unknown(name, verb), verb);
    std::string value;
    std::size_t equals = word.find('=');
    bool attached = equals != std::string::npos;
    if (option->value.empty()) {
      if (attached) return usage("--" + name + " takes no value", verb);
    } else if (attached) {
      value = word.substr(equals + 1);
    } else {
      if (++i == arguments.size()) return usage("--" + name + " needs " + std::string(option->value), verb);
      value = arguments[i];
    }
    std::string problem = option->set(parsed, value);
    if (!problem.empty()) return usage("--" + name + (value.empty() ? "" : " " + value) + ": " + problem, verb);
  }
  if (verb == Verb::Dead && parsed.action.empty()) return usage("do what? list, show, retry, drop or clear", verb);
  bool needs_id = verb == Verb::Status || verb == Verb::Cancel ||
                  (verb == Verb::Dead && parsed.action != "list" && parsed.action != "clear");
  if (needs_id && parsed.id.empty()) return usage("which job? Give its id, as submit printed it", verb);
  if (auto problem = check_together(parsed)) return usage(*problem, verb);
  return parsed;
}

}  // namespace bulkhead::client
