// The texts of --help. What can be set comes from the table of options.cpp, so the help of an option cannot be missing;
// the rest is written out here, as it shall look.

#include "supervisor/config/help.hpp"

#include <array>

#include "supervisor/config/options.hpp"

namespace bulkhead::config {
namespace {

constexpr std::string_view kProgram =
    "bulkhead runs job handlers in processes of their own: one may crash, hang or leak, and no job is lost.\n";

constexpr std::array kCommands{
    Command{"run", "[options] -- COMMAND…", "a worker of a RunPod endpoint; or the handler once, on its test input"},
    Command{"serve", "[options] -- COMMAND…", "an endpoint: take jobs over HTTP, keep them, run them"},
    Command{"check", "[run|serve] [options]", "print every setting in force and where it comes from"},
    Command{"doctor", "[options]", "what of this machine Bulkhead can use, and what is missing"},
    Command{"submit", "[options] JSON", "send a job to an endpoint; --wait for its output"},
    Command{"status", "[options] ID", "what became of a job"},
    Command{"stream", "[options] ID", "the chunks of a job's output, as they come"},
    Command{"cancel", "[options] ID", "end a job"},
    Command{"retry", "[options] ID", "run a job that failed once more"},
    Command{"purge", "[options]", "cancel all jobs that wait"},
    Command{"health", "[options]", "whether an endpoint is ready, and its counts"},
    Command{"ps", "[options]", "handler processes and jobs, once or with --watch"},
    Command{"top", "[options]", "handler processes and rates, live on the whole terminal"},
    Command{"logs", "[options]", "what handlers and the supervisor wrote; --follow"},
    Command{"drain", "[options]", "let running jobs end, take no more, end"},
    Command{"scale", "[options] N", "another number of handler processes"},
    Command{"upgrade", "[options]", "have an endpoint continued by the program that is installed now"},
    Command{"dead", "list|show|retry|drop|clear", "jobs that crashed for good, and inputs in quarantine"},
    Command{"journal", "inspect|verify|backup", "what a state directory holds, whether it is whole, a copy of it"},
    Command{"init", "[options] -- COMMAND…", "the first process of a container, for any command"},
    Command{"completion", "bash|zsh|fish", "a script that makes the shell complete all this"},
};

constexpr std::string_view kStart =
    R"(  bulkhead --version

Start here (COMMAND is your handler and its arguments, all that stands behind the two dashes):
  bulkhead run -- ./handler --test_input '{"input": {"name": "you"}}'
  bulkhead serve --workers 2 -- ./handler
  bulkhead submit --wait '{"name": "you"}'
  curl http://127.0.0.1:8000/runsync -d '{"input": {"name": "you"}}'

`bulkhead serve --help` explains the options, the settings file and the addresses clients use. Each of the others has a
help of its own; those that ask an endpoint (submit to dead) have exit codes of their own, too.

)";

constexpr std::string_view kExitCodes = R"(Exit codes:
  0   done                               69  no handler process ever became ready
  1   run: the job failed                71  the machine refused (address or directory in use, too little memory or disk
                                             for a platform's jobs, …)
  2   wrong usage                        78  wrong configuration (settings file or environment)
                                       128+N  ended by signal N
)";

constexpr std::string_view kSignals = R"(Signals:
  TERM, INT  take no more jobs, let running ones finish within --grace, end; a second one cuts the grace short
  QUIT       stop at once, with the stacks of everything in the log
  HUP        read the configuration again: numbers of processes, limits, keys, log level (not on a test input)
  USR1       write the state to standard error, as one line of JSON

)";

constexpr std::string_view kSettings =
    R"(Every option is also an environment variable (--setup-timeout is BULKHEAD_SETUP_TIMEOUT; lists take commas) and a key
of the settings file (setup-timeout = "5m"; there, command = ["./handler"] may replace COMMAND).
A flag wins over the environment, the environment over the file. `bulkhead check serve` and `check run` show the result.
)";

constexpr std::string_view kServeExamples = R"(Examples:
  bulkhead serve -- ./handler                                   one process, http://127.0.0.1:8000
  bulkhead serve --workers 4 --spares 1 --retries 2 -- python3 handler.py
  bulkhead serve --gpus all --workers 2 --config bulkhead.toml
  curl http://127.0.0.1:8000/run -d '{"input": {"n": 1}}'       answers {"id": …}: then ask /status/{id}
  curl http://127.0.0.1:8000/health

)";

constexpr std::string_view kRunExamples = R"(Examples:
  ENTRYPOINT ["bulkhead", "run", "--"]                          in a worker image, before its CMD
  bulkhead run -- ./handler                                     the job is in test_input.json
  bulkhead run -- ./handler --test_input '{"input": {"n": 1}}'
  bulkhead run --execution-timeout 10s -- python3 handler.py --test_input '{"input": {}}'

)";

constexpr std::string_view kCheckExamples = R"(Examples:
  bulkhead check
  bulkhead check run                                            on RunPod: with what its environment says
  bulkhead check --config bulkhead.toml --workers 4 -- ./handler
  bulkhead check --json | jq '.settings[] | select(.origin != "default")'

)";

constexpr std::string_view kDoctor = R"(Usage: bulkhead doctor [--json] [options of serve]

