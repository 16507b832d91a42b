#include "supervisor/process/command.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <string_view>

#include "protocol/environment.hpp"
#include "supervisor/process/scratch.hpp"

namespace bulkhead::process {
namespace {

constexpr std::string_view kDefaultPath = "/usr/local/bin:/usr/bin:/bin";

std::string_view value_of(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& entry : environment)
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.compare(0, name.size(), name) == 0)
      return std::string_view(entry).substr(name.size() + 1);
  return {};
}

// The path as the child will see it: relative ones count from its directory.
std::string seen_from(const std::string& cwd, const std::string& path) {
  if (cwd.empty() || path.starts_with('/')) return path;
  return cwd + "/" + path;
}

// 0 if exec can be expected to work, else what it would say.
int check_executable(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) < 0) return errno;
  if (!S_ISREG(status.st_mode)) return EACCES;
  return ::access(path.c_str(), X_OK) < 0 ? errno : 0;
}

std::string named(std::string_view text) { return "'" + std::string(text) + "'"; }

std::string explain_exec(const SpawnPlan& plan, const std::string& path, int error) {
  const std::string& command = plan.argv.front();
  std::string seen = seen_from(plan.cwd, path);
  struct stat status {};
  bool there = ::stat(seen.c_str(), &status) == 0;
  switch (error) {
    case ENOENT:
      if (there)
        return named(command) +
               " is there, but the program it needs to run is not: the interpreter named in its first line, "
               "or the loader it was linked for";
      if (command.find('/') == std::string::npos)
        return named(command) + " was not found in PATH (a program in the current directory is written ./" + command +
               ")";
      return named(command) + " does not exist" + (plan.cwd.empty() ? "" : " (looked up from " + named(plan.cwd) + ")");
    case ENOTDIR: return named(command) + " does not exist: a part of its path is not a directory";
    case EACCES:
      if (there && S_ISDIR(status.st_mode)) return named(command) + " is a directory, not a program";
      if (there && !S_ISREG(status.st_mode)) return named(command) + " is not a program";
      if (there && (status.st_mode & 0111) == 0)
        return named(command) + " is not executable (chmod +x " + command + ")";
      return named(command) + " may not be executed by this user, or lies on a file system mounted noexec";
    case ENOEXEC:
      return named(command) +
             " is not something this machine can execute: a script needs a first line like #!/bin/sh, a program must "
             "be built "
             "for this architecture";
    case E2BIG: return "the command line and environment of " + named(command) + " are too large";
    default: return "cannot execute " + named(command) + ": " + std::strerror(error);
  }
}

}  // namespace

std::vector<std::string> environment_of(const SpawnPlan& plan) {
  namespace names = protocol::environment;
  std::map<std::string, std::optional<std::string>, std::less<>> changes;
  for (const std::string& name : plan.environment_removed) changes[name] = std::nullopt;
  if (!plan.scratch.empty()) {
    changes["TMPDIR"] = plan.scratch;
    changes[kScratchVariable] = plan.scratch;
  }
  for (const auto& [name, value] : plan.environment) changes[name] = value;

  std::vector<std::string> result;
  if (!plan.cookie.empty()) {
    changes[names::kCookie] = std::nullopt;
    result.push_back(std::string(names::kCookie) + "=" + plan.cookie);
  }
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view text = *entry;
    if (changes.find(text.substr(0, text.find('='))) == changes.end()) result.emplace_back(text);
  }
  for (const auto& [name, value] : changes)
    if (value) result.push_back(name + "=" + *value);
  return result;
}

Found find_command(const SpawnPlan& plan, const std::vector<std::string>& environment) {
  const std::string& command = plan.argv.front();
  if (command.empty()) return {command, ENOENT};
  if (command.find('/') != std::string::npos) return {command, 0};
  std::string_view path = value_of(environment, "PATH");
  if (path.empty()) path = kDefaultPath;
  int error = ENOENT;
  for (std::size_t start = 0; start <= path.size();) {
    std::size_t end = std::min(path.find(':', start), path.size());
    std::string directory(path.substr(start, end - start));
    std::string candidate = (directory.empty() ? "." : directory) + "/" + command;
    int refused = check_executable(seen_from(plan.cwd, candidate));
    if (refused == 0) return {candidate, 0};
    if (refused == EACCES) error = EACCES;
    start = end + 1;
  }
  return {command, error};
}

std::string explain(const SpawnPlan& plan, const std::string& path, Step step, int error) {
  std::string reason = std::strerror(error);
  switch (step) {
    case Step::Exec: return explain_exec(plan, path, error);
    case Step::Chdir: return "cannot enter the working directory " + named(plan.cwd) + ": " + reason;
    case Step::Fork:
      if (error == EAGAIN)
        return "cannot start a process: the limit of processes is reached (ulimit -u, or the container's pids limit)";
      if (error == ENOMEM) return "cannot start a process: out of memory";
      return "cannot start a process: " + reason;
    case Step::Prepare:
      if (error == EMFILE || error == ENFILE)
        return "cannot start a process: out of file descriptors (ulimit -n): " + reason;
      return "cannot prepare a process: " + reason;
    case Step::DeathSignal: return "the supervisor was gone before its child started";
    default: return "a step of starting the process failed (" + std::string(to_string(step)) + "): " + reason;
  }
}

}  // namespace bulkhead::process
