// A take's body is validated as a whole first, by the check that every JSON from outside goes through. So what follows
// need not say what is wrong: it cuts the jobs into id, input and the rest, all of them views of the body, which is never
// copied and whose input is never looked into.

#include "supervisor/source/runpod_jobs.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "supervisor/json/json_scan.hpp"

namespace bulkhead {
namespace {

namespace json = boost::json;

/// `key` is what stands between its quotes.
template <class Visit>
void each_member(std::string_view object, Visit visit) {
  JsonScanner scanner(object);
  std::string_view key, value;
  if (!scanner.take('{')) return;
  while (scanner.peek() == '"' && scanner.string(key) && scanner.take(':') && scanner.value(value)) {
    visit(key, value);
    if (scanner.peek() != ',' || !scanner.take(',')) return;
  }
}

/// The text of a JSON string; none if it is another kind of value.
std::optional<std::string> string_of(std::string_view value) {
  if (!value.starts_with('"')) return {};
  return unescape(value.substr(1, value.size() - 2));
}

std::optional<milliseconds> timeout_of(std::string_view policy) {
  json::error_code error;
  json::value parsed = json::parse(policy, error);
  if (error || !parsed.is_object()) return {};
  const json::value* given = parsed.get_object().if_contains("executionTimeout");
  if (given == nullptr || !given->is_number()) return {};
  auto time = given->to_number<double>();
  constexpr double kWeek = 7 * 86'400'000.0;
  if (!(time >= 1)) return {};
  return milliseconds(static_cast<std::int64_t>(std::min(time, kWeek)));
}

TakenJob read_job(std::string_view object, const Payload& body) {
  TakenJob job;
  std::string extra;
  each_member(object, [&](std::string_view key, std::string_view value) {
    std::string name = unescape(key);
    if (name == "id") {
      // An id that is a number is its text, as the official worker puts it into a URL.
      job.id = string_of(value).value_or(value == "null" || value.find_first_of("{[") == 0 ? "" : std::string(value));
    } else if (name == "input") {
      job.input = body.slice(value);
    } else {
      if (name == "policy") job.execution_timeout = timeout_of(value);
      extra.append(extra.empty() ? "{\"" : ",\"").append(key).append("\":").append(value);
    }
  });
  if (!extra.empty()) job.extra = Payload::of(extra + '}');
  if (job.input.empty()) job.fault = "Job has missing field(s): input. The platform handed it over without one.";
  return job;
}

}  // namespace

TakenJobs read_taken(std::string text, const JsonCheck& check) {
  TakenJobs taken;
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return taken;
  if (auto fault = check(text)) {
    taken.fault = "the answer is not JSON: " + *fault;
    return taken;
  }
  Payload body = Payload::of(std::move(text));
  JsonScanner scanner(body.bytes());
  std::string_view value;
  auto add = [&] {
    TakenJob job = value.starts_with('{') ? read_job(value, body) : TakenJob();
    if (job.id.empty())
      ++taken.nameless;
    else
      taken.jobs.push_back(std::move(job));
  };
  if (scanner.peek() == '[') {
    scanner.take('[');
    while (scanner.peek() != ']' && scanner.value(value)) {
      add();
      if (scanner.peek() != ',' || !scanner.take(',')) break;
    }
  } else if (!scanner.value(value) || (value != "null" && !value.starts_with('{'))) {
    taken.fault = "the answer is neither a job nor a list of jobs";
  } else if (value.find('"') != std::string_view::npos) {
    add();  // an empty object is no job, nor is null
  }
  return taken;
}

std::optional<std::vector<std::string>> read_stops(std::string_view body) {
  std::vector<std::string> ids;
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) return ids;
  json::error_code error;
  json::value parsed = json::parse(body, error);
  if (error || !parsed.is_object()) return {};
  const json::value* listed = parsed.get_object().if_contains("jobsToStop");
  if (listed == nullptr || listed->is_null()) return ids;
  if (!listed->is_array()) return {};
  for (const json::value& id : listed->get_array())
    if (id.is_string()) ids.emplace_back(id.get_string());
  return ids;
}

}  // namespace bulkhead
