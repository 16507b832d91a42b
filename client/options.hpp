// What the command line of a client's command says, as one value. Nothing here opens a connection; parse() reads the
// key file it is told of, and nothing else.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bulkhead::client {

using std::chrono::milliseconds;

enum class Verb : std::uint8_t {
  Submit,
  Status,
  Stream,
  Cancel,
  Retry,
  Purge,
  Health,
  Ps,
  Top,
  Logs,
  Drain,
  Scale,
  Upgrade,
  Dead
};

/// Where the endpoint is.
struct Address {
  std::string base;    ///< a URL without a slash at its end; paths are put behind it
  std::string socket;  ///< path of a Unix socket, or empty
  std::string shown;   ///< as it was given, for messages
  bool local = true;   ///< on this machine: no proxy leads there
};

struct Options {
  Verb verb = Verb::Submit;
  Address address;
  std::string api_key;  ///< empty: none is shown

  std::string id;      ///< of the job: status, stream, cancel, retry, dead; logs: --job; ps: how it begins
  std::string action;  ///< dead: list, show, retry, drop or clear
  int workers = -1;    ///< scale

  bool json = false;  ///< for programs, instead of a table
  bool wait = false;  ///< submit, status
  std::optional<milliseconds> timeout;

  // ---- submit ----
  std::optional<std::string> argument;  ///< JSON, or @FILE, or - for standard input
  std::string file;                     ///< --file
  bool request = false;                 ///< what is given is the whole request
  bool stream = false;
  std::optional<milliseconds> execution_timeout;
  std::optional<milliseconds> ttl;
  bool low_priority = false;
  std::string webhook;
  std::string idempotency_key;

  // ---- stream, ps, top, logs ----
  std::optional<std::uint32_t> after;  ///< number of the last chunk that is known already
  bool watch = false;
  bool quiet = false;
  bool follow = false;
  std::string states;  ///< "FAILED,TIMED_OUT"
  std::string error_type;
  std::string worker;
  std::optional<int> limit;
};

/// The command's work is done by printing this.
struct Exit {
  int code = 0;
  std::string text;  ///< whole lines, at most three for stderr, where it goes when the code is not 0
};

// The exit codes, as the help names them. 71 is that of sysexits.h and of the rest of the program.
inline constexpr int kOk = 0;
inline constexpr int kJobFailed = 1;    ///< the job is FAILED, CANCELLED or TIMED_OUT, or such that it may not be done
inline constexpr int kUsage = 2;        ///< the command line or the input is wrong: trying again cannot help
inline constexpr int kStillGoing = 3;   ///< --timeout is over and the job has not ended
inline constexpr int kUnknownJob = 4;   ///< no such job, or not any more
inline constexpr int kNoAnswer = 5;     ///< the endpoint cannot be reached, or answers with an error of its own
inline constexpr int kKey = 6;          ///< it wants an API key, or another one
inline constexpr int kBroken = 71;      ///< the machine said no: standard output cannot be written
inline constexpr int kSignalled = 128;  ///< plus the signal's number: interrupted, as shells count

/// One row per option: it makes the flag, the line of the help and of the manual, and the completion in shells. Where its
/// text differs from command to command there are several of one name.
struct Option {
  std::string_view name;   ///< without its dashes
  std::string_view value;  ///< what stands for its value in the help; empty: it takes none
  std::string_view help;
  std::uint32_t verbs = 0;  ///< a bit for each
  /// Sets it. The answer is empty, or says what is allowed: "must be …".
  std::string (*set)(Options&, const std::string& text) = nullptr;
  char letter = 0;         ///< "-f" for short, if any
  std::string_view words;  ///< values that can be completed, with blanks between

  bool belongs(Verb verb) const { return (verbs >> static_cast<unsigned>(verb) & 1) != 0; }
};
const std::vector<Option>& options();

/// Sets from the environment and the default what belongs to a place and not to a call. The answer is as Option::set's, the
/// variable's name before it.
std::string set_surroundings(Options& options);

/// `arguments` are those behind the verb.
std::variant<Options, Exit> parse(Verb verb, const std::vector<std::string>& arguments);

/// What a command is called, and what stands behind it.
struct Command {
  Verb verb;
  std::string_view name;
  std::string_view words;  ///< that can stand behind it by themselves: what dead can do
  bool takes_id = false;
};
const std::vector<Command>& commands();
std::string_view name_of(Verb verb);

/// Ids are made of letters, digits, dashes and underscores; anything else cannot name a job.
bool is_id(std::string_view id);
inline constexpr std::string_view kDeadActions = "list show retry drop clear";

/// `bulkhead submit --help` and the like.
std::string help(Verb verb);

}  // namespace bulkhead::client
