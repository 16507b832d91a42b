// First one model of the command line, out of the tables of the client and of the configuration (and the few words that
// have no table: journal's, init's), then three renderings of it. A script knows by itself what follows what; only the ids
// of jobs are asked for when they are wanted, by `bulkhead ps --quiet`, which gives up after a second.
//
// Words of the tables stand between single quotes in all three, so a text with one is written '\'' there.

#include "supervisor/completion.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "client/options.hpp"
#include "supervisor/config/config.hpp"
#include "supervisor/config/help.hpp"
#include "supervisor/config/options.hpp"

namespace bulkhead {
namespace {

constexpr char kHelp[] =
    R"(Usage: bulkhead completion bash|zsh|fish

Prints a script that makes the shell complete bulkhead's commands, options, their values, and ids of jobs. Where Bulkhead was
installed with a prefix that the shell looks into, it is there already.

Examples:
  source <(bulkhead completion bash)                now; or in ~/.bashrc
  bulkhead completion bash >~/.local/share/bash-completion/completions/bulkhead
  bulkhead completion zsh >"${fpath[1]}/_bulkhead"
  bulkhead completion fish >~/.config/fish/completions/bulkhead.fish

Exit codes:
  0   done
  2   wrong usage
)";

struct Flag {
  std::string name;
  char letter = 0;
  std::string value;  ///< empty: it takes none
  std::string words;  ///< its values, where they can be listed
  std::string help;
};

struct Verb {
  std::string name;
  std::string summary;
  std::vector<Flag> flags;
  std::string words;     ///< that can stand behind it
  bool ids = false;      ///< a job's id can
  bool command = false;  ///< behind "--" stands a command with its own words
};

/// "full relaxed memory" of "full|relaxed|memory"; of what is not just words, those that are.
std::string words_of(std::string_view value) {
  if (value == "LEVEL") return "trace debug info warning error";
  std::string words;
  if (value.find('|') == std::string_view::npos) return words;
  for (std::size_t begin = 0; begin <= value.size();) {
    std::size_t end = std::min(value.find('|', begin), value.size());
    std::string_view word = value.substr(begin, end - begin);
    if (std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
      words.append(words.empty() ? "" : " ").append(word);
    begin = end + 1;
  }
  return words;
}

std::vector<Flag> settings(bool of_run, bool of_serve) {
  std::vector<Flag> flags;
  for (const config::Option& option : config::options()) {
    bool elsewhere = (option.serve_only && !of_serve) || (option.run_only && !of_run);
    if (option.secret || elsewhere) continue;
    std::string value(option.flag ? "" : option.value);
    flags.push_back({std::string(option.name), 0, value, words_of(value), std::string(option.help)});
  }
  flags.push_back({"config", 0, "FILE", "", "read settings from a TOML file"});
  return flags;
}

void fill_ours(Verb& verb) {
  if (verb.name == "run") verb.flags = settings(true, false), verb.command = true;
  if (verb.name == "serve") verb.flags = settings(false, true), verb.command = true;
  if (verb.name == "check") verb.flags = settings(true, true), verb.command = true, verb.words = "run serve";
  if (verb.name == "doctor") verb.flags = settings(false, true);
  if (verb.name == "doctor" || verb.name == "check") {
    verb.flags.push_back({"json", 0, "", "", "one object, for programs"});
  }
  if (verb.name == "journal") {
    verb.flags = {{"state-dir", 0, "DIR", "", "where jobs are kept"}};
    verb.words = "inspect verify backup";
  }
  if (verb.name == "init") {
    verb.flags = {{"single-child", 'c', "", "", "send signals to COMMAND alone"},
                  {"rewrite", 'r', "A:B", "", "send on B where A comes"},
                  {"grace", 0, "SECONDS", "", "from SIGTERM to SIGKILL"},
                  {"version", 'V', "", "", "print the version"}};
    verb.command = true;
  }
  if (verb.name == "completion") verb.words = "bash zsh fish";
}

std::vector<Verb> model() {
  std::vector<Verb> verbs;
  for (const config::Command& command : config::commands()) {
    Verb verb{std::string(command.name), std::string(command.summary), {}, "", false, false};
    fill_ours(verb);
    for (const client::Command& one : client::commands()) {
      if (one.name != command.name) continue;
      verb.words = one.words;
      verb.ids = one.takes_id || one.verb == client::Verb::Dead;
      for (const client::Option& option : client::options())
        if (option.belongs(one.verb))
          verb.flags.push_back({std::string(option.name), option.letter, std::string(option.value),
                                std::string(option.words), std::string(option.help)});
    }
    verb.flags.push_back({"help", 'h', "", "", "how it is used"});
    verbs.push_back(std::move(verb));
  }
  return verbs;
}

bool is_file(const Flag& flag) { return flag.value == "FILE" || flag.value == "DIR"; }

/// Between single quotes. Not `quoted`: GCC 14 finds std::quoted by its argument and takes that.
std::string in_quotes(std::string_view text) {
  std::string result = "'";
  for (char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string flag_words(const Verb& verb) {
  std::string words;
  for (const Flag& flag : verb.flags) words.append(words.empty() ? "--" : " --").append(flag.name);
  return words;
}

// ---- bash ----------------------------------------------------------------------------------------------------------------

/// "'ps --state') words=… ;;" for each flag whose value can be listed, one pattern for all others of a kind.
std::string bash_values(const std::vector<Verb>& verbs) {
  std::string listed;
  std::string files;
  std::string others;
  for (const Verb& verb : verbs) {
    for (const Flag& flag : verb.flags) {
      if (flag.value.empty()) continue;
      std::string patterns = in_quotes(verb.name + " --" + flag.name);
      if (flag.letter != 0) patterns += " | " + in_quotes(verb.name + " -" + std::string(1, flag.letter));
      if (!flag.words.empty()) {
        listed += "    " + patterns + ") words=" + in_quotes(flag.words) + " ;;\n";
      } else {
        std::string& kind = is_file(flag) ? files : others;
        kind.append(kind.empty() ? "    " : " | \\\n      ").append(patterns);
      }
    }
  }
  return listed + files + ") files=1 ;;\n" + others + ") return ;; # a value that only a person knows\n";
}

std::string for_bash(const std::vector<Verb>& verbs) {
  std::string names;
  std::string cases;
  for (const Verb& verb : verbs) {
    names += verb.name + " ";
    cases += "        " + verb.name + ") flags=" + in_quotes(flag_words(verb));
    if (!verb.words.empty()) cases += " words=" + in_quotes(verb.words);
    if (verb.ids) cases += " ids=1";
    cases += " ;;\n";
  }
  return R"sh(# bash completion for bulkhead: made by `bulkhead completion bash`
# shellcheck shell=bash
_bulkhead() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} i
  local flags='' words='' files='' ids=''
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W ')sh" +
         names + R"sh(--help --version' -- "$cur")
    return
  fi
  for ((i = 2; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == -- ]]; then
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -c -- "$cur"; compgen -f -- "$cur")
      return
    fi
  done
  case "$verb $prev" in
)sh" + bash_values(verbs) +
         R"sh(    *)
      case $verb in
)sh" + cases +
         R"sh(      esac
      ;;
  esac
  if [[ -n $files || ( $verb == submit && $cur == @* ) ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    return
  fi
  [[ $cur == -* || -z $words$ids ]] || flags=''
  [[ -z $ids || $cur == -* ]] || words+=" $(bulkhead ps --quiet --limit 100 --timeout 1s 2>/dev/null | grep -E '^[A-Za-z0-9_-]{1,128}$')"
  mapfile -t COMPREPLY < <(compgen -W "$flags $words" -- "$cur")
}
complete -F _bulkhead bulkhead
)sh";
}

