// The texts of the client's commands: one for each, its options out of their table, examples, exit codes.
//
// A line is at most as wide as a terminal; what scripts read of these texts are the exit codes.

#include "client/options.hpp"

namespace bulkhead::client {
namespace {

constexpr std::string_view kSubmit =
    R"(Usage: bulkhead submit [options] [JSON | @FILE | -]

Sends a job to an endpoint. JSON is the job's input; without it, or with -, the input is read from standard input.
Prints the job's id and nothing else; with --wait the job's output, as JSON on one line; with --stream each chunk of
the output on a line of its own. What is to be said besides goes to standard error.

Ctrl-C while waiting leaves the job running. A wait outlives restarts of the endpoint; it gives up when there was no
answer for two minutes. A submission that was cut off is sent again under the same Idempotency-Key: the job runs once.
)";

constexpr std::string_view kStatus =
    R"(Usage: bulkhead status [options] ID

Prints what is known of a job, as JSON: its status, and its output or error once it has ended.
)";

constexpr std::string_view kCancel =
    R"(Usage: bulkhead cancel [options] ID

Ends a job, queued or running, and prints its id and status as JSON. A job that had ended before keeps its status.
)";

constexpr std::string_view kHealth =
    R"(Usage: bulkhead health [options]

Prints the endpoint's counts of jobs and handler processes, as JSON. The exit code says whether a job would be run now.
)";

constexpr std::string_view kDead =
    R"(Usage: bulkhead dead [options] list | show ID | retry ID | drop ID | clear

Dead letters are jobs that used up their attempts by crashing, kept with their input, the history of their attempts and
the records of their crashes. list prints one on each line, as JSON, the newest first; show prints all that is known of
one; retry runs its job again under the same id; drop forgets it. clear lifts the quarantine of inputs that have crashed
too many handler processes (serve's --quarantine), and leaves the letters alone.
)";

constexpr std::string_view kSettings = R"(
The environment holds what belongs to a place and not to a call: BULKHEAD_URL for --url, and BULKHEAD_API_KEY, the only
other way to show a key: arguments are there for everybody on the machine to read.
)";

constexpr std::string_view kSubmitExamples = R"(
Examples:
  bulkhead submit '{"name": "you"}'                 prints the id: then bulkhead status ID
  bulkhead submit --wait @input.json | jq .
  bulkhead submit --stream '{"text": "one two"}'
  generate | bulkhead submit --ttl 1h --webhook https://example.com/done
  bulkhead submit --body --wait @test_input.json --url unix:/run/bulkhead.sock
)";

constexpr std::string_view kStatusExamples = R"(
Examples:
  bulkhead status 3f0c…-u1
  bulkhead status --wait 3f0c…-u1 | jq .output      waits until it has ended
)";

constexpr std::string_view kCancelExamples = R"(
Example:
  bulkhead cancel 3f0c…-u1
)";

constexpr std::string_view kHealthExamples = R"(
Example:
  until bulkhead health >/dev/null; do sleep 1; done
)";

constexpr std::string_view kDeadExamples = R"(
Examples:
  bulkhead dead list | jq -r .id
  bulkhead dead show 3f0c…-u1 | jq .input           what it was that crashes
  bulkhead dead retry 3f0c…-u1                      then bulkhead status 3f0c…-u1
)";

constexpr std::string_view kJobCodes = R"(
Exit codes:
  0   accepted; with --wait or --stream: COMPLETED     4   the job is CANCELLED or TIMED_OUT
  1   the job is FAILED (standard error says why)      5   --timeout is over, and the job has not ended
  2   wrong usage, or an input that is refused         71  standard output cannot be written
  3   no answer, or the endpoint reports an error      130 interrupted; a job that was accepted goes on
)";

constexpr std::string_view kStatusCodes = R"(
Exit codes:
  0   COMPLETED, or not ended yet                      4   the job is CANCELLED or TIMED_OUT
  1   the job is FAILED                                5   with --wait: --timeout is over, and the job has not ended
  2   wrong usage                                      71  standard output cannot be written
  3   no answer, or no such job                        130 interrupted; the job goes on
)";

constexpr std::string_view kCancelCodes = R"(
Exit codes:
  0   the job is not running any more                  3   no answer, or no such job
  2   wrong usage
)";

constexpr std::string_view kHealthCodes = R"(
Exit codes:
  0   a handler process is ready                       2   wrong usage
  1   none is ready: all are starting, or failing      3   no answer
)";

constexpr std::string_view kDeadCodes = R"(
Exit codes:
  0   done                                             3   no answer, no such letter, or a job that may not run again
  2   wrong usage
)";

void add_line(std::string& text, std::string_view left, std::string_view right) {
  constexpr std::size_t kColumn = 36;
  text.append("  ").append(left).append(kColumn - left.size() - 2, ' ').append(right).append("\n");
}

}  // namespace

std::string help(Verb verb) {
  std::string text;
  switch (verb) {
    case Verb::Submit: text = kSubmit; break;
    case Verb::Status: text = kStatus; break;
    case Verb::Cancel: text = kCancel; break;
    case Verb::Health: text = kHealth; break;
    case Verb::Dead: text = kDead; break;
  }
  text += "\nOptions:\n";
  for (const Option& option : options()) {
    if (!option.belongs(verb)) continue;
    std::string left = "--" + std::string(option.name);
    if (!option.value.empty()) left.append(" ").append(option.value);
    std::string right(option.help);
    if (option.name == "timeout" && (verb == Verb::Cancel || verb == Verb::Health || verb == Verb::Dead))
      right = "stop trying after this long [1m]";
    if (option.name == "timeout" && verb == Verb::Status)
      right = "stop trying and waiting after this long [1m; with --wait 1d]";
    add_line(text, left, right);
  }
  add_line(text, "-h, --help", "this text");
  text += kSettings;
  switch (verb) {
    case Verb::Submit: text.append(kSubmitExamples).append(kJobCodes); break;
    case Verb::Status: text.append(kStatusExamples).append(kStatusCodes); break;
    case Verb::Cancel: text.append(kCancelExamples).append(kCancelCodes); break;
    case Verb::Health: text.append(kHealthExamples).append(kHealthCodes); break;
    case Verb::Dead: text.append(kDeadExamples).append(kDeadCodes); break;
  }
  return text;
}

}  // namespace bulkhead::client
