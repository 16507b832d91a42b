// Answers that go on: server-sent events of a job, and OpenAI's routes.

#include <gtest/gtest.h>

#include "tests/http/rig.hpp"

namespace bulkhead::http {
namespace {

const std::string kBody = R"({"input": {"n": 1}})";
const std::string kAccept = "Accept: text/event-stream\r\n";

class Events : public testing::Test {
 protected:
  Events() {
    rig.on_thread([&] { rig.endpoint.complete_at_once = false; });
  }

  std::string queued() { return id_of(client.post("/run", kBody).body); }
  void start(const std::string& id) {
    rig.on_thread([&] {
      rig.endpoint.change(id, [](auto& entry) {
        entry.status = Status::InProgress;
        entry.started_ms = entry.job.submitted_ms + 3;
        entry.worker_id = "w-1";
        entry.attempts = 1;
      });
    });
  }
  void chunk(const std::string& id, const std::string& json) {
    rig.on_thread([&] { rig.endpoint.chunk(id, json); });
  }
  void finish(const std::string& id, Status status, const std::string& output, const std::string& error = "") {
    rig.on_thread([&] {
      rig.endpoint.finish(id, status, output.empty() ? Payload() : Payload::of(output),
                          error.empty() ? Payload() : Payload::of(error));
    });
  }
  /// The id of the one job there is.
  std::string only_job() {
    rig.wait_for([&] { return rig.endpoint.entries.size() == 1 && rig.endpoint.followers.size() == 1; });
    return rig.on_thread([&] { return rig.endpoint.entries.begin()->first; });
  }
  /// The next event's text, with the job's id replaced.
  std::string event(const std::string& id) {
    std::string text = client.receive_chunk();
    for (std::size_t at; (at = text.find(id)) != std::string::npos;) text.replace(at, id.size(), "ID");
    return text;
  }

