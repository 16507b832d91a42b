// What a handler's value, exception or stream becomes on the wire: the tables of docs/HANDLERS-CPP.md, row by row, for
// blocking handlers and coroutines alike.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "tests/sdk/fake_supervisor.hpp"

namespace bulkhead::test {
namespace {

std::string program() { return std::string(std::getenv("BULKHEAD_BUILD")) + "/tests/sdk/forms"; }

FakeSupervisor::Settings settings_with_limits(std::uint64_t max_body, std::uint64_t max_chunk) {
  FakeSupervisor::Settings settings;
  settings.max_body = max_body;
  settings.max_chunk = max_chunk;
  return settings;
}

/// One program per kind of test, not per case: what is tested is not the start.
FakeSupervisor& running(const std::vector<std::string>& arguments) {
  static std::map<std::vector<std::string>, std::unique_ptr<FakeSupervisor>> programs;
  auto& held = programs[arguments];
  if (!held) {
    std::vector<std::string> words{program()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    held = std::make_unique<FakeSupervisor>(words);
  }
  return *held;
}

/// The object inside an error that is a JSON string.
boost::json::object record_of(const Said& said) {
  return boost::json::parse(std::string(boost::json::parse(said.error).as_string())).as_object();
}

std::string message_of(const Said& said) { return std::string(record_of(said).at("error_message").as_string()); }
std::string type_of(const Said& said) { return std::string(record_of(said).at("error_type").as_string()); }

// ---- what a standard or asynchronous handler returns ---------------------------------------------------------------

struct Row {
  const char* returned;
  const char* output;  ///< "" is none
  const char* error = "";
  bool refresh = false;
};

const Row kReturned[] = {
    {R"("hi")", R"("hi")"},
    {"3", "3"},
    {"-3", "-3"},
    {"18446744073709551615", "18446744073709551615"},
    {"2.5", "2.5"},
    {"1.0", "1.0"},
    {"null", "null"},
    {"true", "true"},
    {"false", "false"},
    {"[1,\"a\",null]", "[1,\"a\",null]"},
    {"[]", "[]"},
    {R"("")", R"("")"},
    {"{}", ""},
    {R"({"error":false})", ""},
    {R"({"error":null,"refresh_worker":false})", ""},
    {R"({"a":1})", R"({"a":1})"},
    {R"({"a":{}})", R"({"a":{}})"},
    {R"({"output":{"x":1},"status":"x"})", R"({"output":{"x":1},"status":"x"})"},
    {R"({"error":"boom"})", "", R"("boom")"},
    {R"({"error":{"code":1},"x":2})", R"({"x":2})", R"({"code":1})"},
    {R"({"error":7})", "", "7"},
    {R"({"error":true,"x":[]})", R"({"x":[]})", "true"},
    {R"({"error":["a"]})", "", R"(["a"])"},
    {R"({"error":"","x":1})", R"({"x":1})"},
    {R"({"error":0,"x":1})", R"({"x":1})"},
    {R"({"error":0.0,"x":1})", R"({"x":1})"},
    {R"({"error":[],"x":1})", R"({"x":1})"},
    {R"({"error":{},"x":1})", R"({"x":1})"},
    {R"({"refresh_worker":true,"r":1})", R"({"r":1})", "", true},
    {R"({"refresh_worker":true})", "", "", true},
    {R"({"refresh_worker":1,"r":1})", R"({"r":1})", "", true},
    {R"({"refresh_worker":false,"r":1})", R"({"r":1})"},
    {R"({"refresh_worker":"","r":1})", R"({"r":1})"},
    {R"({"error":"e","refresh_worker":true})", "", R"("e")", true},
    {R"({"error":"e","refresh_worker":true,"x":1})", R"({"x":1})", R"("e")", true},
    {R"([{"error":"inside a list is output"}])", R"([{"error":"inside a list is output"}])"},
    {R"("é €  𝄞")", R"("é €  𝄞")"},
};

class Returned : public testing::TestWithParam<std::tuple<const char*, Row>> {};

TEST_P(Returned, BecomesTheResult) {
  const auto& [form, row] = GetParam();
  const Said& said = running({"--form", form}).run(std::string(R"({"return":)") + row.returned + "}");
  EXPECT_EQ(said.output, row.output);
  EXPECT_EQ(said.error, row.error);
  EXPECT_EQ(said.failed, *row.error != '\0');
  EXPECT_EQ(said.refresh_worker, row.refresh);
  EXPECT_TRUE(said.chunks.empty());
}
INSTANTIATE_TEST_SUITE_P(Rows, Returned,
                         testing::Combine(testing::Values("standard", "async"), testing::ValuesIn(kReturned)));

class BothForms : public testing::TestWithParam<const char*> {
 protected:
  const Said& run(const std::string& input) { return running({"--form", GetParam()}).run(input); }
};
INSTANTIATE_TEST_SUITE_P(Forms, BothForms, testing::Values("standard", "async"));

TEST_P(BothForms, NumbersAndControlCharactersAreValidJson) {
  EXPECT_EQ(run(R"({"special":"numbers"})").output, "[0.1,1.0,1e+300,-0.5,18446744073709551615,5e-324]");
  EXPECT_EQ(run(R"({"special":"controls"})").output, "\"\\u0001\\u001f\\\"\\\\\\n\\t\x7f\\u0000z\"");
}

TEST_P(BothForms, WhatJsonCannotExpressFailsTheJobAndNamesThePlace) {
  EXPECT_EQ(message_of(run(R"({"special":"nan"})")), "output.scores[1].x is NaN, which JSON cannot express");
  EXPECT_EQ(message_of(run(R"({"special":"infinity"})")), "output is infinite, which JSON cannot express");
  EXPECT_EQ(message_of(run(R"({"special":"nan_error"})")), "error is NaN, which JSON cannot express");
  EXPECT_EQ(message_of(run(R"({"special":"bytes"})")),
            "output.blob is not UTF-8 text, which JSON needs (base64 carries bytes)");
  EXPECT_EQ(message_of(run(R"({"special":"bytes_key"})")), "output has a key that is not UTF-8 text");
  EXPECT_TRUE(message_of(run(R"({"special":"deep"})")).ends_with(" is nested more than 1000 levels deep"));
  EXPECT_EQ(type_of(run(R"({"special":"nan"})")), "bulkhead::NotJson");
}

TEST_P(BothForms, AnExceptionIsAStringOfSixKeys) {
  const Said& said = run(R"({"throw":"it broke"})");
  ASSERT_TRUE(said.failed);
  EXPECT_EQ(said.output, "");
  const auto record = record_of(said);
  std::vector<std::string> keys;
  for (const auto& member : record) keys.emplace_back(member.key());
  EXPECT_EQ(keys, (std::vector<std::string>{"error_type", "error_message", "error_traceback", "hostname", "worker_id",
                                            "bulkhead_version"}));
  EXPECT_EQ(record.at("error_type").as_string(), "std::runtime_error");
  EXPECT_EQ(record.at("error_message").as_string(), "it broke");
  EXPECT_EQ(record.at("worker_id").as_string(), "test.1");
  EXPECT_FALSE(record.at("hostname").as_string().empty());
  EXPECT_FALSE(record.at("bulkhead_version").as_string().empty());
  EXPECT_FALSE(said.refresh_worker);
}

TEST_P(BothForms, ExceptionsOfAnyTypeAreTold) {
  EXPECT_EQ(type_of(run(R"({"throw":"int"})")), "int");
  EXPECT_EQ(message_of(run(R"({"throw":"int"})")), "42");
  EXPECT_EQ(message_of(run(R"({"throw":"string"})")), "a std::string");
  EXPECT_EQ(message_of(run(R"({"throw":"literal"})")), "a literal");
  EXPECT_NE(message_of(run(R"({"throw":"strange"})")).find("Strange"), std::string::npos);
  EXPECT_EQ(message_of(run(R"({"throw":"not_utf8"})")), "byte \xEF\xBF\xBD");
  EXPECT_NE(
      record_of(run(R"({"throw":"nested"})")).at("error_traceback").as_string().find("std::out_of_range: the cause"),
      boost::json::string::npos);
}

TEST_P(BothForms, AnErrorThrownAsSuchIsKept) {
  EXPECT_EQ(run(R"({"throw":"error"})").error, R"("plain")");
  EXPECT_EQ(run(R"({"throw":"error_object"})").error, R"({"code":7})");
  EXPECT_FALSE(run(R"({"throw":"error_object"})").refresh_worker);
  EXPECT_EQ(run(R"({"throw":"error_refresh"})").error, R"("tired")");
  EXPECT_TRUE(run(R"({"throw":"error_refresh"})").refresh_worker);
  const Said& empty = run(R"({"throw":"error_empty"})");
  EXPECT_TRUE(empty.failed);
  EXPECT_NE(empty.error, R"("")");
}

TEST_P(BothForms, RefreshByConfigurationGoesWithEveryResult) {
  auto& refreshing = running({"--form", GetParam(), "--refresh"});
  EXPECT_TRUE(refreshing.run("{}").refresh_worker);
  EXPECT_TRUE(refreshing.run(R"({"return":{"error":"e"}})").refresh_worker);
  EXPECT_TRUE(refreshing.run(R"({"throw":"x"})").refresh_worker);
  EXPECT_TRUE(refreshing.run(R"({"return":{"refresh_worker":false}})").refresh_worker);
}

TEST_P(BothForms, AResultAboveTheLimitFailsWithBothSizes) {
  FakeSupervisor supervisor({program(), "--form", GetParam()}, settings_with_limits(2000, 2000));
  const std::string message = message_of(supervisor.run(R"({"big":5000})"));
  EXPECT_NE(message.find("5002 bytes"), std::string::npos) << message;
  EXPECT_NE(message.find("2000"), std::string::npos) << message;
  const Said& large_error = supervisor.run(R"({"return":{"error":")" + std::string(1500, 'e') + R"(","x":")" +
                                           std::string(1500, 'x') + "\"}}");
  EXPECT_TRUE(large_error.failed);
  EXPECT_EQ(supervisor.run(R"({"return":1})").output, "1");
}

TEST_P(BothForms, TheJobKnowsItself) {
  auto& supervisor = running({"--form", GetParam()});
  const auto run = supervisor.submit({.input = R"({"facts" : 1})",
                                      .extra = R"({"webhook":"https://example.invalid"})",
                                      .checkpoint = R"({"page":3})",
                                      .attempt = 2});
  const auto facts = boost::json::parse(supervisor.result(run).output).as_object();
  EXPECT_EQ(facts.at("id").as_string(), "job-" + std::to_string(run));
  EXPECT_EQ(facts.at("attempt").as_int64(), 2);
  EXPECT_EQ(facts.at("raw").as_string(), R"({"facts" : 1})");
  EXPECT_EQ(boost::json::serialize(facts.at("extra")), R"({"webhook":"https://example.invalid"})");
  EXPECT_EQ(boost::json::serialize(facts.at("checkpoint")), R"({"page":3})");
  EXPECT_EQ(facts.at("stop").as_int64(), 0);

  const auto plain = boost::json::parse(this->run(R"({"facts":1})").output).as_object();
  EXPECT_TRUE(plain.at("extra").as_object().empty());
  EXPECT_EQ(plain.at("checkpoint").as_string(), "none");
}

TEST_P(BothForms, ProgressAndLogBelongToTheJob) {
  const Said& said = run(R"({"progress":{"percent":50},"log":"careful","bad_progress":1,"return":9})");
  EXPECT_EQ(said.output, "9");
  EXPECT_EQ(said.progress, std::vector<std::string>{R"({"percent":50})"});
  ASSERT_EQ(said.log.size(), 3u);
  EXPECT_EQ(said.log[0], std::pair(protocol::Level::Debug, std::string("debug line")));
  EXPECT_EQ(said.log[1], std::pair(protocol::Level::Error, std::string("careful")));
  EXPECT_EQ(said.log[2].first, protocol::Level::Warn);  // the progress that was none
}

TEST_P(BothForms, TheLogLevelOfTheCommandLineIsAThreshold) {
  FakeSupervisor supervisor({program(), "--form", GetParam(), "--rp_log_level", "WARN"});
  const Said& said = supervisor.run(R"({"log":"careful"})");
  ASSERT_EQ(said.log.size(), 1u);
  EXPECT_EQ(said.log[0].second, "careful");
}

TEST_P(BothForms, ACheckpointIsKept) {
  const Said& said = run(R"({"checkpoint":{"page":4}})");
  EXPECT_EQ(said.checkpoints, std::vector<std::string>{R"({"page":4})"});
  EXPECT_EQ(said.output, R"({"durable":true})");
}

TEST_P(BothForms, AnInputThatCannotBeParsedFailsTheJobOnly) {
  const Said& said = run(R"("\ud800")");  // one JSON value, but no text
  ASSERT_TRUE(said.failed);
  EXPECT_EQ(type_of(said), "bulkhead::NotJson");
  EXPECT_EQ(message_of(said).substr(0, 17), "input is not JSON");
  EXPECT_EQ(run(R"({"return":1})").output, "1");
}

TEST_P(BothForms, TestFlagsMeanNothingUnderASupervisor) {
  FakeSupervisor supervisor({program(), "--form", GetParam(), "--test_input", R"({"input":1})", "--help"});
  EXPECT_EQ(supervisor.run(R"({"return":5})").output, "5");
  EXPECT_EQ(supervisor.stop(), 0);
}

// ---- callables and values of other types ---------------------------------------------------------------------------

struct Form {
  const char* name;
  const char* output;
};

class Forms : public testing::TestWithParam<Form> {};

TEST_P(Forms, AreTaken) {
  EXPECT_EQ(running({"--form", GetParam().name, "--aggregate"}).run("[1, 2.0]").output, GetParam().output);
}
INSTANTIATE_TEST_SUITE_P(All, Forms,
                         testing::Values(Form{"functor", "5"}, Form{"string", R"("text")"}, Form{"vector", "[1.0,2.5]"},
                                         Form{"map", R"({"yes":true})"}, Form{"optional", "null"},
                                         Form{"raw", "[1, 2.0]"}, Form{"async_string", R"("text")"},
                                         Form{"counting", "[0,1,2]"}, Form{"spelling", R"(["a","b"])"},
                                         Form{"awaiting", R"([true,true,true,false,7,"caught inside"])"}),
                         [](const auto& form) { return std::string(form.param.name); });

// ---- streams -------------------------------------------------------------------------------------------------------

struct StreamRow {
  const char* input;
  std::vector<std::string> chunks;
  const char* aggregate;  ///< output with return_aggregate_stream; without, it is [] or none
  const char* error = "";
  bool refresh = false;
};

const StreamRow kStreams[] = {
    {R"({"yield":["a",{"b":1}]})", {R"("a")", R"({"b":1})"}, R"(["a",{"b":1}])"},
    {R"({"yield":[]})", {}, "[]"},
    {R"({"yield":[null,false,{},0,"",[]]})", {"null", "false", "{}", "0", R"("")", "[]"}, R"([null,false,{},0,"",[]])"},
    {R"({"yield":["a",{"error":"bad","x":1,"refresh_worker":true},"never"]})", {R"("a")"}, "", R"("bad")"},
    {R"({"yield":[{"error":{"message":"it's","n":[1,true,null,2.5]}}]})",
     {},
     "",
     R"("{'message': \"it's\", 'n': [1, True, None, 2.5]}")"},
    {R"({"yield":[{"error":{"a":"x\n\\\u0001'\""}}]})", {}, "", R"("{'a': 'x\\n\\\\\\x01\\'\"'}")"},
    {R"({"yield":[{"error":5}]})", {}, "", R"("5")"},
    {R"({"yield":[{"error":true}]})", {}, "", R"("True")"},
    {R"({"yield":[{"error":""},{"error":null,"a":1},{"error":0}]})",
     {R"({"error":""})", R"({"error":null,"a":1})", R"({"error":0})"},
     R"([{"error":""},{"error":null,"a":1},{"error":0}])"},
    {R"({"yield":[{"refresh_worker":true}]})", {R"({"refresh_worker":true})"}, R"([{"refresh_worker":true}])"},
    {R"({"yield":["a"],"throw":"it broke"})",
     {R"("a")"},
     "",
     R"("handler: it broke \ntraceback: std::runtime_error: it broke")"},
    {R"({"throw":"int"})", {}, "", R"("handler: 42 \ntraceback: int: 42")"},
    {R"({"yield":["a"],"throw":"error_object"})", {R"("a")"}, "", R"({"code":7})"},
    {R"({"throw":"error_refresh"})", {}, "", R"("tired")", true},
    {R"({"yield":["a"],"special":"nan"})",
     {R"("a")"},
     "",
     R"("handler: chunk.scores[1].x is NaN, which JSON cannot express )"
     R"(\ntraceback: bulkhead::NotJson: chunk.scores[1].x is NaN, which JSON cannot express")"},
};

class Streams : public testing::TestWithParam<std::tuple<const char*, bool, StreamRow>> {};

TEST_P(Streams, BecomeChunksAndAResult) {
  const auto& [form, aggregate, row] = GetParam();
  std::vector<std::string> arguments{"--form", form};
  if (aggregate) arguments.emplace_back("--aggregate");
  const Said& said = running(arguments).run(row.input);
  const bool failed = *row.error != '\0';
  EXPECT_EQ(said.chunks, row.chunks);
  EXPECT_EQ(said.failed, failed);
  EXPECT_EQ(said.error, row.error);
  EXPECT_EQ(said.output, failed ? "" : aggregate ? row.aggregate : "[]");
  EXPECT_EQ(said.refresh_worker, row.refresh);
  ASSERT_EQ(said.log.size(), 1u);  // the generator was destroyed before the result was given
  EXPECT_EQ(said.log[0].second, "farewell");
}
INSTANTIATE_TEST_SUITE_P(Rows, Streams,
                         testing::Combine(testing::Values("generator", "async_generator"), testing::Bool(),
                                          testing::ValuesIn(kStreams)));

class BothStreams : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Forms, BothStreams, testing::Values("generator", "async_generator"));

TEST_P(BothStreams, RefreshByConfigurationGoesWithEveryResult) {
  auto& refreshing = running({"--form", GetParam(), "--refresh"});
  const Said& said = refreshing.run(R"({"yield":[1]})");
  EXPECT_TRUE(said.done && said.refresh_worker);
  EXPECT_EQ(said.output, "[]");
  EXPECT_TRUE(refreshing.run(R"({"throw":"x"})").refresh_worker);
}

TEST_P(BothStreams, AChunkAboveTheLimitFailsTheJobWithBothSizes) {
  FakeSupervisor supervisor({program(), "--form", GetParam()}, settings_with_limits(100000, 1000));
  const Said& said = supervisor.run(R"({"yield":["a"],"then":1,"big":5000})");
  EXPECT_EQ(said.chunks, std::vector<std::string>{R"("a")"});
  const std::string message = message_of(said);
  EXPECT_NE(message.find("5002 bytes"), std::string::npos) << message;
  EXPECT_NE(message.find("1000"), std::string::npos) << message;
}

TEST_P(BothStreams, AnAggregateAboveTheLimitFailsTheJob) {
  FakeSupervisor supervisor({program(), "--form", GetParam(), "--aggregate"}, settings_with_limits(2000, 1000));
  const Said& said = supervisor.run(R"({"count":1000})");
  EXPECT_EQ(said.chunks.size(), 1000u);
  EXPECT_TRUE(said.failed);
  EXPECT_EQ(type_of(said), "bulkhead::ResultTooLarge");
}

TEST_P(BothStreams, AThousandChunksArriveInOrder) {
  const Said& said = running({"--form", GetParam(), "--aggregate"}).run(R"({"count":1000})");
  ASSERT_EQ(said.chunks.size(), 1000u);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(said.chunks[i], std::to_string(i));
}

}  // namespace
}  // namespace bulkhead::test