Looks at this machine and says for each thing that Bulkhead stands on whether it works here: kernel and container
(pidfd, cgroups, namespaces, ptrace), what tells how a process died, limits, shared memory, GPUs, the disk of the state
directory, the clock, the addresses to listen on. Each is tried, not guessed, and nothing is left behind. What is limited
or missing comes with what that costs and what to do about it.

Run it where the supervisor is to run: in the container, as its user, in its unit. Of the options of serve --state-dir,
--listen and --config matter here.

  --json                            one object: place, runs, and findings, each with section, subject,
                                    verdict, found, cost, way_out

Exit codes:
  0   Bulkhead runs here                 2   wrong usage
  1   it does not: something is broken   78  wrong configuration (settings file or environment)

Examples:
  bulkhead doctor
  docker run --rm --entrypoint bulkhead IMAGE doctor
  systemd-run --pipe --wait -p DynamicUser=yes -p StateDirectory=bulkhead bulkhead doctor
  bulkhead doctor --json | jq '.findings[] | select(.verdict != "ok")'
)";

std::string_view title(Group group) {
  switch (group) {
    case Group::Children: return "Handler processes";
    case Group::Jobs: return "Jobs";
    case Group::Platform: return "RunPod";
    case Group::Endpoint: return "Endpoint";
    case Group::Limits: return "Limits";
    case Group::State: return "State";
    case Group::Process: return "Process";
    case Group::Talk: return "Messages";
  }
  return {};
}

void add_line(std::string& text, std::string_view left, std::string_view right) {
  constexpr std::size_t kColumn = 36;
  text.append("  ").append(left);
  // What does not fit gets a line of its own, so that the right column stays one.
  if (left.size() + 2 >= kColumn) {
    text.append("\n").append(kColumn, ' ');
  } else {
    text.append(kColumn - left.size() - 2, ' ');
  }
  text.append(right).append("\n");
}

std::string option_lines(Subcommand subcommand, bool check) {
  const Config defaults;
  std::string text;
  std::optional<Group> group;
  for (const Option& option : options()) {
    bool elsewhere = subcommand == Subcommand::Run ? option.serve_only : option.run_only;
    if (option.secret || elsewhere) continue;
    if (group != option.group) {
      group = option.group;
      text.append("\n").append(title(*group)).append(":\n");
    }
    std::string value = option.show(defaults);
    std::string help(option.help);
    if (option.name == "execution-timeout" && subcommand == Subcommand::Run) value += "; on RunPod: the job's own";
    if (option.name == "state-dir") value = "$STATE_DIRECTORY or ~/.local/state/bulkhead";
    if (!value.empty()) help += " [" + value + "]";
    add_line(text, "--" + std::string(option.name) + (option.flag ? "" : " ") + std::string(option.value), help);
  }
  text += "\nGeneral:\n";
  add_line(text, "--config FILE", "read settings from a TOML file");
  if (check) add_line(text, "--json", "one object, settings, each with name, value, origin");
  add_line(text, "-h, --help", "this text");
  return text + "\n";
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

std::string program_help() {
  std::string text(kProgram);
  text += "\nUsage:\n";
  for (const Command& command : kCommands) {
    std::string left = "bulkhead " + std::string(command.name) + " " + std::string(command.words);
    // "…" is three bytes and one column.
    std::size_t columns = left.size() - (left.ends_with("…") ? 2 : 0);
    text.append("  ").append(left).append(42 - columns, ' ').append(command.summary).append("\n");
  }
  return text.append(kStart).append(kExitCodes);
}

std::string subcommand_help(Subcommand subcommand, bool check) {
  if (subcommand == Subcommand::Doctor) return std::string(kDoctor);
  std::string text;
  if (check) {
    text =
        "Usage: bulkhead check [run|serve] [options] [-- COMMAND…]\n\n"
        "Prints every setting that `bulkhead run` or `bulkhead serve` (which it is without a word) would use with the\n"
        "same options, environment and file, and where each comes from. Starts nothing.\n";
  } else if (subcommand == Subcommand::Serve) {
    text =
        "Usage: bulkhead serve [options] -- COMMAND…\n\n"
        "Keeps handler processes running (COMMAND each) and gives them the jobs that clients send over HTTP, with\n"
        "RunPod's API: /run, /runsync, /status/{id}, /stream/{id}, /cancel/{id}, /health and the rest, bare or under\n"
        "/v2/{endpoint}. A job that was accepted is kept until it ended, whatever crashes.\n";
  } else {
    text =
        "Usage: bulkhead run [options] -- COMMAND…\n\n"
        "On RunPod (RUNPOD_WEBHOOK_GET_JOB is set) this is a worker: it takes jobs from the endpoint, runs them in\n"
        "supervised processes and returns their results, until it is told to end. Elsewhere it runs the handler on "
        "the\n"
        "job of its own --test_input or test_input.json, prints the result, and ends. A crash is a failed job.\n";
  }
  text += option_lines(subcommand, check);
  text += kSettings;
  text += "\n";
  text += check ? kCheckExamples : subcommand == Subcommand::Serve ? kServeExamples : kRunExamples;
  if (!check) text += kSignals;
  text += kExitCodes;
  return text;
}

}  // namespace bulkhead::config
