// The deliveries themselves: the real client and a real receiver, a clock and a journal that do what they are told.

#include "supervisor/source/webhooks.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>

#include "supervisor/job/dispatcher.hpp"
#include "supervisor/source/embedded_queue.hpp"
#include "tests/job/fakes.hpp"
#include "tests/source/server.hpp"

namespace bulkhead {
namespace {

using namespace std::chrono_literals;
using Found = std::function<void(std::optional<Remembered>)>;

/// Answers what is asked for deliveries when it is told to.
class SlowJournal final : public Journal {
 public:
  std::vector<std::pair<std::string, Found>> asked;

  void accept(const Job&, Written) override {}
  void start(const Job&, RunNumber, int, std::string_view, std::int64_t, Written) override {}
  void requeue(const Job&, RunNumber, bool) override {}
  void finish(const Job&, const Outcome&, Written) override {}
  void settle(const Job&) override {}
  void chunk(const Job&, RunNumber, std::uint32_t, Payload, Written) override {}
  void progress(const Job&, Payload) override {}
  void checkpoint(const Job&, RunNumber, Payload, Written) override {}
  void lookup(std::string_view, Found) override { FAIL() << "what is delivered may have expired"; }
  void lookup_unsettled(std::string_view id, Found found) override { asked.emplace_back(id, std::move(found)); }
  void forget(std::string_view) override {}
  std::size_t backlog() const override { return 0; }
};

class WebhooksTest : public ::testing::Test {
 protected:
  boost::asio::io_context io;
  testing::Server server{io};
  testing::ManualClock clock;
  testing::FakeJournal journal;
  HttpClient client{io.get_executor(), 8};
  WebhookOptions options;
  std::unique_ptr<Webhooks> webhooks;
  std::vector<std::string> settled, notices;

