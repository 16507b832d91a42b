// A take's body is validated as a whole first, by the check that every JSON from outside goes through. What follows can
// therefore walk it without looking for faults: it cuts the jobs into id, input and the rest, all of them views of the
// body, which is never copied and whose input is never looked into.
//
// Keys are compared as they stand; one with an escape in it is decoded first.

#include "supervisor/source/runpod_jobs.hpp"

#include <boost/json.hpp>
#include <utility>

namespace bulkhead {
namespace {

namespace json = boost::json;

/// A cursor over JSON that is known to be valid.
class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  std::string_view value() {
    char first = peek();
    std::size_t begin = at_;
    if (first == '"') {
      skip_string();
    } else if (first == '{' || first == '[') {
      skip_nested();
    } else {
      at_ = std::min(text_.find_first_of(",]} \t\n\r", at_), text_.size());
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  void skip_string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_)
      if (text_[at_] == '\\') ++at_;
    at_ = std::min(at_ + 1, text_.size());
  }
  void skip_nested() {
    for (int depth = 0; at_ < text_.size();) {
      char c = text_[at_];
      if (c == '"') {
        skip_string();
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at_;
      if (depth == 0) return;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

template <class Visit>
void each_member(std::string_view object, Visit visit) {
  Walk walk(object);
  walk.take('{');
  while (walk.peek() == '"') {
    std::string_view key = walk.value();
    walk.take(':');
    std::string_view value = walk.value();
    visit(key, value);
    if (!walk.take(',')) return;
  }
}

/// The text of a JSON string; none if it is another kind of value.
std::optional<std::string> string_of(std::string_view value) {
  if (!value.starts_with('"')) return {};
  if (value.find('\\') == std::string_view::npos) return std::string(value.substr(1, value.size() - 2));
  json::error_code error;
  json::value parsed = json::parse(value, error);
  if (error || !parsed.is_string()) return {};
  return std::string(parsed.get_string());
}

std::optional<milliseconds> timeout_of(std::string_view policy) {
  json::error_code error;
  json::value parsed = json::parse(policy, error);
  if (error || !parsed.is_object()) return {};
  const json::value* given = parsed.get_object().if_contains("executionTimeout");
  if (given == nullptr || !given->is_number()) return {};
  auto time = given->to_number<double>();
  constexpr double kWeek = 7 * 86'400'000.0;
  if (!(time >= 1 && time <= kWeek)) return {};
  return milliseconds(static_cast<std::int64_t>(time));
}

TakenJob read_job(std::string_view object, const Payload& body) {
  TakenJob job;
  std::string extra;
  each_member(object, [&](std::string_view key, std::string_view value) {
    std::string name = string_of(key).value_or("");
    if (name == "id") {
      // An id that is a number is its text, as the official worker puts it into a URL.
      job.id = string_of(value).value_or(value == "null" || value.find_first_of("{[") == 0 ? "" : std::string(value));
    } else if (name == "input") {
      job.input = body.slice(value);
    } else {
      if (name == "policy") job.execution_timeout = timeout_of(value);
      extra.append(extra.empty() ? "{" : ",").append(key).append(":").append(value);
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
  Walk walk(body.bytes());
  auto add = [&](std::string_view value) {
    TakenJob job = value.starts_with('{') ? read_job(value, body) : TakenJob();
    if (job.id.empty())
      ++taken.nameless;
    else
      taken.jobs.push_back(std::move(job));
  };
  if (walk.peek() == '{') {
    std::string_view value = walk.value();
    if (value.find('"') != std::string_view::npos) add(value);  // an empty object is no job
  } else if (walk.take('[')) {
    while (walk.peek() != ']' && walk.peek() != '\0') {
      add(walk.value());
      if (!walk.take(',')) break;
    }
  } else if (walk.value() != "null") {
    taken.fault = "the answer is neither a job nor a list of jobs";
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
