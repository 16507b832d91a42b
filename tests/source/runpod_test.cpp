// What is pure in the RunPod source: its settings, its URLs, and what it reads out of the platform's answers.

#include <gtest/gtest.h>

#include "supervisor/json/json_scan.hpp"
#include "supervisor/source/runpod_jobs.hpp"
#include "supervisor/source/runpod_settings.hpp"
#include "supervisor/source/runpod_urls.hpp"

namespace bulkhead {
namespace {

EnvironmentVariables variables() {
  return {{"RUNPOD_WEBHOOK_GET_JOB", "https://api.example/v2/ep/job-take/$ID?gpu=A"},
          {"RUNPOD_WEBHOOK_POST_OUTPUT", "https://api.example/v2/ep/job-done/$RUNPOD_POD_ID/$ID?gpu=A"},
          {"RUNPOD_WEBHOOK_POST_STREAM", "https://api.example/v2/ep/job-stream/$RUNPOD_POD_ID/$ID?gpu=A"},
          {"RUNPOD_WEBHOOK_PING", "https://user:word@api.example/v2/ep/ping/$RUNPOD_POD_ID"},
          {"RUNPOD_AI_API_KEY", "secret"},
          {"RUNPOD_POD_ID", "pod"}};
}

RunPodSettings settings(const EnvironmentVariables& environment) {
  auto read = runpod_settings(environment, "fresh");
  if (auto* wrong = std::get_if<std::string>(&read)) ADD_FAILURE() << *wrong;
  return std::holds_alternative<RunPodSettings>(read) ? std::get<RunPodSettings>(read) : RunPodSettings{};
}

TakenJobs taken(std::string body) { return read_taken(std::move(body), fault_of_json); }

TEST(RunPodSettings, AreReadFromTheEnvironment) {
  EXPECT_TRUE(std::holds_alternative<NotOnRunPod>(runpod_settings({}, "fresh")));
  auto environment = variables();
  EXPECT_TRUE(settings(environment).remarks.empty());
  EXPECT_EQ(settings(environment).ping_interval.count(), 10'000);
  environment["RUNPOD_PING_INTERVAL"] = "4000";
  EXPECT_EQ(settings(environment).ping_interval.count(), 4'000);
  for (const char* odd : {"0", "-1", "4s", "1", "99999999999"}) {
    environment["RUNPOD_PING_INTERVAL"] = odd;
    auto read = settings(environment);
    EXPECT_EQ(read.remarks.size(), 1U) << odd;
    EXPECT_GE(read.ping_interval.count(), 100);
    EXPECT_LE(read.ping_interval.count(), 3'600'000);
  }
  environment.erase("RUNPOD_POD_ID");
  EXPECT_EQ(settings(environment).worker_id, "fresh");
  environment["RUNPOD_UA_INTEGRATION"] = "a\r\nX: y";
  EXPECT_EQ(settings(environment).integration, "aX:y");
}

TEST(RunPodSettings, OfFitness) {
  auto environment = variables();
  auto fitness = settings(environment).fitness;
  EXPECT_TRUE(fitness.checked);
  EXPECT_EQ(fitness.memory_gb, 4);
  EXPECT_EQ(fitness.disk_percent, 10);
  environment["RUNPOD_SKIP_AUTO_SYSTEM_CHECKS"] = "True";
  environment["RUNPOD_MIN_MEMORY_GB"] = "0.5";
  environment["RUNPOD_MIN_DISK_PERCENT"] = "much";
  fitness = settings(environment).fitness;
  EXPECT_FALSE(fitness.checked);
  EXPECT_EQ(fitness.memory_gb, 0.5);
  EXPECT_EQ(fitness.disk_percent, 10);
  EXPECT_EQ(settings(environment).remarks.size(), 1U);
  EXPECT_FALSE(judge_fitness(fitness));
  EXPECT_FALSE(judge_fitness({.memory_gb = 0, .disk_percent = 0}));
}

TEST(RunPodSettings, WhatCannotWorkIsNamedWithoutItsValue) {
  for (auto [name, value, says] : {std::tuple("RUNPOD_WEBHOOK_POST_OUTPUT", "", "results would have nowhere to go"),
                                   std::tuple("RUNPOD_WEBHOOK_GET_JOB", "ftp://hush/", "http:// or https://"),
                                   std::tuple("RUNPOD_WEBHOOK_PING", "http://hush /", "blanks"),
                                   std::tuple("RUNPOD_AI_API_KEY", "hush\n", "line break")}) {
    auto environment = variables();
    environment[name] = value;
    auto read = runpod_settings(environment, "fresh");
    ASSERT_TRUE(std::holds_alternative<std::string>(read)) << name;
    const auto& text = std::get<std::string>(read);
    EXPECT_NE(text.find(name), std::string::npos) << text;
    EXPECT_NE(text.find(says), std::string::npos) << text;
    EXPECT_EQ(text.find("hush"), std::string::npos) << text;
  }
}

TEST(RunPodUrls, AreTheMeasuredOnes) {
  RunPodUrls urls(settings(variables()));
  EXPECT_EQ(urls.take(1, false), "https://api.example/v2/ep/job-take/pod?gpu=A&job_in_progress=0");
  EXPECT_EQ(urls.take(3, true), "https://api.example/v2/ep/job-take-batch/pod?gpu=A&batch_size=3&job_in_progress=1");
  EXPECT_EQ(urls.stop(), "https://api.example/v2/ep/job-stop/pod?gpu=A");
  EXPECT_EQ(urls.result("j-1", true), "https://api.example/v2/ep/job-done/pod/j-1?gpu=A&isStream=true");
  EXPECT_EQ(urls.chunk("j-1"), "https://api.example/v2/ep/job-stream/pod/j-1?gpu=A&isStream=false");
  std::string_view jobs[] = {"a", "b"};
  EXPECT_EQ(urls.ping(jobs), "https://user:word@api.example/v2/ep/ping/pod?job_id=a%2Cb&runpod_version=1.12.0");
  EXPECT_EQ(urls.ping({}), "https://user:word@api.example/v2/ep/ping/pod?runpod_version=1.12.0");
  EXPECT_EQ(urls.unhealthy("gpu", "it is gone & away"),
            "https://user:word@api.example/v2/ep/ping/pod?status=unhealthy&check=gpu&reason=it%20is%20gone%20%26%20away"
            "&runpod_version=1.12.0");
  EXPECT_EQ(urls.host(), "api.example");
}

TEST(RunPodUrls, OfOtherTemplates) {
  auto environment = variables();
  environment["RUNPOD_WEBHOOK_GET_JOB"] = "http://u:p@host:1/take/$RUNPOD_GPU_TYPE_ID";
  environment["RUNPOD_WEBHOOK_POST_OUTPUT"] = "http://host/done/$ID?id=$ID&";
  environment["RUNPOD_WEBHOOK_PING"] = "";
  RunPodUrls urls(settings(environment));
  EXPECT_FALSE(urls.takes_batches());
  EXPECT_FALSE(urls.stop());
  EXPECT_EQ(urls.take(1, true), "http://u:p@host:1/take/$RUNPOD_GPU_TYPE_ID?job_in_progress=1");
  EXPECT_EQ(urls.result("a/$ID", false), "http://host/done/a%2F%24ID?id=a%2F%24ID&isStream=false");
  EXPECT_EQ(urls.ping({}), "");
  EXPECT_EQ(urls.host(), "host:1");
}

TEST(RunPodUrls, APingHasRoomForSoManyJobs) {
  RunPodUrls urls(settings(variables()));
  std::vector<std::string_view> jobs(10'000, "01234567-89ab-cdef-0123-456789abcdef-e1");
  EXPECT_LT(urls.ping(jobs).size(), 8'000U);
  EXPECT_LT(urls.unhealthy("x", std::string(10'000, 'r')).size(), 400U);
}

TEST(RunPodJobs, OneJobOrSeveralAreCutOutOfTheAnswer) {
  auto one = taken(R"({"id":"a","input":{"x":[1,"}\"]"]},"webhook":"w","policy":{"executionTimeout":5000}})");
  ASSERT_EQ(one.jobs.size(), 1U);
  EXPECT_EQ(one.jobs[0].id, "a");
  EXPECT_EQ(one.jobs[0].input.bytes(), R"({"x":[1,"}\"]"]})");
  EXPECT_EQ(one.jobs[0].extra.bytes(), R"({"webhook":"w","policy":{"executionTimeout":5000}})");
  EXPECT_EQ(one.jobs[0].execution_timeout, milliseconds(5000));
  EXPECT_EQ(one.jobs[0].fault, "");

  auto several = taken(" [ {\"id\" : 7 , \"input\" : 1e400 } , {\"\\u0069d\":\"\\u00fc\\n\",\"input\":null}] ");
  ASSERT_EQ(several.jobs.size(), 2U);
  EXPECT_EQ(several.jobs[0].id, "7");
  EXPECT_EQ(several.jobs[0].input.bytes(), "1e400");  // not looked into
  EXPECT_EQ(several.jobs[1].id, "ü\n");
  EXPECT_EQ(several.jobs[1].input.bytes(), "null");
  EXPECT_TRUE(several.jobs[1].extra.empty());
}

TEST(RunPodJobs, WhatIsNoJobIsToldApartFromNothing) {
  for (const char* nothing : {"", "  \n", "null", "[]", "{}"}) {
    auto read = taken(nothing);
    EXPECT_TRUE(read.jobs.empty() && read.fault.empty() && read.nameless == 0) << nothing;
  }
  for (const char* garbage : {"<html>", "7", "\"a\"", "{\"id\":\"a\",\"input\":", "{\"id\":\"a\"}}", "\xff"})
    EXPECT_FALSE(taken(garbage).fault.empty()) << garbage;
  auto bare = taken(R"({"id":"a"})");
  ASSERT_EQ(bare.jobs.size(), 1U);
  EXPECT_NE(bare.jobs[0].fault.find("input"), std::string::npos);
  EXPECT_EQ(taken(R"([{"input":1},{"id":null,"input":1},{"id":{},"input":1},3])").nameless, 4);
  auto odd = taken(R"({"id":"a","input":1,"policy":{"executionTimeout":-5}})");
  EXPECT_FALSE(odd.jobs[0].execution_timeout);
  auto long_one = taken(R"({"id":"a","input":1,"policy":{"executionTimeout":1e15}})");
  EXPECT_EQ(long_one.jobs[0].execution_timeout, milliseconds(7 * 86'400'000LL)) << "as long as there is";
}

TEST(RunPodJobs, StopsAreReadLeniently) {
  using Ids = std::vector<std::string>;
  EXPECT_EQ(read_stops(R"({"jobsToStop":["a",7,"b"]})"), (Ids{"a", "b"}));
  EXPECT_EQ(read_stops("{}"), Ids{});
  EXPECT_EQ(read_stops(""), Ids{});
  EXPECT_EQ(read_stops(R"({"jobsToStop":null})"), Ids{});
  EXPECT_FALSE(read_stops("[]"));
  EXPECT_FALSE(read_stops(R"({"jobsToStop":"a"})"));
  EXPECT_FALSE(read_stops("<html>"));
}

}  // namespace
}  // namespace bulkhead
