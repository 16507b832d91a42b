// The command line of bulkhead-init, read by getopt before anything starts: here stdio may be used. What is wrong is named
// with its value and what is allowed. --supervise, --trial and --mask are for `bulkhead` alone, and not in the help.

#include "supervisor/init/options.hpp"

#include <getopt.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bulkhead::init {
namespace {

constexpr int kUsage = 2;

constexpr char kHelp[] =
    R"(Usage: bulkhead init [options] [--] COMMAND…

Runs COMMAND as the first process of a container, or of any tree of processes: sends signals on to it, reaps every
orphan, and at its end ends what it left. Takes the place of tini and of dumb-init.

Options:
  -g                  send signals to COMMAND's whole process group
  -c, --single-child  send them to COMMAND alone (as without an option)
  -e CODE             report this exit code as 0; repeatable
  -r, --rewrite A:B   send on B where A comes; B = 0: nothing. Names or numbers; repeatable
  -p SIGNAL           get (and send on) SIGNAL when the parent process dies
  --grace SECONDS     from SIGTERM to SIGKILL; what COMMAND leaves behind has as long [10]
  -s, -v, -w          taken and ignored: what they ask of other inits is always so
  -h, --help; -V, --version

Example:
  ENTRYPOINT ["bulkhead", "init", "--"]

A second SIGTERM leaves one second. Exit codes: COMMAND's own; 128+N when signal N ended it; 127 not found, 126 not
executable; 2 wrong usage.
)";

int wrong(const char* option, const char* given, const char* allowed) {
  std::fprintf(stderr, "bulkhead init: %s %s: %s\nTry `bulkhead init --help`.\n", option, given, allowed);
  return kUsage;
}

/// A whole number of `low` to `high`, or -1.
long number(const char* text, long low, long high, int base = 10) {
  if (*text < '0' || *text > '9') return -1;
  char* end = nullptr;
  long value = std::strtol(text, &end, base);
  return *end == '\0' && value >= low && value <= high ? value : -1;
}

bool add_rewrite(Options& options, const char* text) {
  const char* colon = std::strchr(text, ':');
  char from[16] = {};
  if (colon == nullptr || colon == text || colon - text >= static_cast<long>(sizeof from)) return false;
  std::memcpy(from, text, static_cast<std::size_t>(colon - text));
  int a = signal_number(from);
  int b = std::strcmp(colon + 1, "0") == 0 ? 0 : signal_number(colon + 1);
  if (a == 0 || (b == 0 && std::strcmp(colon + 1, "0") != 0)) return false;
  options.rewrite[a] = static_cast<unsigned char>(b);
  return true;
}

bool set_time(long long& time, const char* text) {
  constexpr double kYear = 365.0 * 86'400;
  if ((*text < '0' || *text > '9') && *text != '.') return false;
  char* end = nullptr;
  double seconds = std::strtod(text, &end);
  if (*end != '\0' || !(seconds >= 0 && seconds <= kYear)) return false;
  time = static_cast<long long>(seconds * 1000);
  return true;
}

/// Sixteen digits, the lowest bit is signal 1: as in /proc/self/status.
bool set_mask(Options& options, const char* text) {
  char* end = nullptr;
  unsigned long long bits = std::strtoull(text, &end, 16);
  if (*text == '\0' || *end != '\0') return false;
  sigemptyset(&options.mask);
  for (int signal = 1; signal < kSignals; ++signal)
    if ((bits >> (signal - 1) & 1) != 0) sigaddset(&options.mask, signal);
  return true;
}

enum Long { kGrace = 256, kSupervise, kTrial, kMask };
constexpr option kLong[] = {
    {"single-child", no_argument, nullptr, 'c'},   {"rewrite", required_argument, nullptr, 'r'},
    {"grace", required_argument, nullptr, kGrace}, {"supervise", required_argument, nullptr, kSupervise},
    {"trial", required_argument, nullptr, kTrial}, {"mask", required_argument, nullptr, kMask},
    {"verbose", no_argument, nullptr, 'v'},        {"help", no_argument, nullptr, 'h'},
    {"version", no_argument, nullptr, 'V'},        {}};

int take(Options& options, int letter) {
  switch (letter) {
    case 'g': options.group = true; return -1;
    case 'c': options.group = false; return -1;
    case 's':
    case 'v':
    case 'w': return -1;
    case 'e': {
      long code = number(optarg, 0, 255);
      if (code < 0) return wrong("-e", optarg, "must be an exit code, 0 to 255");
      options.success[code] = true;
      return -1;
    }
    case 'r':
      if (add_rewrite(options, optarg)) return -1;
      return wrong("-r", optarg,
                   "must be two signals with a colon between, such as TERM:QUIT or 15:3; TERM:0 drops it");
    case 'p':
      options.death_signal = signal_number(optarg);
      return options.death_signal != 0 ? -1 : wrong("-p", optarg, "must be a signal, such as TERM or 15");
    case kGrace:
      return set_time(options.grace, optarg)
                 ? -1
                 : wrong("--grace", optarg, "must be seconds, 0 to 31536000, such as 10 or 0.5");
    case kTrial: return set_time(options.trial, optarg) ? -1 : wrong("--trial", optarg, "must be seconds");
    case kSupervise:
      options.restarts = static_cast<int>(number(optarg, 0, 1000));
      return options.restarts >= 0 ? -1 : wrong("--supervise", optarg, "must be a number of restarts, 0 to 1000");
    case kMask: return set_mask(options, optarg) ? -1 : wrong("--mask", optarg, "must be hexadecimal digits");
    case 'h': std::fputs(kHelp, stdout); return 0;
    case 'V': std::puts("bulkhead init " BULKHEAD_VERSION); return 0;
    default: std::fputs("Try `bulkhead init --help`.\n", stderr); return kUsage;
  }
}

}  // namespace

int signal_number(const char* text) {
  if (std::strncmp(text, "SIG", 3) == 0) text += 3;
  if (long value = number(text, 1, kSignals - 1); value > 0) return static_cast<int>(value);
  if (std::strcmp(text, "RTMIN") == 0) return SIGRTMIN;
  if (std::strcmp(text, "RTMAX") == 0) return SIGRTMAX;
  if (std::strncmp(text, "RTMIN+", 6) == 0) {
    long more = number(text + 6, 0, SIGRTMAX - SIGRTMIN);
    return more < 0 ? 0 : SIGRTMIN + static_cast<int>(more);
  }
  if (std::strncmp(text, "RTMAX-", 6) == 0) {
    long less = number(text + 6, 0, SIGRTMAX - SIGRTMIN);
    return less < 0 ? 0 : SIGRTMAX - static_cast<int>(less);
  }
  for (int signal = 1; signal < 32; ++signal) {
    const char* name = sigabbrev_np(signal);
    if (name != nullptr && std::strcmp(name, text) == 0) return signal;
  }
  return 0;
}

int parse(int argc, char** argv, Options& options) {
  for (int signal = 0; signal < kSignals; ++signal) options.rewrite[signal] = static_cast<unsigned char>(signal);
  // The plus sign: everything from the first word that is no option is COMMAND's own, dashes or not.
  for (int letter; (letter = getopt_long(argc, argv, "+gcsvwe:r:p:hV", kLong, nullptr)) != -1;)
    if (int code = take(options, letter); code >= 0) return code;
  if (optind >= argc) {
    std::fputs("bulkhead init: nothing to run: give a command, as in `bulkhead init -- ./program`\n", stderr);
    std::fputs("Try `bulkhead init --help`.\n", stderr);
    return kUsage;
  }
  options.command = argv + optind;
  return -1;
}

}  // namespace bulkhead::init
