// The JSON scanner against a table and against Boost.JSON's verdict, and what it makes of a submission.

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include <random>

#include "supervisor/http/submission.hpp"
#include "supervisor/json/json_scan.hpp"

namespace bulkhead::http {
namespace {

bool valid(std::string_view text) {
  if (bad_utf8(text)) return false;
  JsonScanner scanner(text);
  std::string_view value;
  return scanner.value(value) && scanner.at_end();
}

TEST(JsonScan, TakesWhatRfc8259Takes) {
  for (const char* text : {"{}",
                           "[]",
                           " [ ] ",
                           "0",
                           "-0",
                           "1.5e+10",
                           "1E400",
                           "-1e-999",
                           "123456789012345678901234567890",
                           "\"\"",
                           "\"\\u0000\\ud800\"",
                           "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                           "true",
                           "false",
                           "null",
                           "[1,[2,{\"a\":[]}],\"x\"]",
                           "{\"a\":1,\"a\":2}",
                           "\t{\"\":\r\n null}",
                           "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
                           "\"\x7F\""}) {
    EXPECT_TRUE(valid(text)) << text;
  }
}

TEST(JsonScan, RefusesTheRestAndSaysWhere) {
  struct {
    std::string text;
    std::size_t position;
    const char* reason;
  } rows[] = {
      {"", 0, "ends too early"},
      {"  ", 2, "ends too early"},
      {"{", 1, "ends too early"},
      {"[1", 2, "ends too early"},
      {"[1,", 3, "ends too early"},
      {"[1,]", 3, "not a JSON value"},
      {"{\"a\"}", 4, "expected ':'"},
      {"{\"a\":}", 5, "not a JSON value"},
      {"{\"a\":1,}", 7, "name in quotes"},
      {"{a:1}", 1, "name in quotes"},
      {"[1 2]", 3, "',' or ']'"},
      {"{\"a\":1 \"b\":2}", 7, "',' or '}'"},
      {"[1}", 2, "',' or ']'"},
      {"1 2", 2, "behind the value"},
      {"01", 0, "begin with 0"},
      {"1.", 0, "behind its point"},
      {"1e", 0, "exponent"},
      {"-", 0, "not a JSON value"},
      {"+1", 0, "not a JSON value"},
      {".5", 0, "not a JSON value"},
      {"NaN", 0, "not a JSON value"},
      {"nul", 0, "not a JSON value"},
      {"Infinity", 0, "not a JSON value"},
      {"'a'", 0, "not a JSON value"},
      {"\"abc", 4, "not closed"},
      {"\"ab\\", 4, "not closed"},
      {"\"\\x\"", 1, "unknown escape"},
      {"\"\\u12g4\"", 1, "hexadecimal"},
      {"\"\\u12", 5, "not closed"},
      {"\"a\nb\"", 2, "control character"},
      {"\"a\x01\"", 2, "control character"},
      {"/*c*/1", 0, "not a JSON value"},
      {std::string("\0", 1), 0, "not a JSON value"},
      {"\"aaaaaaaaaaaaaaaaaaaaaaa\x02", 24, "control character"},
  };
  for (auto& row : rows) {
    SCOPED_TRACE(row.text);
    JsonScanner scanner(row.text);
    std::string_view value;
    EXPECT_FALSE(scanner.value(value) && scanner.at_end());
    EXPECT_EQ(scanner.position(), row.position);
    EXPECT_NE(std::string(scanner.reason()).find(row.reason), std::string::npos) << scanner.reason();
  }
}

TEST(JsonScan, FindsWhereUtf8Ends) {
  EXPECT_EQ(bad_utf8("plain \xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xED\x9F\xBF\xEF\xBF\xBF\xF4\x8F\xBF\xBF"),
            std::nullopt);
  EXPECT_EQ(bad_utf8(""), std::nullopt);
  for (const char* bad :
       {"\xFF", "\x80", "\xC0\x80", "\xC1\xBF", "\xED\xA0\x80", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\xE2\x82", "\xF0\x9F\x98", "\xE2\x82x", "\xC3\xC3"}) {
    EXPECT_EQ(bad_utf8(std::string("\xC3\xA9ok") + bad), 4U) << bad;
    EXPECT_EQ(bad_utf8(std::string(100, 'x') + bad + "yz"), 100U) << bad;
  }
}

TEST(JsonScan, DepthIsLimited) {
  auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(valid(nested(kMaxJsonDepth)));
  EXPECT_FALSE(valid(nested(kMaxJsonDepth + 1)));
  EXPECT_FALSE(valid(std::string(1'000'000, '[')));
  std::string objects;
  for (int i = 0; i < kMaxJsonDepth + 1; ++i) objects += "{\"a\":";
  EXPECT_FALSE(valid(objects));
}

TEST(JsonScan, AgreesWithBoostJsonOnMutatedTexts) {
  const std::string seeds[] = {
      R"({"input": {"prompt": "the \"quick\" \u00e9 fox", "n": [1, -2.5e10, true, null]}, "policy": {"ttl": 10000}})",
      R"([[],{},"",0,-0.0,1e5,{"a":{"b":[{"c":"\u20AC"}]}}, "long string without anything special in it"])",
      "{\"utf8\": \"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"}"};
  std::mt19937 random(4711);
  boost::json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  int accepted = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string text = seeds[random() % std::size(seeds)];
    for (unsigned changes = random() % 3; changes-- > 0;) {
      std::size_t at = random() % text.size();
      static constexpr std::string_view kBytes = "{}[]\",:0123456789eE+-.\\ntfu \n\x01\x80\xC3\xED\xF0";
      switch (random() % 3) {
        case 0: text[at] = kBytes[random() % kBytes.size()]; break;
        case 1: text.erase(at, 1); break;
        default: text.insert(at, 1, kBytes[random() % kBytes.size()]);
      }
      if (text.empty()) break;
    }
    boost::json::error_code error;
    boost::json::parse(text, error, {}, options);
    // The grammar does not bound exponents.
    if (error == boost::json::error::exponent_overflow) continue;
    ASSERT_EQ(valid(text), !error) << text << ": " << error.message();
    accepted += !error;
  }
  EXPECT_GT(accepted, 1000);
}