  void SetUp() override {
    setenv("no_proxy", "*", 1);
    make(journal);
  }
  void make(Journal& with) {
    webhooks = std::make_unique<Webhooks>(options, clock, with, client, [] { return 0.5; });
    webhooks->set_notice([this](const WebhookNotice& notice) {
      static constexpr std::string_view kKinds[] = {"failing", "working", "given up"};
      notices.push_back(std::string(kKinds[static_cast<int>(notice.kind)]) + " " + std::string(notice.job_id) + ": " +
                        std::string(notice.reason));
    });
  }
  Job job(const std::string& id) {
    Job job = testing::make_job(id);
    job.webhook = server.url() + "/" + id;
    return job;
  }
  Remembered ended(const Job& job, Status status = Status::Completed) {
    Outcome outcome;
    outcome.status = status;
    outcome.output = Payload::of("[1]");
    outcome.worker_id = "w0.1";
    outcome.attempts = 1;
    outcome.started_ms = job.submitted_ms + 5;
    outcome.finished_ms = job.submitted_ms + 7;
    outcome.execution_ms = 2;
    return {job, outcome};
  }
  void deliver(const std::string& id) {
    journal.remembered.insert_or_assign(id, ended(job(id)));
    webhooks->deliver(job(id), [this, id] { settled.push_back(id); });
  }
  void answer(int status) {
    server.answer = [status](const std::string&) {
      return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: 0\r\n\r\n";
    };
  }
  void run_until(const std::function<bool()>& there) {
    auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!there()) {
      io.run_one_for(1s);
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    }
  }
  /// Lets everything happen that needs no time.
  void rest() {
    for (int i = 0; i < 50; ++i) io.run_one_for(1ms);
  }
  void fail_once() {
    std::int64_t failed = webhooks->counts().failed_tries;
    run_until([&] { return webhooks->counts().failed_tries > failed; });
  }
};

TEST_F(WebhooksTest, SendsTheJobObjectAndSettles) {
  deliver("a");
  EXPECT_TRUE(settled.empty());
  run_until([&] { return !settled.empty(); });
  const std::string& request = server.requests.at(0);
  EXPECT_TRUE(request.starts_with("POST /a HTTP/1.1\r\n"));
  EXPECT_TRUE(request.ends_with(
      "\r\n\r\n"
      R"({"delayTime":5,"executionTime":2,"id":"a","output":[1],"status":"COMPLETED","workerId":"w0.1"})"));
  EXPECT_NE(request.find("\r\nBulkhead-Delivery: a.1700000000007\r\n"), std::string::npos);
  EXPECT_EQ(webhooks->counts().delivered, 1);
  EXPECT_EQ(webhooks->waiting(), 0U);
  EXPECT_TRUE(notices.empty());
}

TEST_F(WebhooksTest, PausesAndTriesAgain) {
  answer(500);
  deliver("a");
  fail_once();
  EXPECT_EQ(webhooks->wake_at(), clock.now().mono + 1s);
  clock.advance(999ms);
  webhooks->tick();
  rest();
  EXPECT_EQ(server.requests.size(), 1U);
  clock.advance(1ms);
  webhooks->tick();
  fail_once();
  EXPECT_EQ(webhooks->wake_at(), clock.now().mono + 2s);
  answer(200);
  clock.advance(2s);
  webhooks->tick();
  run_until([&] { return !settled.empty(); });
  EXPECT_EQ(notices, (std::vector<std::string>{"failing a: status 500", "working a: "}));
  EXPECT_EQ(webhooks->counts().failed_tries, 2);
  EXPECT_NE(server.requests.back().find("\r\nBulkhead-Attempt: 3\r\n"), std::string::npos);
}

TEST_F(WebhooksTest, IsGivenUpAfterTheLastTry) {
  options.retries.tries = 2;
  make(journal);
  answer(503);
  deliver("a");
  fail_once();
  clock.advance(1s);
  webhooks->tick();
  run_until([&] { return !settled.empty(); });
  EXPECT_EQ(notices.back(), "given up a: status 503, the last of 2 tries");
  EXPECT_EQ(webhooks->counts().given_up, 1);
  EXPECT_EQ(server.requests.size(), 2U);
}

TEST_F(WebhooksTest, IsGivenUpWhenItsTimeIsOver) {
  answer(500);
  deliver("a");
  fail_once();
  clock.advance(1h);
  webhooks->tick();
  EXPECT_EQ(settled, std::vector<std::string>{"a"});
  EXPECT_EQ(notices.size(), 2U);
  EXPECT_EQ(server.requests.size(), 1U);
}

TEST_F(WebhooksTest, AResultThatCannotBeReadIsAskedForAgain) {
  options.retries.tries = 2;
  make(journal);
  webhooks->deliver(job("a"), [this] { settled.emplace_back("a"); });  // the journal does not find it
  EXPECT_TRUE(settled.empty());
  clock.advance(1s);
  webhooks->tick();
  EXPECT_EQ(settled, std::vector<std::string>{"a"});
  EXPECT_TRUE(server.requests.empty());
}

TEST_F(WebhooksTest, CanBeAbandonedAtAnyTime) {
  SlowJournal slow;
  options.limits = {.at_once = 1, .per_host = 1, .per_slow_host = 1};
  make(slow);
  deliver("first");
  deliver("second");
  EXPECT_TRUE(webhooks->abandon("second"));  // in line
  EXPECT_TRUE(webhooks->abandon("first"));   // being read
  EXPECT_EQ(settled, (std::vector<std::string>{"second", "first"}));
  slow.asked.at(0).second(ended(job("first")));
  rest();
  EXPECT_TRUE(server.requests.empty());

  server.answer = [](const std::string&) { return ""; };
  deliver("third");
  slow.asked.at(1).second(ended(job("third")));
  run_until([&] { return server.requests.size() == 1; });
  EXPECT_TRUE(webhooks->abandon("third"));  // being sent

  answer(500);
  deliver("fourth");
  slow.asked.at(2).second(ended(job("fourth")));
  fail_once();
  EXPECT_TRUE(webhooks->abandon("fourth"));  // pausing
  EXPECT_FALSE(webhooks->abandon("fourth"));
  EXPECT_FALSE(webhooks->wake_at());
  EXPECT_EQ(settled.size(), 4U);
  EXPECT_EQ(webhooks->waiting(), 0U);

  answer(200);
  deliver("fifth");  // and every place is free again
  slow.asked.at(3).second(ended(job("fifth")));
  run_until([&] { return settled.size() == 5; });
}

TEST_F(WebhooksTest, OnlySoManyBytesAreBeingSent) {
  SlowJournal slow;
  options.body_bytes_max = 100;
  make(slow);
  server.answer = [](const std::string&) { return ""; };
  for (int i = 0; i < 10; ++i) deliver(std::to_string(i));
  EXPECT_EQ(slow.asked.size(), 4U);  // results being read at a time
  for (std::size_t i = 0; i < slow.asked.size(); ++i) slow.asked[i].second(ended(job(slow.asked[i].first)));
  EXPECT_LE(slow.asked.size(), 5U);
  run_until([&] { return server.requests.size() == slow.asked.size(); });
}

TEST_F(WebhooksTest, AtADrainNothingIsTriedASecondTime) {
  answer(500);
  deliver("pausing");
  fail_once();
  server.answer = [](const std::string&) { return ""; };
  deliver("hanging");
  run_until([&] { return server.requests.size() == 2; });
  bool idle = false;
  webhooks->drain([&] { idle = true; });
  EXPECT_FALSE(idle);
  EXPECT_FALSE(webhooks->wake_at());
  clock.advance(1h);
  webhooks->tick();
  EXPECT_EQ(webhooks->waiting(), 2U);
  EXPECT_TRUE(webhooks->abandon("hanging"));
  EXPECT_TRUE(idle);
  EXPECT_EQ(webhooks->waiting(), 1U);  // for the next start
}

class QueueTest : public WebhooksTest {
 protected:
  testing::FakeWorkers workers;
  Dispatcher dispatcher{{}, clock, journal, 1, [] { return 1.0; }};
  EmbeddedQueue queue{{}, clock, dispatcher, journal, [] { return HealthView(); }};

