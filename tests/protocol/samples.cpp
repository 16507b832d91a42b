#include "samples.hpp"

namespace bulkhead::protocol {

const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = {
      {"hello", FromChild(Hello{.pid = 4711, .sdk = "bulkhead-c/0.1.0"}), R"([1,1,2,4711,"bulkhead-c/0.1.0",[]])"},
      {"hello_held",
       FromChild(Hello{.pid = 4711,
                       .sdk = "bulkhead-c/0.1.0",
                       .held = {{.run = 70000,
                                 .job_id = "b1946ac9-u1",
                                 .attempt = 2,
                                 .entered = true,
                                 .next_seq = 9,
                                 .first_kept = 7,
                                 .chunks = 5},
                                {.run = 70001, .job_id = "sync-5d41402a", .attempt = 1}}}),
       R"([1,1,2,4711,"bulkhead-c/0.1.0",[[70000,"b1946ac9-u1",2,true,9,7,5],[70001,"sync-5d41402a",1,false,1,1,0]]])"},
      {"ready", FromChild(Ready{.concurrency = 1000}), "[2,1000]"},
      {"started", FromChild(Started{.run = 300}), "[3,300]"},
      {"progress", FromChild(Progress{.run = 300, .body = R"({"page":3,"of":12})"}), "[4,300]"},
      {"chunk", FromChild(Chunk{.run = 300, .seq = 65536, .body = R"("tok")"}), "[5,300,65536]"},
      {"log", FromChild(Log{.run = 300, .level = Level::Warn, .text = "schon 80 % der Zeit f\u00fcr Seite 3"}),
       "[6,300,3]"},
      {"log_outside", FromChild(Log{.run = 0, .level = Level::Info, .text = "model loaded"}), "[6,0,2]"},
      {"checkpoint", FromChild(Checkpoint{.run = 300, .seq = 2, .body = std::string_view("\x00\xff\n", 3)}),
       "[7,300,2]"},
      {"done", FromChild(Done{.run = 0x123456789abcdef0, .seq = 1, .run_time_us = 51234, .output = R"({"text":"ok"})"}),
       "[8,1311768467463790320,1,51234,false]"},
      {"done_refresh", FromChild(Done{.run = 300, .seq = 4, .run_time_us = 5'000'000'000, .refresh_worker = true}),
       "[8,300,4,5000000000,true]"},
      {"failed", FromChild(Failed{.run = 300, .seq = 3, .run_time_us = 17, .error = R"({"error_type":"ValueError"})"}),
       "[9,300,3,17,false]"},
      {"failed_output",
       FromChild(Failed{.run = 300,
                        .seq = 3,
                        .run_time_us = 17,
                        .refresh_worker = true,
                        .error = R"("no page 7")",
                        .output = R"({"pages":6})"}),
       "[9,300,3,17,true]"},
      {"hand_back", FromChild(HandBack{.run = 301, .seq = 1}), "[10,301,1]"},
      {"heartbeat", FromChild(Heartbeat{.cpu_time_us = 98'765'432}), "[11,98765432]"},

      {"welcome",
       ToChild(Welcome{.worker_id = "w0.3",
                       .heartbeat_ms = 500,
                       .chunk_window = 32,
                       .chunk_window_bytes = 1 << 20,
                       .max_body = 20 << 20,
                       .max_chunk = 1 << 20,
                       .orphan_timeout_ms = 30'000,
                       .orphan_buffer = 4096,
                       .max_checkpoint = 64 << 20}),
       R"([32,2,"w0.3",500,32,1048576,20971520,1048576,30000,[],4096,67108864])"},
      {"welcome_seen",
       ToChild(Welcome{.worker_id = "w0.3", .seen = {{.run = 70000, .seq = 8}, {.run = 70001, .seq = 0}}}),
       R"([32,2,"w0.3",1000,64,4194304,20971520,1048576,0,[[70000,8],[70001,0]],1048576,0])"},
      {"refuse", ToChild(Refuse{.reason = RefuseReason::Version, .text = "build the handler with a newer SDK"}),
       R"([33,2,"build the handler with a newer SDK"])"},
      {"run_job",
       ToChild(RunJob{.run = 302, .job_id = "5d41402a-bc4b-2a76-b971-9d911017c592-u1", .input = R"({"n":1})"}),
       R"([34,302,"5d41402a-bc4b-2a76-b971-9d911017c592-u1",1,"",[],false])"},
      {"run_job_full",
       ToChild(RunJob{.run = 302,
                      .job_id = "7",
                      .attempt = 3,
                      .extra = R"({"s3Config":{}})",
                      .acks = {{.run = 300, .seq = 4}, {.run = 301, .seq = 1}},
                      .has_checkpoint = true,
                      .input = "null",
                      .checkpoint = std::string_view("\x00\xff\n", 3)}),
       R"([34,302,"7",3,"{\"s3Config\":{}}",[[300,4],[301,1]],true])"},
      {"cancel", ToChild(Cancel{.run = 300, .reason = CancelReason::Timeout}), "[35,300,2]"},
      {"recall", ToChild(Recall{.run = 301}), "[36,301]"},
      {"ack", ToChild(Ack{.run = 300, .seq = 65536}), "[37,300,65536]"},
      {"stop", ToChild(Stop{.grace_ms = 10'000}), "[38,10000]"},
  };
  return all;
}

Frames frames_of(const std::variant<FromChild, ToChild>& message) {
  Frames frames;
  std::visit(
      [&frames](const auto& side) {
        encode(side, frames.envelope);
        const Bodies all = bodies(side);
        frames.body.assign(all.frame, all.frame + all.count);
      },
      message);
  return frames;
}

}  // namespace bulkhead::protocol