  Rig rig;
  Client client{rig};
};

TEST_F(Events, TellAJobsWholeLife) {
  std::string id = queued();
  client.send(request("GET", "/stream/" + id, "", kAccept));
  Response head = client.receive(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-type"), "text/event-stream");
  EXPECT_EQ(head.header("transfer-encoding"), "chunked");
  EXPECT_EQ(head.header("cache-control"), "no-store");
  EXPECT_EQ(event(id), "event: status\ndata: {\"delayTime\":0,\"id\":\"ID\",\"status\":\"IN_QUEUE\"}\n\n");
  start(id);
  EXPECT_EQ(event(id),
            "event: status\ndata: {\"delayTime\":3,\"executionTime\":0,\"id\":\"ID\","
            "\"status\":\"IN_PROGRESS\",\"workerId\":\"w-1\"}\n\n");
  chunk(id, "\"a\"");
  EXPECT_EQ(event(id), "id: 1\nevent: chunk\ndata: {\"output\":\"a\"}\n\n");
  rig.on_thread([&] { rig.endpoint.change(id, [](auto& entry) { entry.output = Payload::of("{\n\"done\": 50}"); }); });
  EXPECT_EQ(event(id),
            "event: progress\ndata: {\"delayTime\":3,\"executionTime\":0,\"id\":\"ID\","
            "\"output\":{ \"done\": 50},\"status\":\"IN_PROGRESS\",\"workerId\":\"w-1\"}\n\n");
  chunk(id, "[1,\r\n2]");
  EXPECT_EQ(event(id), "id: 2\nevent: chunk\ndata: {\"output\":[1,  2]}\n\n");
  finish(id, Status::Completed, "[]");
  EXPECT_EQ(event(id),
            "event: done\ndata: {\"delayTime\":7,\"executionTime\":5,\"id\":\"ID\",\"output\":[],"
            "\"status\":\"COMPLETED\",\"workerId\":\"w-1\"}\n\n");
  EXPECT_EQ(client.receive_chunk(), "");
  EXPECT_EQ(client.get("/health").status, 200);  // the connection goes on
}

TEST_F(Events, AreResumedBehindTheLastOne) {
  std::string id = queued();
  for (int i = 1; i <= 5; ++i) chunk(id, std::to_string(i));
  finish(id, Status::Completed, "");
  client.send(request("GET", "/stream/" + id, "", kAccept + "Last-Event-ID: 3\r\n"));
  EXPECT_EQ(client.receive(true).status, 200);
  EXPECT_EQ(event(id), "id: 4\nevent: chunk\ndata: {\"output\":4}\n\nid: 5\nevent: chunk\ndata: {\"output\":5}\n\n");
  EXPECT_TRUE(event(id).starts_with("event: done\n"));
  EXPECT_EQ(client.receive_chunk(), "");
  for (const char* bad : {"x", "-1", "99999999999"}) {
    client.send(request("GET", "/stream/" + id, "", kAccept + "Last-Event-ID: " + bad + "\r\n"));
    EXPECT_EQ(client.receive().status, 400);
  }
}

TEST_F(Events, OfALongStreamKeepNoStack) {
  std::string id = queued();
  rig.on_thread([&] {
    rig.endpoint.batch = 1;
    for (int i = 0; i < 20'000; ++i) rig.endpoint.chunk(id, std::to_string(i));
    rig.endpoint.finish(id, Status::Completed, {});
  });
  client.send(request("GET", "/stream/" + id, "", kAccept));
  client.receive(true);
  int chunks = 0;
  for (std::string text; !(text = client.receive_chunk()).empty();) chunks += text.starts_with("id: ");
  EXPECT_EQ(chunks, 20'000);
}

TEST_F(Events, ASlowReaderIsNotSentMoreThanItTakes) {
  std::string id = queued();
  rig.on_thread([&] {
    rig.endpoint.batch = 1;
    for (int i = 0; i < 100; ++i) rig.endpoint.chunk(id, "\"" + std::string(1'000'000, 'x') + "\"");
    rig.endpoint.finish(id, Status::Completed, {});
  });
  client.send(request("GET", "/stream/" + id, "", kAccept));
  client.receive(true);
  // What the kernel takes is on its way; the rest is not even asked for. Then all of it arrives.
  std::size_t bytes = 0;
  for (std::string text; !(text = client.receive_chunk()).empty();) bytes += text.size();
  EXPECT_GT(bytes, 100'000'000U);
}

TEST_F(Events, OfUnknownJobsAre404) {
  client.send(request("GET", "/stream/nobody", "", kAccept));
  EXPECT_EQ(client.receive().status, 404);
}

TEST_F(Events, EndWithTheConnectionForHttp10) {
  std::string id = queued();
  chunk(id, "1");
  finish(id, Status::Completed, "");
  client.send("GET /stream/" + id + " HTTP/1.0\r\nAccept: text/event-stream\r\nConnection: keep-alive\r\n\r\n");
  Response head = client.receive(true);
  EXPECT_EQ(head.header("transfer-encoding"), "");
  EXPECT_EQ(head.header("connection"), "close");
  std::string all = client.receive_all();
  EXPECT_TRUE(all.starts_with("id: 1\nevent: chunk\ndata: {\"output\":1}\n\nevent: done\n")) << all;
}

TEST_F(Events, AreGivenUpWhenTheClientHangsUp) {
  std::string id = queued();
  {
    Client other(rig);
    other.send(request("GET", "/stream/" + id, "", kAccept));
    other.receive(true);
    rig.wait_for([&] { return rig.endpoint.followers.size() == 1; });
  }
  rig.wait_for([&] { return rig.endpoint.followers.empty() && rig.server->connections() == 1; });
}

TEST_F(Events, PollingStaysAsItWas) {
  std::string id = queued();
  rig.on_thread([&] { rig.endpoint.entries.at(id).chunks = {Payload::of("1")}; });
  EXPECT_NE(client.get("/stream/" + id).body.find("\"stream\":[{\"output\":1}]"), std::string::npos);
}

// ---- OpenAI ----

const std::string kChat = R"({"model":"m","messages":[],"stream":true})";

TEST_F(Events, OpenAiCallsBecomeJobs) {
  client.send(request("POST", "/v2/abc/openai/v1/chat/completions", kChat));
  std::string id = only_job();
  Job job = rig.on_thread([&] { return rig.endpoint.entries.at(id).job; });
  EXPECT_EQ(job.input.bytes(), R"({"openai_route":"/v1/chat/completions","openai_input":)" + kChat + "}");
  client.close();
  Client models(rig);
  models.send(request("GET", "/openai/v1/models"));
  rig.wait_for([&] { return rig.endpoint.entries.size() == 2; });
  auto inputs = rig.on_thread([&] {
    std::vector<std::string> texts;
    for (auto& [job_id, entry] : rig.endpoint.entries) texts.emplace_back(entry.job.input.bytes());
    return texts;
  });
  EXPECT_NE(std::find(inputs.begin(), inputs.end(), R"({"openai_route":"/v1/models"})"), inputs.end());
}

TEST_F(Events, OpenAiChunksGoOutAsTheyCome) {
  client.send(request("POST", "/openai/v1/chat/completions", kChat));
  std::string id = only_job();
  chunk(id, R"("data: {\"x\":1}\n\n")");
  Response head = client.receive(true);
  EXPECT_EQ(head.header("content-type"), "text/event-stream");
  EXPECT_EQ(client.receive_chunk(), "data: {\"x\":1}\n\n");
  chunk(id, "{\"y\":\n2}");
  EXPECT_EQ(client.receive_chunk(), "data: {\"y\": 2}\n\n");
  chunk(id, R"("data: [DONE]\n\n")");
  EXPECT_EQ(client.receive_chunk(), "data: [DONE]\n\n");
  finish(id, Status::Completed, "[]");
  EXPECT_EQ(client.receive_chunk(), "");
}

TEST_F(Events, OpenAiStreamsEndWithDoneEvenIfTheHandlerForgetsIt) {
  client.send(request("POST", "/openai/v1/completions", kChat));
  finish(only_job(), Status::Completed, R"([{"a":1},"data: raw\n\n"])");  // an aggregated stream
  client.receive(true);
  EXPECT_EQ(client.receive_chunk(), "data: {\"a\":1}\n\ndata: raw\n\ndata: [DONE]\n\n");
  EXPECT_EQ(client.receive_chunk(), "");
}

TEST_F(Events, OpenAiResultsAreTheHandlersOwnObject) {
  struct {
    std::vector<std::string> chunks;
    const char* output;
    const char* body;
  } rows[] = {{{}, R"({"object":"x"})", R"({"object":"x"})"},
              {{}, R"([{"object":"x"}])", R"({"object":"x"})"},
              {{R"({"object":"c"})"}, "[]", R"({"object":"c"})"},
              {{"1", "2"}, "[1,2]", "[1,2]"},
              {{}, "", "{}"}};
  for (auto& row : rows) {
    client.send(request("POST", "/openai/v1/completions", R"({"model":"m"})"));
    std::string id = only_job();
    for (const std::string& text : row.chunks) chunk(id, text);
    finish(id, Status::Completed, row.output);
    Response response = client.receive();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, row.body);
    rig.on_thread([&] { rig.endpoint.entries.clear(); });
  }
}

TEST_F(Events, OpenAiFailuresHaveItsShape) {
  const std::string shape = R"({"error":{"message":"boom","type":"server_error","code":"job_failed","param":null}})";
  client.send(request("POST", "/openai/v1/completions", "{}"));
  finish(only_job(), Status::Failed, "", "\"boom\"");
  Response response = client.receive();
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, shape);
  rig.on_thread([&] { rig.endpoint.entries.clear(); });

  client.send(request("POST", "/openai/v1/completions", kChat));
  std::string id = only_job();
  chunk(id, "1");
  client.receive(true);
  EXPECT_EQ(client.receive_chunk(), "data: 1\n\n");
  finish(id, Status::Failed, "", "\"boom\"");
  EXPECT_EQ(client.receive_chunk(), "data: " + shape + "\n\n");
  EXPECT_EQ(client.receive_chunk(), "");

  for (const char* bad : {"", "[]", "{", "{\"a\":1,\"a\":2}"}) {
    EXPECT_EQ(client.post("/openai/v1/completions", bad).status, 400) << bad;
  }
  EXPECT_EQ(client.post("/openai", "{}").status, 404);
}

TEST_F(Events, AnOpenAiClientThatLeavesCancelsItsJob) {
  for (const std::string& body : {kChat, std::string("{}")}) {
    std::string id;
    {
      Client other(rig);
      other.send(request("POST", "/openai/v1/completions", body));
      id = only_job();
    }
    rig.wait_for([&] { return rig.endpoint.entries.at(id).status == Status::Cancelled; });
    rig.on_thread([&] { rig.endpoint.entries.clear(); });
  }
}

}  // namespace
}  // namespace bulkhead::http
