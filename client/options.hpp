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

enum class Verb : std::uint8_t { Submit, Status, Cancel, Health, Dead };

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

  std::string id;      ///< status, cancel, dead
  std::string action;  ///< dead: list, show, retry, drop or clear

  // ---- submit ----
  std::optional<std::string> argument;  ///< JSON, or @FILE, or - for standard input
  std::string file;                     ///< --file
  bool body = false;                    ///< what is given is the whole request
  bool stream = false;
  std::optional<milliseconds> execution_timeout;
  std::optional<milliseconds> ttl;
  bool low_priority = false;
  std::string webhook;
  std::string idempotency_key;

  bool wait = false;  ///< submit, status
  std::optional<milliseconds> timeout;
};

/// The command's work is done by printing this.
struct Exit {
  int code = 0;
  std::string text;  ///< whole lines; for stderr when the code is not 0
};

// The exit codes, as the help names them. 71 is that of sysexits.h and of the rest of the program.
inline constexpr int kOk = 0;
inline constexpr int kJobFailed = 1;    ///< the job is FAILED; health: no handler process is ready
inline constexpr int kUsage = 2;        ///< the command line or the input is wrong: trying again cannot help
inline constexpr int kNoAnswer = 3;     ///< the endpoint cannot be reached, or answers with an error
inline constexpr int kJobStopped = 4;   ///< the job is CANCELLED or TIMED_OUT
inline constexpr int kStillGoing = 5;   ///< --timeout is over and the job has not ended
inline constexpr int kBroken = 71;      ///< the machine said no: standard output cannot be written
inline constexpr int kSignalled = 128;  ///< plus the signal's number: interrupted, as shells count

/// One row per option: it makes the flag and the line of the help.
struct Option {
  std::string_view name;   ///< without its dashes
  std::string_view value;  ///< what stands for its value in the help; empty: it takes none
  std::string_view help;
  bool (*belongs)(Verb);
  /// Sets it. The answer is empty, or says what is allowed: "must be …".
  std::string (*set)(Options&, const std::string& text);
};
const std::vector<Option>& options();

/// `arguments` are those behind the verb.
std::variant<Options, Exit> parse(Verb verb, const std::vector<std::string>& arguments);

std::string_view name_of(Verb verb);

/// `bulkhead submit --help` and the like.
std::string help(Verb verb);

}  // namespace bulkhead::client
