#include "client/input.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include "client/json_text.hpp"

namespace bulkhead::client {
namespace {

constexpr std::size_t kMostInput = 256 << 20;  // an endpoint takes 10 MiB unless it is told otherwise

Exit refused(const std::string& problem) { return {kUsage, "bulkhead submit: " + problem + "\n"}; }

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

/// All of a file, or why not.
std::variant<std::string, Exit> read_all(std::FILE* file, const std::string& name) {
  std::string text;
  std::array<char, 65536> part;
  while (std::size_t count = std::fread(part.data(), 1, part.size(), file)) {
    text.append(part.data(), count);
    if (text.size() > kMostInput) return refused(name + " is larger than 256 MiB; pass a URL to the data instead");
  }
  if (std::ferror(file) != 0) return refused("cannot read " + name + ": " + std::strerror(errno));
  return text;
}

struct Given {
  std::string text;
  std::string name;  ///< for messages
  bool typed = false;
};

std::variant<Given, Exit> read(const Options& options) {
  std::string file = options.file;
  if (options.argument && options.argument->starts_with('@')) file = options.argument->substr(1);
  if (options.argument == "@") return refused("@ must be followed by the name of a file");
  if (options.argument && file.empty() && options.argument != "-") return Given{*options.argument, "the input", true};

  std::variant<std::string, Exit> text;
  std::string name = file.empty() ? "standard input" : file;
  if (file.empty()) {
    if (isatty(STDIN_FILENO) == 1 && !options.argument) {
      return refused("no input: give JSON, @FILE, or - to type it\nTry `bulkhead submit --help`.");
    }
    text = read_all(stdin, name);
  } else {
    std::unique_ptr<std::FILE, Closer> stream(std::fopen(file.c_str(), "re"));
    if (!stream) return refused("cannot read " + file + ": " + std::strerror(errno));
    text = read_all(stream.get(), file);
  }
  if (auto* exit = std::get_if<Exit>(&text)) return std::move(*exit);
  return Given{std::move(std::get<std::string>(text)), std::move(name), false};
}

std::string policy_of(const Options& options) {
  std::string policy;
  auto add = [&](const char* name, const std::string& value) {
    policy.append(policy.empty() ? "" : ",").append("\"").append(name).append("\":").append(value);
  };
  if (options.execution_timeout) add("executionTimeout", std::to_string(options.execution_timeout->count()));
  if (options.ttl) add("ttl", std::to_string(options.ttl->count()));
  if (options.low_priority) add("lowPriority", "true");
  return policy;
}

}  // namespace

std::variant<std::string, Exit> request_body(const Options& options, std::string& note) {
  auto read_in = read(options);
  if (auto* exit = std::get_if<Exit>(&read_in)) return std::move(*exit);
  auto& given = std::get<Given>(read_in);
  if (auto fault = fault_of_json(given.text)) {
    std::string problem = given.name + " is not valid JSON: " + *fault;
    if (given.typed) problem += "\nPut JSON between single quotes: bulkhead submit '{\"name\": \"you\"}'";
    return refused(problem);
  }
  bool has_input = !member(given.text, "input").empty();
  if (options.request) {
    if (!has_input) return refused(given.name + " has no \"input\"; with --request the whole request is given");
    return std::move(given.text);
  }
  if (has_input) note = "the job's input itself has an \"input\"; if the whole request was meant, say --request";
  std::string body = "{\"input\":" + given.text;
  if (std::string policy = policy_of(options); !policy.empty()) body += ",\"policy\":{" + policy + "}";
  if (!options.webhook.empty()) body += ",\"webhook\":" + json_quoted(options.webhook);
  return body + "}";
}

}  // namespace bulkhead::client
