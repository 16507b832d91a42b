// The rows. A row's `set` is the only place that judges its value; its message stands after the value itself
// ("--ttl soon: must be …"). The address and the key may come from the environment, too: a flag wins. A key is never an
// argument, for everybody on the machine can read those.

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
constexpr std::string_view kStates = "IN_QUEUE IN_PROGRESS COMPLETED FAILED CANCELLED TIMED_OUT";

template <typename... Verbs>
constexpr std::uint32_t on(Verbs... verbs) {
  return ((1U << static_cast<unsigned>(verbs)) | ...);
}
constexpr std::uint32_t kAll = ~0U;
constexpr std::uint32_t kLooking = on(Verb::Ps, Verb::Top, Verb::Logs);
constexpr std::uint32_t kWaiting = on(Verb::Submit, Verb::Status, Verb::Stream);

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

/// Whether it can stand in the query of a URL as it is.
bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  });
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

std::string set_after(Options& options, const std::string& text) {
  std::uint32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number == UINT32_MAX)
    return "must be the number of a chunk, 0 to 4294967294; the first is 1, and 0 gives all of them";
  options.after = number;
  return {};
}

template <int Most>
std::string set_limit(Options& options, const std::string& text) {
  int number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 1 || number > Most)
    return "must be a number, 1 to " + std::to_string(Most);
  options.limit = number;
  return {};
}

std::string set_states(Options& options, const std::string& text) {
  for (std::size_t begin = 0; begin <= text.size();) {
    std::size_t end = std::min(text.find(',', begin), text.size());
    std::string state = text.substr(begin, end - begin);
    if (state.empty() || state.find(' ') != std::string::npos ||
        (" " + std::string(kStates) + " ").find(" " + state + " ") == std::string::npos)
      return "must be one or more of " + std::string(kStates) + ", with commas between";
    begin = end + 1;
  }
  options.states = text;
  return {};
}

template <std::string Options::*Member>
std::string set_word(Options& options, const std::string& text) {
  if (!is_word(text)) return "must be 1 to 128 letters, digits, dashes, underscores or dots";
  options.*Member = text;
  return {};
}

std::vector<Option> job_rows() {
  const std::uint32_t submit = on(Verb::Submit);
  return {
      {"file", "FILE", "read the input from FILE; @FILE as the argument is the same", submit, set_file},
      {"request", "", "what is given is the whole request, {\"input\": …}, as in test_input.json", submit,
       set_flag<&Options::request>},
      {"wait", "", "wait until the job has ended; on a terminal with a bar for its progress",
       on(Verb::Submit, Verb::Status), set_flag<&Options::wait>},
      {"stream", "", "wait, and print each chunk of its output the moment it comes", submit,
       set_flag<&Options::stream>},
      {"after", "N", "only the chunks behind the Nth [0]", on(Verb::Stream), set_after},
      {"execution-timeout", "DURATION", "how long the job may run [the endpoint's]", submit,
       set_duration<&Options::execution_timeout>},
      {"ttl", "DURATION", "how long the job may exist, its time in the queue included [the endpoint's]", submit,
       set_duration<&Options::ttl>},
      {"low-priority", "", "where the endpoint scales: not a reason to start more workers", submit,
       set_flag<&Options::low_priority>},
      {"webhook", "URL", "where the endpoint is to post the result", submit, set_webhook},
      {"idempotency-key", "KEY", "submitted twice with one key, a job runs once [a random one]", submit,
       set_idempotency_key},
  };
}

std::vector<Option> looking_rows() {
  return {
      {"watch", "", "draw it again every second, until q or Ctrl-C", on(Verb::Ps), set_flag<&Options::watch>, 'w'},
      {"follow", "", "go on with new lines as they are written", on(Verb::Logs), set_flag<&Options::follow>, 'f'},
      {"job", "ID", "only the lines of this job", on(Verb::Logs), set_word<&Options::id>},
      {"state", "STATE,…", "only jobs in these states", on(Verb::Ps), set_states, 0, kStates},
      {"error-type", "TYPE", "only jobs that failed with this error", on(Verb::Ps), set_word<&Options::error_type>, 0,
       "HandlerError WorkerCrash WorkerLost ExecutionTimeout ProtocolViolation Stalled Quarantined Shutdown"},
      {"worker", "W", "only those of this handler process (w2.7), or of its slot (w2)", on(Verb::Ps, Verb::Logs),
       set_word<&Options::worker>},
      {"id", "PREFIX", "only jobs whose id begins like this", on(Verb::Ps), set_word<&Options::id>},
      {"limit", "N", "at most so many jobs, the newest [20]", on(Verb::Ps), set_limit<1000>, 'n'},
      {"limit", "N", "at most so many past lines, the newest [100]", on(Verb::Logs), set_limit<10'000>, 'n'},
      {"quiet", "", "only the jobs' ids, one on a line", on(Verb::Ps), set_flag<&Options::quiet>, 'q'},
  };
}

std::vector<Option> general_rows() {
  constexpr auto kTimeout = set_duration<&Options::timeout>;
  constexpr auto kJson = set_flag<&Options::json>;
  const std::uint32_t lines = on(Verb::Logs, Verb::Dead);
  return {
      {"json", "", "for programs: JSON, one object on a line", lines, kJson},
      {"json", "", "for programs: the job, as JSON on one line", on(Verb::Submit, Verb::Status), kJson},
      {"json", "", "for programs: JSON, on one line", kAll & ~(lines | kWaiting | on(Verb::Top)), kJson},
      {"timeout", "DURATION", "stop trying and waiting after this long [1m; with --wait or --stream 1d]",
       on(Verb::Submit), kTimeout},
      {"timeout", "DURATION", "stop trying and waiting after this long [1m; with --wait 1d]", on(Verb::Status),
       kTimeout},
      {"timeout", "DURATION", "stop trying and waiting after this long [1d]", on(Verb::Stream), kTimeout},
      {"timeout", "DURATION", "stop trying, or looking, after this long [1m; what goes on: never]", kLooking, kTimeout},
      {"timeout", "DURATION", "stop trying after this long [1m]", kAll & ~(kWaiting | kLooking), kTimeout},
      {"url", "URL", "the endpoint: http(s)://HOST:PORT[/PATH] or unix:/path [http://127.0.0.1:8000]", kAll, set_url},
      {"api-key-file", "FILE", "a file that holds the API key, and nothing else", kAll, set_key_file},
  };
}

}  // namespace

const std::vector<Option>& options() {
  static const std::vector<Option> kOptions = [] {
    std::vector<Option> rows = job_rows();
    for (auto more : {looking_rows(), general_rows()}) rows.insert(rows.end(), more.begin(), more.end());
    return rows;
  }();
  return kOptions;
}

std::string set_surroundings(Options& options) {
  set_url(options, std::string(kDefaultUrl));
  if (const char* url = std::getenv("BULKHEAD_URL"); url != nullptr && *url != '\0')
    if (std::string problem = set_url(options, url); !problem.empty())
      return "BULKHEAD_URL=" + std::string(url) + ": " + problem;
  if (const char* key = std::getenv("BULKHEAD_API_KEY"); key != nullptr && *key != '\0')
    if (std::string problem = set_key(options, key); !problem.empty()) return "BULKHEAD_API_KEY=***: " + problem;
  return {};
}

}  // namespace bulkhead::client