TEST(JsonText, EscapesAndUnescapes) {
  EXPECT_EQ(unescape(R"(a\n\u00e9\ud83d\ude00\/\ud800x)"), "a\n\xC3\xA9\xF0\x9F\x98\x80/\xEF\xBF\xBDx");
  std::string out;
  append_json_string(out, "a\"\\\n\x01\xC3\xA9\xFF");
  EXPECT_EQ(out, "\"a\\\"\\\\\\n\\u0001\xC3\xA9\xEF\xBF\xBD\"");
}

// ---- submissions ----

Submission submitted(std::string_view body) {
  auto result = parse_submission(body, Policy{});
  if (auto* problem = std::get_if<Problem>(&result)) {
    ADD_FAILURE() << body << ": " << problem->message;
    return {};
  }
  return std::get<Submission>(result);
}

TEST(Submission, InputIsCutOutAsItStands) {
  for (const char* input : {"{}", "null", "false", "0", "[1, 2]", "\"text\"", "{ \"a\" : 1e999 , \"a\": 2}",
                            "123456789012345678901234567890", "1e999", "\"\\ud800\""}) {
    std::string body = std::string("{ \"input\" : ") + input + " , \"other\":{\"input\":7}}";
    Submission submission = submitted(body);
    EXPECT_EQ(submission.input, input);
    EXPECT_GE(submission.input.data(), body.data());  // a view into the body, no copy
    EXPECT_LT(submission.input.data(), body.data() + body.size());
  }
  EXPECT_EQ(submitted(R"({"\u0069nput": 1})").input, "1");
}

TEST(Submission, TheRestIsRead) {
  Submission submission = submitted(
      R"({"webhook":"https:\/\/example.org/x?y=1","input":{},"policy":{"executionTimeout":5000,"ttl":604800000,)"
      R"("lowPriority":true,"further":[1]},"s3Config":{"accessId":"a"},"webhookV2":"x","unknown":1})");
  EXPECT_EQ(submission.webhook, "https://example.org/x?y=1");
  EXPECT_EQ(submission.policy.execution_timeout.count(), 5000);
  EXPECT_EQ(submission.policy.ttl.count(), 604'800'000);
  EXPECT_TRUE(submission.policy.low_priority);
  EXPECT_EQ(submission.s3_config, R"({"accessId":"a"})");
  Submission nulls = submitted(R"({"input":1,"webhook":null,"policy":null,"s3Config":null})");
  EXPECT_EQ(nulls.webhook, "");
  EXPECT_EQ(nulls.s3_config, "");
  EXPECT_EQ(submitted(R"({"input":1,"policy":{"ttl":null,"executionTimeout":6e3}})").policy.execution_timeout.count(),
            6000);
}

