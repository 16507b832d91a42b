// The texts of the client's commands, a row for each: what it does, examples, exit codes; its options come out of their
// table. The manual pages are made of these texts (docs/make_manual.py), so their form is fixed: a first line "Usage: …",
// paragraphs, then parts with a title of their own, "Options:", "Examples:", "Exit codes:".
//
// A line is at most as wide as a terminal; what scripts read of these texts are the exit codes.

#include <algorithm>
#include <array>

#include "client/options.hpp"

namespace bulkhead::client {
namespace {

struct Page {
  Verb verb;
  std::string_view text;
  std::string_view examples;
  std::string_view codes;  ///< those beside 0, 2, 5, 6: of what is asked
};

constexpr Page kSubmit{Verb::Submit,
                       R"(Usage: bulkhead submit [options] [JSON | @FILE | -]

Sends a job to an endpoint. JSON is the job's input; without it, or with -, the input is read from standard input.
Prints the job's id and nothing else; with --wait the job's output, as JSON on one line; with --stream each chunk of
the output on a line of its own. What is to be said besides goes to standard error.

Ctrl-C while waiting leaves the job running. A wait outlives restarts of the endpoint; it gives up when there was no
answer for two minutes. A submission that was cut off is sent again under the same Idempotency-Key: the job runs once.
)",
                       R"(  bulkhead submit '{"name": "you"}'                 prints the id: then bulkhead status ID
  bulkhead submit --wait @input.json | jq .
  bulkhead submit --stream '{"text": "one two"}'
  generate | bulkhead submit --ttl 1h --webhook https://example.com/done
  bulkhead submit --request --wait @test_input.json --url unix:/run/bulkhead.sock
)",
                       R"(  0   accepted; with --wait or --stream: COMPLETED
  1   the job is FAILED, CANCELLED or TIMED_OUT (standard error says why)
  3   --timeout is over, and the job goes on
)"};

constexpr Page kStatus{Verb::Status,
                       R"(Usage: bulkhead status [options] ID

Prints what is known of a job: its status, its times, its output or error once it has ended, its attempts where it
lost one.
)",
                       R"(  bulkhead status 3f0c…-u1
  bulkhead status --wait --json 3f0c…-u1 | jq .output
)",
                       R"(  0   COMPLETED, or not ended yet
  1   the job is FAILED, CANCELLED or TIMED_OUT
  3   with --wait: --timeout is over, and the job goes on
  4   there is no such job, or it is not kept any more
)"};

constexpr Page kStream{Verb::Stream,
                       R"(Usage: bulkhead stream [options] ID

Prints the chunks of a job's output, each as JSON on a line of its own, from the first one on and then the moment they
come, until the job has ended. Each comes once, whatever is cut off on the way. Of a handler that does not stream, the
output is printed when it is there.

Ctrl-C leaves the job running, and says with which --after to go on.
)",
                       R"(  bulkhead stream 3f0c…-u1
  bulkhead stream --after 17 3f0c…-u1               from the 18th chunk on
)",
                       R"(  0   COMPLETED
  1   the job is FAILED, CANCELLED or TIMED_OUT (standard error says why)
  3   --timeout is over, and the job goes on
  4   there is no such job, or it is not kept any more
)"};

constexpr Page kCancel{Verb::Cancel,
                       R"(Usage: bulkhead cancel [options] ID

Ends a job, queued or running. A job that had ended before keeps its status.
)",
                       R"(  bulkhead cancel 3f0c…-u1
)",
                       R"(  0   the job is not running any more
  4   there is no such job, or it is not kept any more
)"};

constexpr Page kRetry{Verb::Retry,
                      R"(Usage: bulkhead retry [options] ID

Runs a job that is FAILED or TIMED_OUT once more, with its input, under its id. Its result is forgotten.
)",
                      R"(  bulkhead retry 3f0c…-u1 && bulkhead status --wait 3f0c…-u1
  bulkhead ps --quiet --state FAILED | xargs -n 1 bulkhead retry
)",
                      R"(  0   the job is queued again
  1   it may not run again: it did not fail, or its input is in quarantine
  4   there is no such job, or it is not kept any more
)"};

constexpr Page kPurge{Verb::Purge,
                      R"(Usage: bulkhead purge [options]

Cancels all jobs that wait in the queue; those that run go on.
)",
                      R"(  bulkhead purge
)",
                      R"(  0   done
)"};

constexpr Page kHealth{Verb::Health,
                       R"(Usage: bulkhead health [options]

Prints the endpoint's counts of jobs and handler processes. The exit code says whether a job would be run now.
)",
                       R"(  until bulkhead health >/dev/null; do sleep 1; done
)",
                       R"(  0   a handler process is ready
  1   none is ready: all are starting, or failing
)"};

constexpr Page kPs{Verb::Ps,
                   R"(Usage: bulkhead ps [options]

Prints what an endpoint does now: its phase and its counts, a table of the handler processes with the jobs they run,
and a table of jobs, the newest first: those that wait and run, and those whose result is kept. The options choose
among the jobs.

With --watch it is drawn again every second, until q or Ctrl-C; where standard output is no terminal, printed again.
)",
                   R"(  bulkhead ps
  bulkhead ps --watch --state IN_QUEUE,IN_PROGRESS
  bulkhead ps --worker w2                           what runs and ran in the third slot
  bulkhead ps --json | jq '.snapshot.children[] | select(.memory_bytes > 1e9) | .id'
)",
                   R"(  0   done
)"};

