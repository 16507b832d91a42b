// What happens around a handler: stopping, streaming under credit, running several jobs at once, and the end.

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/sdk/fake_supervisor.hpp"

namespace bulkhead::test {
namespace {

std::string program() { return std::string(std::getenv("BULKHEAD_BUILD")) + "/tests/sdk/forms"; }

void until_waiting(FakeSupervisor& supervisor, protocol::Run run) {
  supervisor.until([&] { return !supervisor.said(run).progress.empty(); });
}

class Both : public testing::TestWithParam<const char*> {
 protected:
  std::vector<std::string> with(std::vector<std::string> arguments = {}) const {
    std::vector<std::string> words{program(), "--form", GetParam()};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return words;
  }
};

// ---- stopping ------------------------------------------------------------------------------------------------------

struct Reason {
  protocol::CancelReason reason;
  const char* code;
};

class Stopping : public testing::TestWithParam<Reason> {};
INSTANTIATE_TEST_SUITE_P(Reasons, Stopping,
                         testing::Values(Reason{protocol::CancelReason::Requested, "1"},
                                         Reason{protocol::CancelReason::Timeout, "2"},
                                         Reason{protocol::CancelReason::Drain, "3"}));

TEST_P(Stopping, FiresTheTokenOfABlockingHandler) {
  FakeSupervisor supervisor({program()});
  const auto run = supervisor.submit(R"({"wait":"stop"})");
  until_waiting(supervisor, run);
  supervisor.cancel(run, GetParam().reason);
  EXPECT_EQ(supervisor.result(run).output, std::string(R"({"stopped":)") + GetParam().code + "}");
  EXPECT_EQ(supervisor.run(R"({"return":1})").output, "1");
}

TEST_P(Stopping, EndsTheWaitOfACoroutine) {
  FakeSupervisor supervisor({program(), "--form", "async"});
  const auto run = supervisor.submit(R"({"wait":"stop","catch":1})");
  until_waiting(supervisor, run);
  supervisor.cancel(run, GetParam().reason);
  EXPECT_EQ(supervisor.result(run).output,
            std::string(R"({"caught":true,"stopped":)") + GetParam().code + R"(,"token":true})");
  EXPECT_EQ(supervisor.run(R"({"return":1})").output, "1");
}

TEST(StoppingOne, LeavesTheOthersAlone) {
  for (const char* form : {"standard", "async"}) {
    FakeSupervisor supervisor({program(), "--form", form, "--concurrency", "3"});
    const auto first = supervisor.submit(R"({"hold":"gate","return":1})");
    const auto second = supervisor.submit(R"({"wait":"stop"})");
    until_waiting(supervisor, first);
    until_waiting(supervisor, second);
    supervisor.cancel(second, protocol::CancelReason::Requested);
    supervisor.result(second);
    EXPECT_FALSE(supervisor.said(first).ended());
    supervisor.run(R"({"open":"gate"})");
    EXPECT_EQ(supervisor.result(first).output, "1");
  }
}

TEST(StoppingACoroutine, ThatDoesNotCatchFailsTheJob) {
  FakeSupervisor supervisor({program(), "--form", "async"});
  const auto run = supervisor.submit(R"({"wait":"stop"})");
  until_waiting(supervisor, run);
  supervisor.cancel(run, protocol::CancelReason::Requested);
  EXPECT_TRUE(supervisor.result(run).failed);
}

// ---- streams -------------------------------------------------------------------------------------------------------

class Streams : public Both {};
INSTANTIATE_TEST_SUITE_P(Forms, Streams, testing::Values("generator", "async_generator"));

TEST_P(Streams, AreSlowedUntilTheirChunksAreTaken) {
  FakeSupervisor::Settings settings;
  settings.chunk_window = 2;
  settings.acknowledge = false;
  FakeSupervisor supervisor(with({"--concurrency", "2"}), settings);
  const auto run = supervisor.submit(R"({"count":5})");
  supervisor.until([&] { return supervisor.said(run).chunks.size() == 2; });
  // Meanwhile the child works on: a whole job passes, and of the first nothing more has come.
  supervisor.run("{}");
  EXPECT_EQ(supervisor.said(run).chunks.size(), 2u);
  supervisor.acknowledge(run);
  supervisor.until([&] { return supervisor.said(run).chunks.size() == 4; });
  supervisor.run("{}");
  EXPECT_EQ(supervisor.said(run).chunks.size(), 4u);
  supervisor.acknowledge(run);
  EXPECT_EQ(supervisor.result(run).chunks, (std::vector<std::string>{"0", "1", "2", "3", "4"}));
  EXPECT_TRUE(supervisor.said(run).done);
}

TEST_P(Streams, CanBeStoppedWhileTheyWaitForCredit) {
  FakeSupervisor::Settings settings;
  settings.chunk_window = 1;
  settings.acknowledge = false;
  FakeSupervisor supervisor(with(), settings);
  const auto run = supervisor.submit(R"({"count":1000000})");
  supervisor.until([&] { return supervisor.said(run).chunks.size() == 1; });
  supervisor.cancel(run, protocol::CancelReason::Requested);
  EXPECT_TRUE(supervisor.result(run).failed);
  ASSERT_EQ(supervisor.said(run).log.size(), 1u);
  EXPECT_EQ(supervisor.said(run).log[0].second, "farewell");
}

TEST_P(Streams, EndWhenTheirJobIsStoppedBetweenChunks) {
  FakeSupervisor supervisor(with());
  const auto run = supervisor.submit(R"({"yield":[1],"then":1,"wait":"stop"})");
  until_waiting(supervisor, run);
  supervisor.cancel(run, protocol::CancelReason::Requested);
  supervisor.result(run);
  EXPECT_EQ(supervisor.said(run).log.back().second, "farewell");
}

// ---- several jobs at once ------------------------------------------------------------------------------------------

class Concurrency : public Both {};
INSTANTIATE_TEST_SUITE_P(Forms, Concurrency, testing::Values("standard", "async"));

TEST_P(Concurrency, RunsThatManyJobsAtTheSameTime) {
  FakeSupervisor supervisor(with({"--concurrency", "8"}));
  EXPECT_EQ(supervisor.concurrency(), 8u);
  std::vector<protocol::Run> runs;
  for (int i = 0; i < 8; ++i) runs.push_back(supervisor.submit(R"({"meet":8})"));
  for (const auto run : runs) EXPECT_EQ(supervisor.result(run).output, R"("ok")");
}

TEST_P(Concurrency, GrowsWhileAJobRuns) {
  FakeSupervisor supervisor(with({"--concurrency", "2"}));
  const auto held = supervisor.submit(R"({"hold":"gate"})");
  until_waiting(supervisor, held);
  supervisor.run(R"({"concurrency":5})");
  supervisor.until([&] { return supervisor.concurrency() == 5; });
  std::vector<protocol::Run> runs;
  for (int i = 0; i < 4; ++i) runs.push_back(supervisor.submit(R"({"meet":4})"));
  for (const auto run : runs) supervisor.result(run);
  EXPECT_FALSE(supervisor.said(held).ended());
  supervisor.run(R"({"open":"gate"})");
  supervisor.result(held);
}

TEST_P(Concurrency, ShrinksWithoutADrainAndGrowsAgain) {
  FakeSupervisor supervisor(with({"--concurrency", "4"}));
  const auto held = supervisor.submit(R"({"hold":"gate"})");
  until_waiting(supervisor, held);
  supervisor.run(R"({"concurrency":2})");
  supervisor.until([&] { return supervisor.concurrency() == 2; });
  EXPECT_EQ(supervisor.run(R"({"return":1})").output, "1");
  supervisor.run(R"({"concurrency":6})");
  supervisor.until([&] { return supervisor.concurrency() == 6; });
  std::vector<protocol::Run> runs;
  for (int i = 0; i < 5; ++i) runs.push_back(supervisor.submit(R"({"meet":5})"));
  for (const auto run : runs) supervisor.result(run);
  EXPECT_FALSE(supervisor.said(held).ended());
  supervisor.run(R"({"open":"gate"})");
  supervisor.result(held);
  EXPECT_EQ(supervisor.stop(), 0);
}

TEST_P(Concurrency, StaysWithinItsBounds) {
  FakeSupervisor supervisor(with({"--concurrency", "0"}));
  EXPECT_EQ(supervisor.concurrency(), 1u);
  supervisor.run(R"({"concurrency":-5})");
  EXPECT_EQ(supervisor.run(R"({"concurrency":3})").output, R"("ok")");
  supervisor.until([&] { return supervisor.concurrency() == 3; });
}

TEST_P(Concurrency, SurvivesAModifierThatThrows) {
  FakeSupervisor supervisor(with({"--broken_modifier"}));
  EXPECT_EQ(supervisor.concurrency(), 1u);
  EXPECT_EQ(supervisor.run(R"({"return":1})").output, "1");
  EXPECT_EQ(supervisor.run(R"({"return":2})").output, "2");
  EXPECT_NE(supervisor.said(0).log.at(0).second.find("no idea"), std::string::npos);
}

// ---- the end -------------------------------------------------------------------------------------------------------

class End : public Both {};
INSTANTIATE_TEST_SUITE_P(Forms, End, testing::Values("standard", "async"));

TEST_P(End, OfAnIdleProgramHasExitCode0) {
  FakeSupervisor supervisor(with());
  EXPECT_EQ(supervisor.sdk().substr(0, 13), "bulkhead-cpp/");
  EXPECT_EQ(supervisor.stop(), 0);
}

TEST_P(End, OfAnIdlePoolHasExitCode0) {
  FakeSupervisor supervisor(with({"--concurrency", "8"}));
  EXPECT_EQ(supervisor.run(R"({"return":1})").output, "1");
  EXPECT_EQ(supervisor.stop(), 0);
}

TEST_P(End, WaitsForWhatRuns) {
  FakeSupervisor supervisor(with({"--concurrency", "2"}));
  const auto run = supervisor.submit(R"({"wait":"stop"})");
  until_waiting(supervisor, run);
  supervisor.cancel(run, protocol::CancelReason::Drain);
  EXPECT_EQ(supervisor.stop(), 0);
  EXPECT_TRUE(supervisor.said(run).ended());
}

TEST_P(End, WithoutASupervisorIsAFailure) {
  FakeSupervisor supervisor(with());
  supervisor.run("{}");
  EXPECT_GT(supervisor.vanish(), 0);
}

TEST_P(End, WithoutASupervisorStopsWhatRuns) {
  FakeSupervisor supervisor(with({"--concurrency", "2"}));
  const auto run = supervisor.submit(R"({"wait":"stop"})");
  until_waiting(supervisor, run);
  EXPECT_GT(supervisor.vanish(), 0);
}

}  // namespace
}  // namespace bulkhead::test
