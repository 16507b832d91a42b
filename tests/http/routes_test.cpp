// Each route of the endpoint API with the exact shape of its answers, per row of RunPod's contract.

#include <gtest/gtest.h>

#include <regex>

#include "tests/http/rig.hpp"

namespace bulkhead::http {
namespace {

const std::string kBody = R"({"input": {"n": 1}})";

/// The body with the job's id replaced, so that shapes can be compared as text.
std::string shape(const Response& response) {
  std::string id = id_of(response.body);
  std::string body = response.body;
  if (std::size_t at = body.find(id); !id.empty() && at != std::string::npos) body.replace(at, id.size(), "ID");
  return body;
}

std::string error_code(const Response& response) {
  std::smatch match;
  std::regex_search(response.body, match, std::regex(R"re(^\{"error":\{"code":"([a-z_]+)","message":"[^"])re"));
  return match[1];
}

class Routes : public testing::Test {
 protected:
  /// Submits a job that stays in the queue.
  std::string queued() {
    rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
    return id_of(client.post("/run", kBody).body);
  }
  void finish(const std::string& id, Status status, std::string output, std::string error = "") {
    rig.on_thread([&] {
      rig.endpoint.finish(id, status, output.empty() ? Payload() : Payload::of(output),
                          error.empty() ? Payload() : Payload::of(error));
    });
  }
  FakeEndpoint::Entry entry(const std::string& id) {
    return rig.on_thread([&] { return rig.endpoint.entries.at(id); });
  }

  Rig rig;
  Client client{rig};
};

TEST_F(Routes, RunAnswersIdAndState) {
  Response response = client.post("/run", kBody);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("content-type"), "application/json");
  EXPECT_EQ(shape(response), R"({"id":"ID","status":"IN_QUEUE"})");
  EXPECT_TRUE(std::regex_match(id_of(response.body), std::regex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-u1")));
}

TEST_F(Routes, AnIdBeginsWithTheTimeAndGoesOnAtRandom) {
  std::string first = queued(), second = queued();
  std::string digits = first.substr(0, 8) + first.substr(9, 4);
  EXPECT_EQ(std::stoll(digits, nullptr, 16), entry(first).job.submitted_ms);
  EXPECT_EQ(first[14], '7') << "the version: " << first;
  EXPECT_NE(first.substr(15), second.substr(15));
}

TEST_F(Routes, TheJobIsWhatTheClientSaid) {
  std::string id = id_of(client
                             .post("/run", R"({"webhook":"http://x/y","input":  {"n" :1e999} ,
    "policy":{"executionTimeout":7000,"ttl":11000,"lowPriority":true},"s3Config":{"accessId":"a"},"other":3})")
                             .body);
  Job job = entry(id).job;
  EXPECT_EQ(job.id, id);
  EXPECT_EQ(job.input.bytes(), R"({"n" :1e999})");
  EXPECT_EQ(job.extra.bytes(), R"({"s3Config":{"accessId":"a"}})");
  EXPECT_EQ(job.webhook, "http://x/y");
  EXPECT_EQ(job.policy.execution_timeout.count(), 7000);
  EXPECT_EQ(job.policy.ttl.count(), 11000);
  EXPECT_TRUE(job.policy.low_priority);
  EXPECT_EQ(job.submitted_ms, rig.clock.wall_ms);
  EXPECT_FALSE(job.sync);
}

TEST_F(Routes, EveryPathWorksUnderAnyEndpointsName) {
  for (const char* path : {"/run", "/v2/abc/run", "/v2/x-1_y/run", "//v2//abc//run", "/run/", "/v2/run/run",
                           "http://localhost/v2/abc/run", "/run?x=y"}) {
    EXPECT_EQ(client.post(path, kBody).status, 200) << path;
  }
  for (const char* path : {"/v2",
                           "/v2/run",
                           "/v2/abc",
                           "/Run",
                           "/run/x",
                           "/status",
                           "/status/",
                           "/status/a/b",
                           "/status/%2e%2e",
                           "/../run",
                           "/run%00",
                           "/v3/abc/run",
                           "/v2/a/b/run",
                           "/status/a.b",
                           "*",
                           "http://localhost",
                           "run",
                           "?run",
                           "x://y/run",
                           "http:///run",
                           "http:/run",
                           "/v2/../run",
                           "/v2/%2e%2e/run",
                           "/v2/a.b/run",
                           "/openai/v1/../../run",
                           "/openai/./v1",
                           "/openai/v1/%2E%2e/run",
                           "/openai/v1/.%2e"}) {
    EXPECT_EQ(client.post(path, kBody).status, 404) << path;
  }
}

TEST_F(Routes, RunsyncAnswersTheFinishedJob) {
  Response response = client.post("/runsync", kBody);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(shape(response),
            R"({"delayTime":7,"executionTime":5,"id":"ID","output":{"n": 1},"status":"COMPLETED","workerId":"w-1"})");
  EXPECT_TRUE(id_of(response.body).starts_with("sync-"));
  EXPECT_TRUE(entry(id_of(response.body)).job.sync);
}

TEST_F(Routes, RunsyncAnswersTheStateWhenTheWaitIsOver) {
  rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
  client.send(request("POST", "/runsync?wait=1000", kBody));
  rig.wait_for([&] { return !rig.endpoint.waiters.empty(); });
  rig.clock.wall_ms += 1000;
  rig.on_thread([&] { rig.endpoint.time_over(); });
  Response response = client.receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(shape(response), R"({"delayTime":1000,"id":"ID","status":"IN_QUEUE"})");
}

TEST_F(Routes, TheWaitIsClamped) {
  rig.on_thread([&] { rig.endpoint.complete_at_once = true; });
  for (const char* query : {"", "?wait=1", "?wait=5000", "?wait=999999999", "?x=1&wait=2000", "?wait=-5"}) {
    client.post(std::string("/runsync") + query, kBody);
  }
  auto waits = rig.on_thread([&] { return rig.endpoint.waits; });
  std::vector<milliseconds> expected{milliseconds(90'000),  milliseconds(1'000), milliseconds(5'000),
                                     milliseconds(300'000), milliseconds(2'000), milliseconds(1'000)};
  EXPECT_EQ(waits, expected);
  for (const char* query : {"?wait=", "?wait=abc", "?wait=1s", "?wait=1.5"}) {
    EXPECT_EQ(error_code(client.post(std::string("/runsync") + query, kBody)), "invalid_request") << query;
  }
}

TEST_F(Routes, StatusOfEachState) {
  std::string id = queued();
  rig.clock.wall_ms += 100;
  EXPECT_EQ(shape(client.get("/status/" + id)), R"({"delayTime":100,"id":"ID","status":"IN_QUEUE"})");
  rig.on_thread([&] {
    auto& entry = rig.endpoint.entries.at(id);
    entry.status = Status::InProgress;
    entry.started_ms = entry.job.submitted_ms + 40;
    entry.worker_id = "w-2";
    entry.output = Payload::of("\"half way\"");
    entry.attempts = 1;
  });
  EXPECT_EQ(shape(client.get("/status/" + id)), R"({"delayTime":40,"executionTime":60,"id":"ID","output":"half way",)"
                                                R"("status":"IN_PROGRESS","workerId":"w-2"})");
  finish(id, Status::Completed, "[1]");
  EXPECT_EQ(shape(client.get("/status/" + id)), R"({"delayTime":7,"executionTime":5,"id":"ID","output":[1],)"
                                                R"("status":"COMPLETED","workerId":"w-1"})");
  finish(id, Status::Completed, "");
  EXPECT_EQ(shape(client.get("/status/" + id)),
            R"({"delayTime":7,"executionTime":5,"id":"ID","status":"COMPLETED","workerId":"w-1"})");
  finish(id, Status::Failed, "", R"("boom")");
  EXPECT_EQ(shape(client.get("/status/" + id)), R"({"delayTime":7,"error":"boom","executionTime":5,"id":"ID",)"
                                                R"("status":"FAILED","workerId":"w-1"})");
  rig.on_thread([&] { rig.endpoint.entries.at(id).attempts = 3; });
  finish(id, Status::Failed, R"({"x":2})", R"({"code":1})");
  EXPECT_EQ(shape(client.get("/status/" + id)), R"({"delayTime":7,"error":{"code":1},"executionTime":5,"id":"ID",)"
                                                R"("output":{"x":2},"retries":2,"status":"FAILED","workerId":"w-1"})");
  finish(id, Status::TimedOut, "");
  EXPECT_NE(client.get("/status/" + id).body.find(R"("status":"TIMED_OUT")"), std::string::npos);
}

TEST_F(Routes, AJobThatNeverHadAWorkerStillHasAllMembersAtItsEnd) {
  std::string id = queued();
  rig.on_thread([&] {
    auto& entry = rig.endpoint.entries.at(id);
    entry.status = Status::Cancelled;
    entry.finished_ms = entry.job.submitted_ms + 30;
  });
  EXPECT_EQ(shape(client.get("/status/" + id)),
            R"({"delayTime":30,"executionTime":0,"id":"ID","status":"CANCELLED","workerId":""})");
}

TEST_F(Routes, StatusAndStreamTakeGetAndPost) {
  std::string id = queued();
  for (std::string path : {"/status/", "/stream/"}) {
    EXPECT_EQ(client.get(path + id).status, 200);
    EXPECT_EQ(client.post(path + id, "").status, 200);
    EXPECT_EQ(client.post(path + id, "{}").status, 200);
  }
}

TEST_F(Routes, StatusSyncWaitsForTheEnd) {
  std::string id = queued();
  client.send(request("GET", "/status-sync/" + id + "?wait=2000"));
  rig.wait_for([&] { return rig.endpoint.waiters.size() == 1; });
  finish(id, Status::Completed, "1");
  EXPECT_NE(client.receive().body.find(R"("status":"COMPLETED")"), std::string::npos);
  EXPECT_EQ(client.post("/status-sync/" + id, "").status, 200);
  EXPECT_EQ(rig.on_thread([&] { return rig.endpoint.waits.front(); }), milliseconds(2000));
}

TEST_F(Routes, StreamGivesEachChunkOnceAndTheRestWithTheEnd) {
  std::string id = queued();
  rig.on_thread([&] {
    auto& entry = rig.endpoint.entries.at(id);
    entry.status = Status::InProgress;
    entry.started_ms = entry.job.submitted_ms + 1;
    entry.chunks = {Payload::of("\"a\""), Payload::of("{\"b\":1}")};
  });
  EXPECT_EQ(shape(client.get("/stream/" + id)), R"({"delayTime":1,"id":"ID","status":"IN_PROGRESS",)"
                                                R"("stream":[{"output":"a"},{"output":{"b":1}}]})");
  EXPECT_EQ(shape(client.get("/stream/" + id)), R"({"delayTime":1,"id":"ID","status":"IN_PROGRESS","stream":[]})");
  rig.on_thread([&] { rig.endpoint.entries.at(id).chunks = {Payload::of("3")}; });
  finish(id, Status::Completed, "[]");
  EXPECT_EQ(shape(client.get("/stream/" + id)), R"({"delayTime":7,"executionTime":5,"id":"ID","output":[],)"
                                                R"("status":"COMPLETED","workerId":"w-1","stream":[{"output":3}]})");
}

TEST_F(Routes, StreamWaitsWhenItIsAskedTo) {
  std::string id = queued();
  for (const char* query : {"", "?wait=0", "?wait=5000", "?wait=1", "?wait=999999999"})
    client.get("/stream/" + id + query);
  std::vector<milliseconds> expected{milliseconds(0), milliseconds(0), milliseconds(5'000), milliseconds(1'000),
                                     milliseconds(300'000)};
  EXPECT_EQ(rig.on_thread([&] { return rig.endpoint.waits; }), expected);
  EXPECT_EQ(client.get("/stream/" + id + "?wait=soon").status, 400);
}

TEST_F(Routes, BatchesAreNotOffered) {
  for (const char* path : {"/batch", "/v2/abc/batch", "/v2/abc/batch/x/requests", "/batch/x/finalize"}) {
    Response response = client.post(path, "[]");
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_NE(response.body.find("/batch"), std::string::npos) << path;
    EXPECT_NE(response.body.find("/run"), std::string::npos) << path;
  }
}

TEST_F(Routes, CancelSaysWhatIsTrue) {
  std::string id = queued();
  EXPECT_EQ(shape(client.post("/cancel/" + id, "")), R"({"id":"ID","status":"CANCELLED"})");
  std::string done = queued();
  finish(done, Status::Completed, "1");
  EXPECT_EQ(shape(client.post("/cancel/" + done, "{}")), R"({"id":"ID","status":"COMPLETED"})");
}

TEST_F(Routes, PurgeAndHealth) {
  rig.on_thread([&] {
    rig.endpoint.purged = 3;
    rig.endpoint.health_view.jobs = {.completed = 1, .failed = 2, .in_progress = 3, .in_queue = 4, .retried = 5};
    rig.endpoint.health_view.workers = {
        .idle = 1, .initializing = 2, .ready = 3, .running = 4, .throttled = 5, .unhealthy = 6};
  });
  EXPECT_EQ(client.post("/purge-queue", "").body, R"({"removed":3,"status":"completed"})");
  EXPECT_EQ(client.get("/health").body,
            R"({"jobs":{"completed":1,"failed":2,"inProgress":3,"inQueue":4,"retried":5},)"
            R"("workers":{"idle":1,"initializing":2,"ready":3,"running":4,"throttled":5,"unhealthy":6}})");
}

TEST_F(Routes, RetryRunsWhatFailedOnceMore) {
  std::string id = queued();
  Response response = client.post("/retry/" + id, "");
  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(error_code(response), "not_failed");
  finish(id, Status::Failed, "", "\"x\"");
  EXPECT_EQ(shape(client.post("/retry/" + id, "{}")), R"({"id":"ID","status":"IN_QUEUE"})");
  EXPECT_EQ(client.post("/retry/nobody", "").status, 404);
}

TEST_F(Routes, RequestsListsWhatIsNotOver) {
  EXPECT_EQ(client.get("/requests").body, R"({"requests":[]})");
  std::string done = queued();
  finish(done, Status::Completed, "1");
  std::string id = queued();
  EXPECT_EQ(shape(client.get("/requests")), R"({"requests":[{"delayTime":0,"id":"ID","status":"IN_QUEUE"}]})");
}

TEST_F(Routes, TtlShortensRetention) {
  std::string id = queued();
  for (auto [query, ttl] : {std::pair("?ttl=5000", 5000), std::pair("?ttl=1", 1000)}) {
    EXPECT_EQ(client.get("/status/" + id + query).status, 200);
    EXPECT_EQ(entry(id).ttl.count(), ttl);
  }
  for (const char* query : {"?ttl=", "?ttl=x", "?ttl=-1"}) {
    EXPECT_EQ(client.get("/status/" + id + query).status, 400) << query;
  }
}

TEST_F(Routes, TheSameIdempotencyKeyGivesTheSameJob) {
  auto post = [&](const std::string& path, const std::string& key) {
    client.send(request("POST", path, kBody, "idempotency-key: " + key + "\r\n"));
    return client.receive();
  };
  Response first = post("/run", "k1");
  std::string id = id_of(first.body);
  EXPECT_EQ(shape(first), R"({"id":"ID","status":"IN_QUEUE"})");
  Response again = post("/run", "k1");
  EXPECT_EQ(id_of(again.body), id);
  EXPECT_EQ(shape(again), R"({"id":"ID","status":"COMPLETED"})");
  EXPECT_EQ(id_of(post("/runsync", "k1").body), id);
  EXPECT_NE(id_of(post("/run", "k2").body), id);
  EXPECT_EQ(post("/run", std::string(256, 'k')).status, 400);
}

TEST_F(Routes, UnknownJobsAre404) {
  for (std::string path : {"/status/", "/status-sync/", "/stream/"}) {
    Response response = client.get(path + "nobody-u1");
    EXPECT_EQ(response.status, 404);
    EXPECT_EQ(error_code(response), "unknown_job");
    EXPECT_NE(response.body.find("nobody-u1"), std::string::npos);
  }
  EXPECT_EQ(client.post("/cancel/nobody-u1", "").status, 404);
}

TEST_F(Routes, RefusalsOfTheEndpointHaveTheirStatus) {
  struct {
    Refusal refusal;
    int status;
    const char* code;
  } rows[] = {{Refusal::Full, 429, "queue_full"},
              {Refusal::Duplicate, 409, "duplicate"},
              {Refusal::Draining, 503, "draining"},
              {Refusal::StoreUnavailable, 503, "store_unavailable"}};
  for (auto& row : rows) {
    rig.on_thread([&] { rig.endpoint.next_answer = {row.refusal, "because \"so\""}; });
    for (const char* path : {"/run", "/runsync"}) {
      Response response = client.post(path, kBody);
      EXPECT_EQ(response.status, row.status);
      EXPECT_EQ(response.body, std::string(R"({"error":{"code":")") + row.code + R"(","message":"because \"so\""}})");
    }
  }
}

TEST_F(Routes, WrongMethodsAreToldTheRightOnes) {
  struct {
    const char* method;
    const char* path;
    const char* allow;
  } rows[] = {{"GET", "/run", "POST, OPTIONS"},
              {"PUT", "/run", "POST, OPTIONS"},
              {"DELETE", "/status/a", "GET, HEAD, POST, OPTIONS"},
              {"POST", "/health", "GET, HEAD, OPTIONS"},
              {"GET", "/cancel/a", "POST, OPTIONS"},
              {"GET", "/purge-queue", "POST, OPTIONS"},
              {"TRACE", "/health", "GET, HEAD, OPTIONS"},
              {"BREW", "/health", "GET, HEAD, OPTIONS"}};
  for (auto& row : rows) {
    client.send(request(row.method, row.path));
    Response response = client.receive();
    EXPECT_EQ(response.status, 405) << row.method << row.path;
    EXPECT_EQ(response.header("allow"), row.allow);
    EXPECT_EQ(error_code(response), "method_not_allowed");
  }
}

TEST_F(Routes, OptionsAndHead) {
  client.send(request("OPTIONS", "/run"));
  Response response = client.receive();
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(response.header("allow"), "POST, OPTIONS");
  client.send(request("OPTIONS", "*"));
  EXPECT_EQ(client.receive().status, 204);
  client.send(request("HEAD", "/health"));
  Response head = client.receive(true);
  Response get = client.get("/health");  // nothing of a body stands between
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-length"), get.header("content-length"));
  client.send(request("HEAD", "/stream/x"));
  EXPECT_EQ(client.receive(true).status, 405);
}

TEST(Keys, AreAskedForAndChecked) {
  Keys keys;
  keys.add("me", "secret-1");
  keys.add("you", "secret-2");
  Rig rig({}, std::move(keys));
  Client client(rig);
  auto with = [&](const std::string& authorization) {
    client.send(request("GET", "/health", "", authorization.empty() ? "" : "Authorization: " + authorization + "\r\n"));
    return client.receive();
  };
  EXPECT_EQ(with("Bearer secret-1").status, 200);
  EXPECT_EQ(with("bearer  secret-2").status, 200);
  EXPECT_EQ(with("secret-2").status, 200);
  for (const char* wrong :
       {"", "Bearer", "Bearer ", "Bearer secret-3", "Basic secret-1", "secret-", "me", "Bearer me"}) {
    Response response = with(wrong);
    EXPECT_EQ(response.status, 401) << wrong;
    EXPECT_EQ(response.header("www-authenticate"), "Bearer");
    EXPECT_EQ(error_code(response), "unauthorized");
  }
  client.send(request("POST", "/run", kBody));
  EXPECT_EQ(client.receive().status, 401);
  EXPECT_TRUE(rig.on_thread([&] { return rig.endpoint.entries.empty(); }));
}

TEST(RateLimits, AreOffUnlessConfiguredAndSayWhenToComeBack) {
  Rig rig({}, {}, "127.0.0.1:0", {{.path = "status", .per_window = 5, .at_once = 0}});
  Client client(rig);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.get("/status/x").status, 404);
  Response response = client.get("/status/x");
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(error_code(response), "rate_limited");
  EXPECT_EQ(response.header("retry-after"), "2");
  EXPECT_EQ(client.get("/health").status, 200);
  rig.clock.wall_ms += 2000;
  EXPECT_EQ(client.get("/status/x").status, 404);
  EXPECT_EQ(client.get("/status/x").status, 429);
}

TEST(RateLimits, BoundWhatRunsAtOnce) {
  Rig rig({}, {}, "127.0.0.1:0", {{.path = "runsync", .per_window = 0, .at_once = 1}});
  rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
  Client first(rig);
  Client second(rig);
  first.send(request("POST", "/runsync", kBody));
  rig.wait_for([&] { return rig.endpoint.waiters.size() == 1; });
  EXPECT_EQ(second.post("/runsync", kBody).status, 429);
  rig.on_thread([&] { rig.endpoint.time_over(); });
  EXPECT_EQ(first.receive().status, 200);
  // A client that hangs up gives its place back too.
  first.send(request("POST", "/runsync", kBody));
  rig.wait_for([&] { return rig.endpoint.waiters.size() == 1; });
  first.close();
  rig.wait_for([&] { return rig.server->connections() == 1; });
  rig.on_thread([&] { rig.endpoint.complete_at_once = true; });
  EXPECT_EQ(second.post("/runsync", kBody).status, 200);
}

}  // namespace
}  // namespace bulkhead::http
