// The source by itself: the real HTTP client and a server that answers what it is told to, a journal and a core that do
// likewise.

#include "supervisor/source/runpod.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>

#include "supervisor/json/json_scan.hpp"
#include "tests/job/fakes.hpp"
#include "tests/source/server.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;

class FakeIntake final : public Intake {
 public:
  Accepted answer;
  std::vector<Job> jobs;
  std::vector<std::string> cancelled;

  void submit(Job job, std::function<void(Accepted)> answered) override {
    jobs.push_back(std::move(job));
    answered(answer);
  }
  bool cancel(std::string_view id) override {
    cancelled.emplace_back(id);
    return true;
  }
  std::vector<std::string> purge() override { return {}; }
};

class RunPodTest : public ::testing::Test {
 protected:
  boost::asio::io_context io;
  testing::Server server{io};
  testing::ManualClock clock;
  testing::FakeJournal journal;
  FakeIntake intake;
  std::unique_ptr<RunPod> source;
  int room = 1;
  std::vector<std::string> bodies;       ///< of takes, given one after another; then polls are held
  std::vector<std::string> stops;        ///< the same for the stop channel
  std::vector<std::string> done{"200"};  ///< statuses of results; the last one stays
  std::vector<std::string> notices;

  void SetUp() override {
    setenv("no_proxy", "*", 1);
    server.answer = [this](const std::string& request) -> std::string {
      if (request.starts_with("GET /job-take")) return next(bodies);
      if (request.starts_with("GET /job-stop/")) return next(stops);
      if (request.starts_with("GET /ping")) return testing::Server::ok("{}");
      std::string status = done.front();
      if (done.size() > 1) done.erase(done.begin());
      if (request.starts_with("POST /done/") && status != "200") return answer(status, "no");
      return testing::Server::ok("{}");
    };
    RunPodOptions options;
    options.platform.take = server.url() + "/job-take/$ID";
    options.platform.output = server.url() + "/done/$ID";
    options.platform.stream = server.url() + "/stream/$ID";
    options.platform.ping = server.url() + "/ping";
    options.platform.ping_interval = 50ms;
    options.platform.key = "key";
    options.platform.worker_id = "w";
    options.version = "0";
    options.check_json = fault_of_json;
    source = std::make_unique<RunPod>(
        io.get_executor(), options, clock, intake, journal,
        RunPod::Asks{.room = [this] { return room; },
                     .job_in_progress = [] { return false; },
                     .random = [] { return 0.5; },
                     .notices = [this](const RunPodNotice& notice) { notices.push_back(notice.text); }});
  }

  static std::string answer(const std::string& status, const std::string& body) {
    return "HTTP/1.1 " + status + " As told\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  static std::string next(std::vector<std::string>& from) {
    if (from.empty()) return {};
    std::string body = from.front();
    from.erase(from.begin());
    return body == "204" ? "HTTP/1.1 204 No Content\r\n\r\n" : answer("200", body);
  }
  std::vector<std::string> of(std::string_view begin) const {
    std::vector<std::string> found;
    for (const std::string& request : server.requests)
      if (request.starts_with(begin)) found.push_back(request);
    return found;
  }
  /// Job "a" of a former life, which streamed 1, 2, … and ended; nothing else is taken.
  Recovered on_record(std::uint32_t chunks) {
    Recovered known;
    known.job = testing::make_job("a");
    known.outcome = completed(std::to_string(chunks));
    known.last_chunk = chunks;
    for (std::uint32_t number = 1; number <= chunks; ++number)
      journal.stored["a"].push_back({number, Payload::of(std::to_string(number))});
    journal.remembered["a"] = {known.job, *known.outcome};
    room = 0;
    return known;
  }
  template <class Condition>
  void until(Condition met) {
    auto deadline = std::chrono::steady_clock::now() + 30s;
    while (!met()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it did not come true";
      io.run_one_for(50ms);
    }
  }
  /// Everything that happens by itself within a moment has happened.
  void settle_down() { io.run_for(150ms); }
  static Outcome completed(const std::string& output) {
    Outcome outcome;
    outcome.status = Status::Completed;
    outcome.output = Payload::of(output);
    return outcome;
  }
};

TEST_F(RunPodTest, NothingIsTakenWithoutRoomAndABatchWhereThereIsMore) {
  room = 0;
  source->start();
  settle_down();
  EXPECT_TRUE(of("GET /job-take").empty());
  room = 3;
  source->room(3);
  until([&] { return of("GET /job-take-batch/w?batch_size=3&job_in_progress=0 ").size() == 1; });
  room = 5;  // two more
  source->room(5);
  until([&] { return of("GET /job-take-batch/w?batch_size=2&").size() == 1; });
  room = 9;  // and what frees up beyond waits for either to end
  source->room(9);
  settle_down();
  EXPECT_EQ(of("GET /job-take").size(), 2U);
}