// ---- zsh -----------------------------------------------------------------------------------------------------------------

/// A text within a specification of _arguments, where these mean something.
std::string for_arguments(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string zsh_flag(const Flag& flag) {
  std::string rest = "[" + for_arguments(flag.help) + "]";
  if (!flag.value.empty()) {
    rest += ":" + for_arguments(flag.value) + ":";
    if (!flag.words.empty()) rest += "(" + flag.words + ")";
    if (is_file(flag)) rest += "_files";
  }
  std::string name = "--" + flag.name + (flag.value.empty() ? "" : "=");
  if (flag.letter == 0) return in_quotes(name + rest);
  std::string letter = "-" + std::string(1, flag.letter);
  return in_quotes("(" + letter + " --" + flag.name + ")") + "{" + letter + "," + name + "}" + in_quotes(rest);
}

std::string for_zsh(const std::vector<Verb>& verbs) {
  std::string commands;
  std::string cases;
  for (const Verb& verb : verbs) {
    commands += "    " + in_quotes(verb.name + ":" + for_arguments(verb.summary)) + "\n";
    cases += "    " + verb.name + ")\n      _arguments -s";
    for (const Flag& flag : verb.flags) cases += " \\\n        " + zsh_flag(flag);
    if (!verb.words.empty()) cases += " \\\n        " + in_quotes("1: :(" + verb.words + ")");
    if (verb.ids)
      cases += " \\\n        " + in_quotes(std::string(verb.words.empty() ? "1" : "2") + ":job:_bulkhead_jobs");
    if (verb.name == "submit") cases += " \\\n        '1:input:_files -P @'";
    if (verb.name == "journal") cases += " \\\n        '2:file:_files'";
    if (verb.command) cases += " \\\n        '*::command:_normal'";
    cases += "\n      ;;\n";
  }
  return R"sh(#compdef bulkhead
# zsh completion for bulkhead: made by `bulkhead completion zsh`
_bulkhead_jobs() {
  local -a jobs=(${(f)"$(bulkhead ps --quiet --limit 100 --timeout 1s 2>/dev/null)"})
  compadd -a jobs
}
_bulkhead() {
  local -a commands=(
)sh" + commands +
         R"sh(  )
  if (( CURRENT == 2 )); then
    _describe -t commands command commands
    compadd -- --help --version
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
)sh" + cases +
         R"sh(  esac
}
if [[ $funcstack[1] == _bulkhead ]]; then _bulkhead "$@"; else compdef _bulkhead bulkhead; fi
)sh";
}

