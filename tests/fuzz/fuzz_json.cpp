// Any bytes as JSON, as the body of a submission, and as a text to be written as JSON. Boost.JSON, an independent reader,
// is the judge of what is JSON.

#include <boost/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "check.hpp"
#include "supervisor/http/submission.hpp"
#include "supervisor/job/json_text.hpp"
#include "supervisor/json/json_scan.hpp"

namespace bulkhead::http {
namespace {

bool lies_in(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/// The scanner's verdict is Boost.JSON's.
void check_verdict(std::string_view text) {
  auto fault = fault_of_json(text);
  FUZZ_CHECK(!fault || !fault->empty());
  boost::json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  boost::json::error_code code;
  boost::json::parse(text, code, {}, options);
  // The grammar neither bounds exponents nor pairs surrogates; the judge does.
  bool surrogates = text.find("\\ud") != std::string_view::npos || text.find("\\uD") != std::string_view::npos;
  bool stricter = surrogates || code == boost::json::error::exponent_overflow;
  FUZZ_CHECK(fault ? code.failed() : stricter || !code);
}

/// What it takes lies in the text, is whole, and is the same when it stands alone.
void check_value(std::string_view text) {
  if (bad_utf8(text)) return;  // the scanner asks for UTF-8
  JsonScanner scanner(text);
  std::string_view value;
  if (!scanner.value(value)) {
    FUZZ_CHECK(scanner.position() <= text.size() && *scanner.reason() != '\0');
    return;
  }
  FUZZ_CHECK(!value.empty() && lies_in(value, text) && !is_space(value.front()) && !is_space(value.back()));
  JsonScanner alone(value);
  std::string_view again;
  FUZZ_CHECK(alone.value(again) && again == value && alone.at_end());

  JsonScanner strings(value);
  std::string_view inside;
  if (value.front() != '"') return;
  FUZZ_CHECK(strings.string(inside) && inside.size() + 2 == value.size());
  FUZZ_CHECK(!bad_utf8(unescape(inside)));
}

/// Any text can be written as a JSON string, and read back where it was UTF-8.
void check_written(std::string_view text) {
  std::string json;
  append_json_string(json, text);
  FUZZ_CHECK(!fault_of_json(json));
  std::string_view inside(json.data() + 1, json.size() - 2);
  FUZZ_CHECK(bad_utf8(text) || unescape(inside) == text);
}

void check_submission(std::string_view body) {
  auto parsed = parse_submission(body, Policy{});
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    FUZZ_CHECK(problem->status == 400 && *problem->code != '\0' && !problem->message.empty());
    return;
  }
  const auto& submission = std::get<Submission>(parsed);
  auto fault = fault_of_json(body);  // a member may be as deep as a whole text, and then stands a level deeper
  FUZZ_CHECK(!fault || fault->starts_with("nested too deeply"));
  FUZZ_CHECK(lies_in(submission.input, body) && !fault_of_json(submission.input));
  FUZZ_CHECK(lies_in(submission.s3_config, body));
  FUZZ_CHECK(submission.s3_config.empty() || submission.s3_config.front() == '{');
  FUZZ_CHECK(submission.policy.ttl.count() >= 10'000 && submission.policy.execution_timeout.count() >= 5'000);
}

}  // namespace
}  // namespace bulkhead::http

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead::http;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_verdict(bytes);
  check_value(bytes);
  check_written(bytes);
  check_submission(bytes);
  return 0;
}
