// A test has three parts: finding it (the handler's own command line, or a file), running it (one submission; what
// comes back is printed as it comes), and judging it (the exit code). The source owns nothing but its lines; its job's
// life is the dispatcher's.

#include "supervisor/source/test_input.hpp"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include <boost/json.hpp>

namespace bulkhead {
namespace {

namespace json = boost::json;
constexpr char kFile[] = "test_input.json";

/// The value of `--name VALUE` or `--name=VALUE`.
std::optional<std::string> flag(const std::vector<std::string>& command, std::string_view name) {
  for (std::size_t i = 1; i < command.size(); ++i) {
    std::string_view word = command[i];
    if (word == name) return i + 1 < command.size() ? command[i + 1] : std::string();
    if (word.starts_with(name) && word.size() > name.size() && word[name.size()] == '=')
      return std::string(word.substr(name.size() + 1));
  }
  return std::nullopt;
}

/// Where two values first differ; empty when they do not. Numbers are compared by value.
std::string difference(const json::value& expected, const json::value& got, const std::string& path) {
  if (expected.is_number() && got.is_number() && (expected.is_double() || got.is_double())) {
    if (expected.to_number<double>() == got.to_number<double>()) return {};
  } else if (expected.is_object() && got.is_object()) {
    for (const auto& [key, value] : expected.get_object()) {
      const json::value* other = got.get_object().if_contains(key);
      if (!other) return path + '.' + std::string(key) + ": expected " + json::serialize(value) + ", got nothing";
      if (std::string found = difference(value, *other, path + '.' + std::string(key)); !found.empty()) return found;
    }
    for (const auto& [key, value] : got.get_object())
      if (!expected.get_object().contains(key))
        return path + '.' + std::string(key) + ": not expected, got " + json::serialize(value);
    return {};
  } else if (expected.is_array() && got.is_array() && expected.get_array().size() == got.get_array().size()) {
    for (std::size_t i = 0; i < expected.get_array().size(); ++i) {
      std::string found = difference(expected.get_array()[i], got.get_array()[i], path + '[' + std::to_string(i) + ']');
      if (!found.empty()) return found;
    }
    return {};
  } else if (expected == got) {
    return {};
  }
  return path + ": expected " + json::serialize(expected) + ", got " + json::serialize(got);
}

std::variant<json::object, std::string> parse_object(const std::string& text, const std::string& name) {
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error) return name + " is not JSON: " + error.message();
  if (!value.is_object()) return name + " is not an object such as {\"input\": {}}";
  return std::move(value.get_object());
}

}  // namespace

bool names_test_job(const std::vector<std::string>& command) { return flag(command, "--test_input").has_value(); }

std::variant<TestJob, NoTestJob, std::string> find_test_job(const std::vector<std::string>& command) {
  std::string name = "--test_input";
  std::optional<std::string> text = flag(command, name);
  if (!text) {
    std::ifstream file(kFile, std::ios::binary);
    if (!file && errno == ENOENT) return NoTestJob{};
    std::error_code ignored;
    bool directory = std::filesystem::is_directory(kFile, ignored);
    std::ostringstream content;
    if (file && !directory) content << file.rdbuf();
    if (!file || directory || content.bad())
      return std::string(kFile) + " cannot be read" + (directory ? ": it is a directory" : "") +
             ". Mend it, or give the job by --test_input.";
    name = kFile;
    text = content.str();
  }
  auto parsed = parse_object(*text, name);
  if (auto* wrong = std::get_if<std::string>(&parsed)) return std::move(*wrong);
  json::object& object = std::get<json::object>(parsed);
  const json::value* input = object.if_contains("input");
  if (!input || input->is_null()) return "Job has no input parameter. Unable to run. (" + name + " needs \"input\")";

  TestJob test;
  const json::value* id = object.if_contains("id");
  if (id && !id->is_string() && !id->is_int64() && !id->is_uint64())
    return "\"id\" of " + name + " is " + std::string(json::to_string(id->kind())) +
           ": it must be text, as in {\"id\": \"job-1\", \"input\": {}}";
  test.job.id = !id ? "local_test" : id->is_string() ? std::string(id->get_string()) : json::serialize(*id);
  test.job.input = Payload::of(json::serialize(*input));
  object.erase("id");
  object.erase("input");
  if (!object.empty()) test.job.extra = Payload::of(json::serialize(object));
  test.expected = flag(command, "--test_output");
  if (test.expected) {
    json::error_code error;
    json::parse(*test.expected, error);
    if (error) return "--test_output is not JSON: " + error.message();
  }
  return test;
}

TestInput::TestInput(TestJob test, std::FILE* out, std::function<void(int)> done)
    : test_(std::move(test)), out_(out), done_(std::move(done)) {}

void TestInput::submit_to(Intake& intake) {
  intake.submit(test_.job, [this](Accepted accepted) {
    if (accepted.refusal == Refusal::None) return;
    line("ERROR", accepted.reason);
    done_(1);
  });
}

void TestInput::line(std::string_view level, std::string_view text) {
  std::fprintf(out_, "%-7.*s| %s | %.*s\n", static_cast<int>(level.size()), level.data(), test_.job.id.c_str(),
               static_cast<int>(text.size()), text.data());
  std::fflush(out_);
}

void TestInput::started(const Job&, std::string_view worker_id, std::int64_t, int attempt) {
  std::string text = "Started on " + std::string(worker_id);
  if (attempt > 1) text += ", attempt " + std::to_string(attempt);
  line("INFO", text + '.');
}

void TestInput::requeued(const Job&, const Payload&) { line("WARN", "The attempt was lost; trying again."); }

void TestInput::progress(const Job&, Payload value) { line("INFO", "Progress: " + std::string(value.bytes())); }

void TestInput::chunk(const Job&, std::uint32_t, Payload value, std::function<void()> taken) {
  line("INFO", "Generator output: " + std::string(value.bytes()));
  taken();
}

void TestInput::log(const Job&, const LogLine& said) {
  static constexpr std::string_view kLevels[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"};
  if (said.stream == "log")
    line(kLevels[std::min(std::max(said.level, 0), 4)], said.text);
  else
    line(said.stream == "stderr" ? "STDERR" : "STDOUT", said.text);
}

void TestInput::report(const Job&, const Outcome& outcome, std::function<void()> settled) {
  int code = judge(outcome);
  settled();
  done_(code);
}

int TestInput::judge(const Outcome& outcome) {
  if (outcome.status != Status::Completed) {
    line("ERROR", "Job ended as " + std::string(to_string(outcome.status)) + ": " + std::string(outcome.error.bytes()));
    return 1;
  }
  line("INFO", "Job completed successfully.");
  // The output as the handler wrote it: parsing and printing would change its numbers.
  std::string shown;
  if (!outcome.output.empty()) shown.append("\"output\":").append(outcome.output.bytes());
  if (outcome.refresh_worker) shown.append(shown.empty() ? "" : ",").append("\"stopPod\":true");
  line("INFO", "Job result: {" + shown + '}');
  if (test_.expected) {
    json::object result;
    if (!outcome.output.empty()) result["output"] = json::parse(outcome.output.bytes());
    if (outcome.refresh_worker) result["stopPod"] = true;
    json::value expected = json::parse(*test_.expected);
    bool whole = expected.is_object() && expected.get_object().contains("output");
    std::string differs =
        difference(expected, whole ? json::value(result) : result["output"], whole ? "result" : "output");
    if (!differs.empty()) {
      line("ERROR", "The result is not the expected one: " + differs);
      return 1;
    }
    line("INFO", "The result is the expected one.");
  }
  return 0;
}

}  // namespace bulkhead