constexpr Page kTop{Verb::Top,
                    R"(Usage: bulkhead top [options]

Shows an endpoint live on the whole terminal: rates, waiting and running times over the last hour, restarts, and each
handler process with its memory and its jobs. It costs the endpoint next to nothing, however many look.

Keys: q ends it; s sorts by the next column (slot, memory, CPU, jobs done, age of job); the arrows, j, k, the page
keys, g and G scroll.
)",
                    R"(  bulkhead top
  bulkhead top --url http://gpu3:8000 --api-key-file ~/.bulkhead-key
)",
                    R"(  0   ended by q, or by --timeout
)"};

constexpr Page kLogs{Verb::Logs,
                     R"(Usage: bulkhead logs [options]

Prints the last lines that handlers and the supervisor wrote: when, how serious, which handler process, which job,
what. They are kept in the endpoint's memory, so many as fit; where its own log goes (standard error, the journal) has
all of them.

With --follow new lines are printed as they are written, also beyond a restart of the endpoint. A reader that is too
slow loses lines, and is told how many.
)",
                     R"(  bulkhead logs
  bulkhead logs --follow --job 3f0c…-u1
  bulkhead logs -f --worker w2 --json | jq -r .text
)",
                     R"(  0   done
)"};

constexpr Page kDrain{Verb::Drain,
                      R"(Usage: bulkhead drain [options]

Tells the supervisor to end, as SIGTERM does: no more jobs are taken, those that run may end within serve's --grace,
those that wait stay in the journal for the next start.
)",
                      R"(  bulkhead drain
)",
                      R"(  0   it drains
)"};

constexpr Page kScale{Verb::Scale,
                      R"(Usage: bulkhead scale [options] N

Changes the number of handler processes to N, 0 to 1024: more are started, or some are let go when their jobs have
ended. It holds until the next reload or restart, which read the configuration.
)",
                      R"(  bulkhead scale 8
)",
                      R"(  0   done
)"};

constexpr Page kUpgrade{Verb::Upgrade,
                        R"(Usage: bulkhead upgrade [options]

Has a running endpoint hand its work over to the program that is installed at its path by now: jobs run on, no
connection is refused, no request fails. Waits until the new one is proved, and says what became of it. One that is no
good is not begun, or followed by the one before.

The same as SIGUSR2 to the init (the container's first process, the service's main process).
)",
                        R"(  bulkhead upgrade                                  after the installation of another version
)",
                        R"(  0   the new program serves
  1   it was no good, and the one before is back; or it is refused (standard error says why)
  3   --timeout is over, and nothing is decided
)"};

constexpr Page kDead{Verb::Dead,
                     R"(Usage: bulkhead dead [options] list | show ID | retry ID | drop ID | clear

Dead letters are jobs that used up their attempts by crashing, kept with their input, the history of their attempts
and the records of their crashes. list shows them, the newest first; show prints all that is known of one; retry runs
its job again under the same id; drop forgets it. clear lifts the quarantine of inputs that have crashed too many
handler processes (serve's --quarantine), and leaves the letters alone.
)",
                     R"(  bulkhead dead list
  bulkhead dead show --json 3f0c…-u1 | jq .input    what it was that crashes
  bulkhead dead retry 3f0c…-u1                      then bulkhead status 3f0c…-u1
)",
                     R"(  0   done
  1   it may not run again: its input is in quarantine
  4   there is no such letter
)"};

constexpr std::array kPages{kSubmit, kStatus, kStream, kCancel, kRetry, kPurge,   kHealth,
                            kPs,     kTop,    kLogs,   kDrain,  kScale, kUpgrade, kDead};

constexpr std::string_view kSettings = R"(
The environment holds what belongs to a place and not to a call: BULKHEAD_URL for --url, and BULKHEAD_API_KEY, the only
other way to show a key: arguments are there for everybody on the machine to read. NO_COLOR: no colours.
)";

/// Those that every command has, and with them a command's own, in their order.
std::string code_lines(const Page& page) {
  constexpr std::string_view kEverywhere =
      "  2   wrong usage, or something given that the endpoint refuses\n"
      "  5   no answer, or the endpoint reports an error of its own\n"
      "  6   an API key is wanted, or another one\n"
      "  71  standard output cannot be written\n"
      "  130 interrupted (128 and the signal's number); jobs go on\n";
  std::array<std::string, 10> of_code;
  std::string rest;
  for (std::string_view text : {page.codes, kEverywhere}) {
    while (!text.empty()) {
      std::string_view line = text.substr(0, text.find('\n') + 1);
      text.remove_prefix(line.size());
      bool digit = line[3] == ' ';
      (digit ? of_code[static_cast<std::size_t>(line[2] - '0')] : rest) += line;
    }
  }
  std::string all;
  for (const std::string& line : of_code) all += line;
  return all + rest;
}

void add_line(std::string& text, std::string_view left, std::string_view right) {
  constexpr std::size_t kColumn = 36;
  text.append("  ").append(left).append(kColumn - left.size() - 2, ' ').append(right).append("\n");
}

}  // namespace

std::string help(Verb verb) {
  const Page& page = *std::find_if(kPages.begin(), kPages.end(), [&](const Page& one) { return one.verb == verb; });
  std::string text(page.text);
  text += "\nOptions:\n";
  for (const Option& option : options()) {
    if (!option.belongs(verb)) continue;
    std::string left = option.letter != 0 ? "-" + std::string(1, option.letter) + ", " : "";
    left.append("--").append(option.name);
    if (!option.value.empty()) left.append(" ").append(option.value);
    add_line(text, left, option.help);
  }
  add_line(text, "-h, --help", "this text");
  text.append(kSettings).append("\nExamples:\n").append(page.examples);
  return text.append("\nExit codes:\n").append(code_lines(page));
}

}  // namespace bulkhead::client