TEST_F(RunPodTest, NothingIsTakenBeforeTheStartOrAfterTheDrain) {
  room = 1;
  source->room(1);
  settle_down();
  EXPECT_TRUE(of("GET /job-take").empty()) << "the machine may not be fit for it";
  source->start();
  until([&] { return of("GET /job-take").size() == 1; });
  source->drain();
  room = 9;
  source->room(9);
  settle_down();
  EXPECT_EQ(of("GET /job-take").size(), 1U);
}

TEST_F(RunPodTest, ABatchFitsIntoOneAnswer) {
  room = 1'000;
  source->start();
  until([&] { return of("GET /job-take-batch/w?batch_size=12&").size() == 1; });
}

TEST_F(RunPodTest, TheLastTriesWaitForNoPause) {
  done = {"503 No\r\nRetry-After: 120\r\nX:", "200"};
  bodies = {R"({"id":"a","input":1})"};
  source->start();
  until([&] { return intake.jobs.size() == 1; });
  journal.remembered["a"] = {intake.jobs[0], completed("1")};
  source->report(intake.jobs[0], completed("1"), [] {});
  until([&] { return of("POST /done/a").size() == 1; });
  settle_down();
  bool flushed = false;
  source->flush([&] { flushed = true; });
  until([&] { return flushed; });
  EXPECT_EQ(of("POST /done/a").size(), 2U);
}

TEST_F(RunPodTest, APingNamesFirstWhatHasNotEnded) {
  done = {"503"};
  bodies = {R"([{"id":"first","input":1},{"id":"second","input":1}])"};
  room = 2;
  source->start();
  until([&] { return intake.jobs.size() == 2; });
  journal.remembered["first"] = {intake.jobs[0], completed("1")};
  source->report(intake.jobs[0], completed("1"), [] {});
  until([&] { return !of("GET /ping?job_id=second%2Cfirst&").empty(); });
}

TEST_F(RunPodTest, AJobIsSubmittedWithEverythingItBrought) {
  bodies = {R"({"id":"a","input":{"n":1},"webhook":"w","policy":{"executionTimeout":7000}})"};
  source->start();
  until([&] { return intake.jobs.size() == 1; });
  EXPECT_EQ(intake.jobs[0].input.bytes(), R"({"n":1})");
  EXPECT_EQ(intake.jobs[0].extra.bytes(), R"({"webhook":"w","policy":{"executionTimeout":7000}})");
  EXPECT_EQ(intake.jobs[0].policy.execution_timeout, 7s);
  EXPECT_TRUE(intake.jobs[0].webhook.empty());  // the platform's business
}

TEST_F(RunPodTest, AJobThatCannotBeKeptIsAnsweredAndNoMoreAreTakenForAWhile) {
  intake.answer = {Refusal::StoreUnavailable, "the disk is full", {}};
  bodies = {R"({"id":"a","input":1})"};
  source->start();
  until([&] { return of("POST /done/a?isStream=false").size() == 1; });
  EXPECT_NE(of("POST /done/a")[0].find("the disk is full"), std::string::npos);
  EXPECT_EQ(of("GET /job-take").size(), 1U);
  until([&] { return of("GET /job-take").size() == 2; });
}

TEST_F(RunPodTest, AJobWithoutInputIsJournalledThenAnsweredThenSettled) {
  journal.immediate = false;
  bodies = {R"({"id":"a"})"};
  source->start();
  until([&] { return journal.lines.size() == 1; });
  settle_down();
  EXPECT_TRUE(of("POST").empty());
  journal.flush();
  settle_down();
  EXPECT_TRUE(of("POST").empty());
  journal.flush();
  until([&] { return journal.lines.size() == 3; });
  EXPECT_EQ(journal.lines, (std::vector<std::string>{"accept a", "finish a FAILED", "settle a"}));
  EXPECT_EQ(of("POST /done/a").size(), 1U);
  EXPECT_TRUE(intake.jobs.empty());
}