TEST(Submission, MistakesAreNamed) {
  struct {
    const char* body;
    const char* code;
    const char* says;
  } rows[] = {
      {"", "invalid_request", "empty"},
      {"{\"input\":\"\xFF\"}", "malformed_json", "not valid UTF-8 at byte 10"},
      {"  ", "malformed_json", "too early at byte 2"},
      {"[]", "invalid_request", "must be a JSON object"},
      {"\"input\"", "invalid_request", "must be a JSON object"},
      {"[1", "malformed_json", "at byte 2"},
      {"{}", "invalid_request", "\"input\" is missing"},
      {"{\"Input\":1}", "invalid_request", "\"input\" is missing"},
      {"\xEF\xBB\xBF{\"input\":1}", "invalid_request", "byte order mark"},
      {"{\"input\":1}x", "malformed_json", "behind the value at byte 11"},
      {"{\"input\":1,}", "malformed_json", "at byte 11"},
      {"{\"input\":1,\"input\":2}", "malformed_json", "given twice at byte 11"},
      {"{\"input\":1,\"\\u0069nput\":2}", "malformed_json", "given twice at byte 11"},
      {"{\"x\":1,\"input\":1,\"x\":2}", "malformed_json", "given twice at byte 17"},
      {"{\"input\":1,\"x\":1e999}", "malformed_json", "beyond a double at byte 15"},
      {"{\"input\":1,\"policy\":{\"ttl\":1e999}}", "malformed_json", "beyond a double in policy at byte 27"},
      {"{\"input\":1,\"policy\":{\"ttl\":10000,\"ttl\":10000}}", "malformed_json", "given twice in policy at byte 33"},
      {"{\"input\":1,\"policy\":[]}", "invalid_request", "policy must be an object"},
      {"{\"input\":1,\"policy\":{\"ttl\":\"1d\"}}", "invalid_request", "policy.ttl must be whole milliseconds"},
      {"{\"input\":1,\"policy\":{\"ttl\":10000.5}}", "invalid_request", "policy.ttl must be whole milliseconds"},
      {"{\"input\":1,\"policy\":{\"ttl\":9999}}", "invalid_request", "policy.ttl must be 10000 to"},
      {"{\"input\":1,\"policy\":{\"executionTimeout\":4999}}", "invalid_request", "executionTimeout must be 5000 to"},
      {"{\"input\":1,\"policy\":{\"executionTimeout\":-1}}", "invalid_request", "executionTimeout must be 5000 to"},
      {"{\"input\":1,\"policy\":{\"executionTimeout\":604800001}}", "invalid_request", "executionTimeout must be"},
      {"{\"input\":1,\"policy\":{\"retries\":101}}", "invalid_request",
       "policy.retries must be a whole number, 0 to 100"},
      {"{\"input\":1,\"policy\":{\"retries\":-1}}", "invalid_request", "policy.retries must be a whole number"},
      {"{\"input\":1,\"policy\":{\"retryOn\":\"crash\"}}", "invalid_request", "policy.retryOn must be an array"},
      {"{\"input\":1,\"policy\":{\"retryOn\":[\"crash\",1]}}", "invalid_request", "policy.retryOn must be an array"},
      {"{\"input\":1,\"policy\":{\"retryBackoff\":[2,1]}}", "invalid_request", "policy.retryBackoff must be"},
      {"{\"input\":1,\"policy\":{\"retryBackoff\":[1]}}", "invalid_request", "policy.retryBackoff must be"},
      {"{\"input\":1,\"policy\":{\"stallTimeout\":1}}", "invalid_request", "policy.stallTimeout must be 1000 to"},
      {"{\"input\":1,\"policy\":{\"lowPriority\":1}}", "invalid_request", "lowPriority must be true or false"},
      {"{\"input\":1,\"webhook\":1}", "invalid_request", "webhook must be a URL"},
      {"{\"input\":1,\"webhook\":\"ftp://x\"}", "invalid_request", "http:// or https://"},
      {"{\"input\":1,\"webhook\":\"http://x\\r\\ny\"}", "invalid_request", "http:// or https://"},
      {"{\"input\":1,\"s3Config\":\"x\"}", "invalid_request", "s3Config must be an object"},
  };
  for (auto& row : rows) {
    SCOPED_TRACE(row.body);
    auto result = parse_submission(row.body, Policy{});
    ASSERT_TRUE(std::holds_alternative<Problem>(result));
    auto& problem = std::get<Problem>(result);
    EXPECT_EQ(problem.status, 400);
    EXPECT_STREQ(problem.code, row.code);
    EXPECT_NE(problem.message.find(row.says), std::string::npos) << problem.message;
  }
}

TEST(Submission, TooManyNamesAreRefused) {
  std::string body = "{\"input\":1";
  for (int i = 0; i < 100; ++i) body += ",\"k" + std::to_string(i) + "\":0";
  EXPECT_TRUE(std::holds_alternative<Problem>(parse_submission(body + "}", Policy{})));
}

}  // namespace
}  // namespace bulkhead::http