  void SetUp() override {
    options.waiting_max = 2;
    WebhooksTest::SetUp();
    dispatcher.set_workers(workers);
    dispatcher.set_source(queue);
    dispatcher.ready(1, "w0.1", 4, 0);
    queue.set_webhooks(*webhooks);
  }
  Accepted submit(const Job& job) {
    Accepted answer;
    queue.submit(job, [&](Accepted accepted) { answer = std::move(accepted); });
    return answer;
  }
  void fail(RunNumber run, const std::string& id) {
    journal.remembered.insert_or_assign(id, ended(job(id), Status::Failed));
    dispatcher.failed(run, 1, Payload::of("\"e\""), {}, 1ms, false);
  }
  bool is_settled(const std::string& id) {
    return std::find(journal.lines.begin(), journal.lines.end(), "settle " + id) != journal.lines.end();
  }
};

TEST_F(QueueTest, AJobIsSettledWhenItsWebhookWasTaken) {
  submit(job("a"));
  fail(1, "a");
  EXPECT_FALSE(is_settled("a"));
  run_until([&] { return is_settled("a"); });
  submit(testing::make_job("without"));
  fail(2, "without");
  EXPECT_TRUE(is_settled("without"));
}

TEST_F(QueueTest, WhenTooManyWaitFurtherOnesAreRefused) {
  server.answer = [](const std::string&) { return ""; };
  submit(job("a"));
  submit(job("b"));
  fail(1, "a");
  EXPECT_EQ(submit(job("c")).refusal, Refusal::None);
  fail(2, "b");
  EXPECT_EQ(submit(job("d")).refusal, Refusal::Full);
  EXPECT_EQ(submit(testing::make_job("without")).refusal, Refusal::None);
  webhooks->abandon("a");
  EXPECT_EQ(submit(job("d")).refusal, Refusal::None);
}

TEST_F(QueueTest, ARetryReplacesWhatWasNotDelivered) {
  answer(500);
  submit(job("a"));
  fail(1, "a");
  fail_once();
  std::optional<Accepted> answer;
  queue.retry("a", [&](std::optional<Accepted> given) { answer = std::move(given); });
  EXPECT_EQ(answer->refusal, Refusal::None);
  EXPECT_EQ(webhooks->waiting(), 0U);
}

TEST_F(QueueTest, ARetryThatIsRefusedLosesNoWebhook) {
  answer(500);
  submit(job("a"));
  fail(1, "a");
  fail_once();
  dispatcher.drain();
  std::optional<Accepted> refused;
  queue.retry("a", [&](std::optional<Accepted> given) { refused = std::move(given); });
  EXPECT_EQ(refused->refusal, Refusal::Draining);
  EXPECT_EQ(webhooks->waiting(), 1U);
  answer(200);
  run_until([&] { return webhooks->counts().delivered == 1; });
}

}  // namespace
}  // namespace bulkhead