TEST_F(RunPodTest, AResultIsReadFromTheJournalForItsSecondTry) {
  done = {"500", "200"};
  bodies = {R"({"id":"a","input":1})"};
  source->start();
  until([&] { return intake.jobs.size() == 1; });
  journal.remembered["a"] = {intake.jobs[0], completed("2")};
  bool settled = false;
  source->report(intake.jobs[0], completed("1"), [&] { settled = true; });
  until([&] { return settled; });
  auto posts = of("POST /done/a");
  ASSERT_EQ(posts.size(), 2U);
  EXPECT_TRUE(posts[0].ends_with(R"({"output":1})"));
  EXPECT_TRUE(posts[1].ends_with(R"({"output":2})"));
  EXPECT_EQ(source->unsent(), 0U);
}

TEST_F(RunPodTest, AStopSilencesAJobInWhateverStateItIs) {
  done = {"503"};
  bodies = {R"({"id":"a","input":1})"};
  stops = {"204", R"({"jobsToStop":["a"]})"};
  source->start();
  until([&] { return intake.jobs.size() == 1; });
  bool settled = false;
  int taken = 0;
  source->chunk(intake.jobs[0], 1, Payload::of("1"), [&] { ++taken; });
  source->report(intake.jobs[0], completed("1"), [&] { settled = true; });
  until([&] { return settled; });
  std::size_t posts = of("POST /done/a").size();
  EXPECT_EQ(intake.cancelled, std::vector<std::string>{"a"});
  EXPECT_EQ(taken, 1);
  settle_down();
  EXPECT_EQ(of("POST /done/a").size(), posts);
  EXPECT_EQ(source->unsent(), 0U);
}

TEST_F(RunPodTest, ChunksOfAFormerLifeComeBeforeItsResult) {
  Recovered known = on_record(3);
  known.polled = 1;
  source->recovered(known);
  bool settled = false;
  source->report(known.job, *known.outcome, [&] { settled = true; });
  source->start();
  until([&] { return settled; });
  auto posts = of("POST");
  ASSERT_EQ(posts.size(), 3U);
  EXPECT_TRUE(posts[0].starts_with("POST /stream/a") && posts[0].ends_with(R"({"output":2})"));
  EXPECT_TRUE(posts[1].starts_with("POST /stream/a") && posts[1].ends_with(R"({"output":3})"));
  EXPECT_TRUE(posts[2].starts_with("POST /done/a?isStream=true"));
  EXPECT_EQ(journal.positions["a"], 3U);
}

TEST_F(RunPodTest, AReadThatFailsIsTriedAgainAndNothingIsLeftOut) {
  const Recovered known = on_record(1);
  journal.unreadable_reads = 2;
  source->recovered(known);
  bool settled = false;
  source->report(known.job, *known.outcome, [&] { settled = true; });
  source->start();
  until([&] { return settled; });
  auto posts = of("POST");
  ASSERT_EQ(posts.size(), 2U);
  EXPECT_TRUE(posts[0].starts_with("POST /stream/a") && posts[0].ends_with(R"({"output":1})")) << posts[0];
  EXPECT_TRUE(posts[1].starts_with("POST /done/a?isStream=true")) << posts[1];
}

TEST_F(RunPodTest, AResultThatCannotBeReadIsNotReplacedByAFailure) {
  bodies = {R"({"id":"a","input":1})", R"({"id":"a","input":1})"};
  intake.answer = {Refusal::Duplicate, "here already", "a"};
  journal.remembered["a"] = {testing::make_job("a"), completed("1")};
  journal.unreadable_reads = 1;
  source->start();
  until([&] { return !of("POST /done/a").empty(); });
  settle_down();
  ASSERT_EQ(of("POST /done/a").size(), 1U);
  EXPECT_TRUE(of("POST /done/a").front().ends_with(R"({"output":1})")) << of("POST /done/a").front();
}

TEST_F(RunPodTest, WhileNothingIsTakenOneTriesAndTheOthersWait) {
  done = {"503"};
  std::string batch;
  for (int i = 0; i < 50; ++i)
    batch += (i ? "," : "[") + std::string(R"({"id":"j)") + std::to_string(i) + R"(","input":1})";
  room = 50;
  bodies = {batch + "]"};
  source->start();
  until([&] { return intake.jobs.size() == 50; });
  room = 0;
  for (const Job& job : intake.jobs) {
    journal.remembered[job.id] = {job, completed("1")};
    source->report(job, completed("1"), [] {});
  }
  until([&] { return !notices.empty(); });  // it fails: by now all have been tried three times or so
  std::size_t posts = of("POST").size();
  EXPECT_LE(posts, 200U);
  io.run_for(2s);
  EXPECT_LT(of("POST").size() - posts, 60U);  // those under way, and then one at a time
  done = {"200"};
  until([&] { return source->unsent() == 0; });
  EXPECT_EQ(notices.size(), 2U) << notices.back();
}

}  // namespace
}  // namespace bulkhead
