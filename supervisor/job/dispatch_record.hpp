// What the dispatcher knows of one job. For dispatcher.cpp and its kind alone.

#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "supervisor/job/dispatcher.hpp"

namespace bulkhead {

struct Dispatcher::Record : QueuePlace, Deadlined {
  Job job;
  State state = State::Accepting;
  Why why = Why::None;
  Source* source = nullptr;
  std::function<void(Accepted)> answer;
  std::error_code refusal;  ///< why it could not be made durable

  int attempts = 0;
  int bystander = 0;
  RunNumber run = 0;
  WorkerNumber worker = 0;
  bool in_window = false;
  bool worker_gone = false;
  std::uint32_t result_seq = 0;
  std::uint32_t chunks = 0;  ///< the highest number so far
  std::uint32_t base = 0;    ///< of an attempt that was taken up: what its numbers go on from …
  std::uint32_t stored = 0;  ///< … and up to where the journal has its chunks
  Instant started;
  std::chrono::microseconds run_time{0};
  std::chrono::steady_clock::time_point expires;
  Payload checkpoint;
  bool from_checkpoint = false;  ///< the attempt under way began with it
  Payload history;               ///< of the attempts that are over
  std::optional<Loss> loss;      ///< how the last of them was lost
  std::string fingerprint;       ///< of its input, once somebody asked

  // Whether it stalls; where its policy looks at that.
  std::chrono::steady_clock::time_point last_sign, looked;
  std::optional<std::chrono::microseconds> cpu_time;  ///< of its child, at the last look
  bool examined = false;                              ///< it has stalled, and its stacks are being taken
  Payload stall_record;
  Outcome outcome;
};

/// In the form of a crash record: an object, as the text of a string. `message` needs no escaping.
inline Payload lost_error(const std::string& message, int attempt) {
  return Payload::of(R"("{\"error_type\":\"WorkerLost\",\"error_message\":\")" + message + R"(\",\"attempt\":)" +
                     std::to_string(attempt) + R"(}")");
}

}  // namespace bulkhead
