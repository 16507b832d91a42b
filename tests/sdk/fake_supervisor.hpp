// The supervisor's end of the wire, in the hands of a test: starts one handler program and speaks the protocol to it.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/message.hpp"

namespace bulkhead::test {

/// A job as a test writes it down. Texts are JSON.
struct Submission {
  std::string input = "null";
  std::string extra = {};
  std::optional<std::string> checkpoint = {};
  std::uint32_t attempt = 1;
};

/// All that a run has said. Texts are JSON.
struct Said {
  bool done = false;
  bool failed = false;
  bool refresh_worker = false;
  std::string output;
  std::string error;
  std::vector<std::string> chunks;
  std::vector<std::string> progress;
  std::vector<std::string> checkpoints;
  std::vector<std::pair<protocol::Level, std::string>> log;
  bool ended() const { return done || failed; }
};

class FakeSupervisor {
 public:
  struct Settings {
    std::uint32_t chunk_window = 64;
    std::uint64_t max_body = 20 << 20;
    std::uint64_t max_chunk = 1 << 20;
    bool acknowledge = true;  ///< else by acknowledge() only
  };

  /// Starts `program` (a path, then arguments) and waits until it is ready.
  explicit FakeSupervisor(const std::vector<std::string>& program);
  FakeSupervisor(const std::vector<std::string>& program, Settings settings);
  /// Ends the program, by force where needed.
  ~FakeSupervisor();
  FakeSupervisor(const FakeSupervisor&) = delete;
  FakeSupervisor& operator=(const FakeSupervisor&) = delete;

  protocol::Run submit(const Submission& submission);
  protocol::Run submit(std::string input) { return submit(Submission{.input = std::move(input)}); }
  void cancel(protocol::Run run, protocol::CancelReason reason);
  /// Of everything the run has said so far.
  void acknowledge(protocol::Run run);

  /// Receives until `condition` holds. Throws std::runtime_error after half a minute.
  void until(const std::function<bool()>& condition);
  const Said& said(protocol::Run run) { return runs_[run].said; }
  /// Waits for the result.
  const Said& result(protocol::Run run);
  const Said& run(std::string input) { return result(submit(std::move(input))); }

  /// What the program said last about its concurrency.
  std::uint32_t concurrency() const { return concurrency_; }
  const std::string& sdk() const { return sdk_; }

  /// Tells the program to stop, and waits for its end. The exit code; negative: the signal that killed it.
  int stop();
  /// Goes away without a word, and waits for the program's end.
  int vanish();

 private:
  struct Run {
    Said said;
    std::uint32_t seq = 0;
  };
  struct Visitor;

  void start(const std::vector<std::string>& program);
  bool receive(std::chrono::milliseconds most);
  void send(const protocol::ToChild& message);
  void took(protocol::Run run, std::uint32_t seq);
  int await_end();
  void close_socket();

  const Settings settings_;
  std::filesystem::path directory_;
  void* context_;
  void* socket_;
  std::string routing_id_;
  std::string sdk_;
  pid_t pid_ = -1;
  std::uint32_t concurrency_ = 0;
  protocol::Run last_run_ = 0;
  std::map<protocol::Run, Run> runs_;
};

}  // namespace bulkhead::test
