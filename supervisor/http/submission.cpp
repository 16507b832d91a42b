// One pass over a body. The scanner validates every byte and gives the text of each value; of the few members that mean
// something here the text is looked at again, all others are skipped. `input` is never looked into: its bytes go to the
// handler as they came. Nothing is kept but views of the body and what the policy and the webhook say.

#include "supervisor/http/submission.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <forward_list>

#include "supervisor/job/webhook_url.hpp"
#include "supervisor/json/json_scan.hpp"

namespace bulkhead::http {
namespace {

constexpr std::size_t kMaxKeys = 64;
constexpr std::int64_t kWeek = 7 * 86'400'000LL;

Problem malformed(const JsonScanner& scanner) {
  return {.code = "malformed_json",
          .message = "the body is not valid JSON: " + std::string(scanner.reason()) + " at byte " +
                     std::to_string(scanner.position())};
}

Problem invalid(std::string message) { return {.code = "invalid_request", .message = std::move(message)}; }

bool is_number(std::string_view value) {
  return value.front() == '-' || (value.front() >= '0' && value.front() <= '9');
}

/// The finite double nearest to a valid JSON number, or none.
std::optional<double> to_double(std::string_view value) {
  double number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || !std::isfinite(number)) return {};
  return number;
}

/// The members of one object, each handed to `visit(key, value, scanner)`; a false from it stops the walk with the
/// fault it set. Refuses keys given twice and numbers beyond a double.
template <class Visit>
bool walk_object(JsonScanner& scanner, Visit visit) {
  if (!scanner.take('{')) return false;
  std::forward_list<std::string> unescaped;  // owns the keys that had escapes
  std::array<std::string_view, kMaxKeys> seen;
  std::size_t count = 0;
  if (scanner.peek() == '}') return scanner.take('}');
  for (;;) {
    std::string_view key;
    std::string_view value;
    scanner.peek();
    if (!scanner.string(key)) return false;
    const char* at = key.data() - 1;
    if (key.find('\\') != std::string_view::npos) key = unescaped.emplace_front(unescape(key));
    if (std::find(seen.begin(), seen.begin() + count, key) != seen.begin() + count) {
      return scanner.fail(at, "a name is given twice");
    }
    if (count == kMaxKeys) return scanner.fail(at, "more than 64 names");
    seen[count++] = key;
    if (!scanner.take(':') || !scanner.value(value)) return false;
    bool checked = key != "input" && is_number(value);
    if (checked && !to_double(value)) return scanner.fail(value.data(), "a number is beyond a double");
    if (!visit(key, value)) return true;
    if (scanner.peek() == '}') return scanner.take('}');
    if (!scanner.take(',')) return false;
  }
}

/// Milliseconds within bounds; null means "not said".
std::optional<Problem> read_time(std::string_view name, std::string_view value, std::int64_t low, milliseconds& out) {
  if (value == "null") return {};
  auto number = is_number(value) ? to_double(value) : std::nullopt;
  if (!number || *number != std::floor(*number)) return invalid(std::string(name) + " must be whole milliseconds");
  if (*number < static_cast<double>(low) || *number > static_cast<double>(kWeek)) {
    Problem problem = invalid(std::string(name) + " must be " + std::to_string(low) + " to " + std::to_string(kWeek) +
                              " milliseconds");
    problem.limit = *number < static_cast<double>(low) ? low : kWeek;
    if (std::fabs(*number) < 9e15) problem.got = static_cast<std::int64_t>(*number);
    return problem;
  }
  out = milliseconds(static_cast<std::int64_t>(*number));
  return {};
}

/// A whole number within bounds; null means "not said".
std::optional<Problem> read_count(std::string_view name, std::string_view value, std::int64_t high, int& out) {
  if (value == "null") return {};
  auto number = is_number(value) ? to_double(value) : std::nullopt;
  if (!number || *number != std::floor(*number) || *number < 0 || *number > static_cast<double>(high)) {
    Problem problem = invalid(std::string(name) + " must be a whole number, 0 to " + std::to_string(high));
    problem.limit = high;
    if (number && std::fabs(*number) < 9e15) problem.got = static_cast<std::int64_t>(*number);
    return problem;
  }
  out = static_cast<int>(*number);
  return {};
}

/// The elements of one array, each handed to `visit(value)`. False: it is none.
template <class Visit>
bool walk_array(std::string_view text, Visit visit) {
  JsonScanner scanner(text);
  if (scanner.peek() != '[' || !scanner.take('[')) return false;
  if (scanner.peek() == ']') return scanner.take(']');
  for (;;) {
    std::string_view value;
    if (!scanner.value(value)) return false;
    visit(value);
    if (scanner.peek() == ']') return scanner.take(']');
    if (!scanner.take(',')) return false;
  }
}

std::optional<Problem> read_retry_on(std::string_view value, std::uint8_t& out) {
  if (value == "null") return {};
  std::uint8_t ways = 0;
  bool known = true;
  bool array = walk_array(value, [&](std::string_view way) {
    if (way == "\"crash\"") return void(ways |= kLostByCrash);
    if (way == "\"timeout\"") return void(ways |= kLostByTimeout);
    if (way == "\"lost\"") return void(ways |= kLostByLoss);
    if (way == "\"error\"") return void(ways |= kLostByError);
    known = false;
  });
  if (!array || !known)
    return invalid(R"(policy.retryOn must be an array with some of "crash", "timeout", "lost", "error")");
  out = ways;
  return {};
}

/// [least, most], or one number for both.
std::optional<Problem> read_retry_backoff(std::string_view value, Policy& policy) {
  constexpr double kHour = 3'600'000;
  if (value == "null") return {};
  std::array<double, 2> times{};
  std::size_t count = 0;
  bool good = true;
  auto take = [&](std::string_view text) {
    auto number = is_number(text) ? to_double(text) : std::nullopt;
    good = good && number && *number == std::floor(*number) && *number >= 0 && *number <= kHour && count < 2;
    if (good) times[count++] = *number;
  };
  if (is_number(value)) {
    take(value);
    times[1] = times[0];
    count += good ? 1 : 0;
  } else {
    good = walk_array(value, take) && good;
  }
  if (!good || count != 2 || times[0] > times[1])
    return invalid(
        "policy.retryBackoff must be [least, most], whole milliseconds, 0 to 3600000, or one number for both");
  policy.retry_backoff_min = milliseconds(static_cast<std::int64_t>(times[0]));
  policy.retry_backoff_max = milliseconds(static_cast<std::int64_t>(times[1]));
  return {};
}

/// What is ours of a policy, not RunPod's.
std::optional<Problem> read_own_policy(std::string_view key, std::string_view value, Policy& policy) {
  if (key == "retries") {
    int retries = policy.max_attempts - 1;
    auto problem = read_count("policy.retries", value, 100, retries);
    policy.max_attempts = 1 + retries;
    return problem;
  }
  if (key == "stallTimeout") {
    if (value == "0") policy.stall_timeout = milliseconds(0);
    return value == "0" ? std::nullopt : read_time("policy.stallTimeout", value, 1'000, policy.stall_timeout);
  }
  if (key == "retryOn") return read_retry_on(value, policy.retry_on);
  if (key == "retryBackoff") return read_retry_backoff(value, policy);
  return {};
}

std::optional<Problem> read_policy(std::string_view text, std::string_view body, Policy& policy) {
  if (text == "null") return {};
  if (text.front() != '{') return invalid("policy must be an object");
  JsonScanner scanner(text);
  std::optional<Problem> problem;
  bool good = walk_object(scanner, [&](std::string_view key, std::string_view value) {
    if (key == "executionTimeout") {
      problem = read_time("policy.executionTimeout", value, 5'000, policy.execution_timeout);
    } else if (key == "ttl") {
      problem = read_time("policy.ttl", value, 10'000, policy.ttl);
    } else if (key == "lowPriority") {
      if (value == "true" || value == "false") {
        policy.low_priority = value == "true";
      } else if (value != "null") {
        problem = invalid("policy.lowPriority must be true or false");
      }
    } else {
      problem = read_own_policy(key, value, policy);
    }
    return !problem;
  });
  if (good) return problem;
  std::size_t offset = static_cast<std::size_t>(text.data() - body.data());
  return Problem{
      .code = "malformed_json",
      .message = std::string(scanner.reason()) + " in policy at byte " + std::to_string(offset + scanner.position())};
}

std::optional<Problem> read_webhook(std::string_view value, std::string& webhook) {
  if (value == "null") return {};
  if (value.front() != '"') return invalid("webhook must be a URL");
  std::string url = unescape(value.substr(1, value.size() - 2));
  if (url.empty()) return {};
  if (url.size() > kWebhookUrlMax) {
    return Problem{.code = "invalid_request",
                   .message = "webhook is too long a URL",
                   .limit = kWebhookUrlMax,
                   .got = static_cast<std::int64_t>(url.size())};
  }
  if (!webhook_host(url)) {
    return invalid(
        "webhook must be an http:// or https:// URL with a host, without spaces and control characters; what is not "
        "ASCII must be escaped");
  }
  webhook = std::move(url);
  return {};
}

/// What is wrong with a text before its members are looked at; otherwise the scanner stands before a '{'.
std::optional<Problem> judge_text(std::string_view body, JsonScanner& scanner, const char* wanted) {
  if (body.empty()) return invalid(std::string("the body is empty; it must be ") + wanted);
  if (body.starts_with("\xEF\xBB\xBF")) return invalid("the body begins with a byte order mark; send plain UTF-8");
  if (auto at = bad_utf8(body)) {
    return Problem{.code = "malformed_json", .message = "the body is not valid UTF-8 at byte " + std::to_string(*at)};
  }
  if (char c = scanner.peek(); c != '{' && c != '\0') {
    std::string_view whole;
    if (!scanner.value(whole) || !scanner.at_end()) return malformed(scanner);
    return invalid(std::string("the body must be ") + wanted);
  }
  return {};
}

}  // namespace

std::variant<Submission, Problem> parse_submission(std::string_view body, const Policy& defaults) {
  JsonScanner scanner(body);
  if (auto problem = judge_text(body, scanner, "a JSON object with \"input\"")) return std::move(*problem);
  Submission submission{.policy = defaults};
  std::optional<Problem> problem;
  bool good = walk_object(scanner, [&](std::string_view key, std::string_view value) {
    if (key == "input") {
      submission.input = value;
    } else if (key == "policy") {
      problem = read_policy(value, body, submission.policy);
    } else if (key == "webhook") {
      problem = read_webhook(value, submission.webhook);
    } else if (key == "s3Config") {
      if (value.front() == '{') {
        submission.s3_config = value;
      } else if (value != "null") {
        problem = invalid("s3Config must be an object");
      }
    }
    return !problem;
  });
  if (problem) return std::move(*problem);
  if (!good || !scanner.at_end()) return malformed(scanner);
  if (submission.input.empty()) return invalid("\"input\" is missing from the body");
  return submission;
}

std::variant<OpenAiCall, Problem> parse_openai(std::string_view body) {
  JsonScanner scanner(body);
  if (auto problem = judge_text(body, scanner, "a JSON object")) return std::move(*problem);
  OpenAiCall call;
  bool good = walk_object(scanner, [&](std::string_view key, std::string_view value) {
    if (key == "stream") call.stream = value == "true";
    return true;
  });
  if (!good || !scanner.at_end()) return malformed(scanner);
  return call;
}

}  // namespace bulkhead::http