// ---- fish ----------------------------------------------------------------------------------------------------------------

std::string for_fish(const std::vector<Verb>& verbs) {
  std::string text = R"sh(# fish completion for bulkhead: made by `bulkhead completion fish`
function __bulkhead_is
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = "$argv[1]"; and not contains -- -- $words
end
function __bulkhead_is_none
    test (count (commandline -opc)) -eq 1
end
function __bulkhead_jobs
    bulkhead ps --quiet --limit 100 --timeout 1s 2>/dev/null
end
complete -c bulkhead -n 'not contains -- -- (commandline -opc)' -f
complete -c bulkhead -n __bulkhead_is_none -l help -d 'what there is'
complete -c bulkhead -n __bulkhead_is_none -l version -d 'print the version'
)sh";
  for (const Verb& verb : verbs) {
    text += "complete -c bulkhead -n __bulkhead_is_none -a " + verb.name + " -d " + in_quotes(verb.summary) + "\n";
    const std::string begin = "complete -c bulkhead -n '__bulkhead_is " + verb.name + "' ";
    for (const Flag& flag : verb.flags) {
      text += begin + "-l " + flag.name;
      if (flag.letter != 0) text += " -s " + std::string(1, flag.letter);
      if (is_file(flag)) {
        text += " -r -F";
      } else if (!flag.value.empty()) {
        text += flag.words.empty() ? " -x" : " -x -a " + in_quotes(flag.words);
      }
      text += " -d " + in_quotes(flag.help) + "\n";
    }
    if (!verb.words.empty()) text += begin + "-a " + in_quotes(verb.words) + "\n";
    if (verb.ids) text += begin + "-a '(__bulkhead_jobs)'\n";
  }
  return text;
}

}  // namespace

int completion_command(int argc, const char* const* argv) {
  const std::string_view shell = argc > 0 ? argv[0] : "";
  if (shell == "--help" || shell == "-h") return std::fputs(kHelp, stdout), config::kOk;
  std::string script;
  if (argc == 1 && shell == "bash") script = for_bash(model());
  if (argc == 1 && shell == "zsh") script = for_zsh(model());
  if (argc == 1 && shell == "fish") script = for_fish(model());
  if (script.empty()) {
    std::fputs("bulkhead completion: for which shell? bash, zsh or fish\nTry `bulkhead completion --help`.\n", stderr);
    return config::kUsage;
  }
  return std::fputs(script.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? config::kBroken : config::kOk;
}

}  // namespace bulkhead
