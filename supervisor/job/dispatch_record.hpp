// What the dispatcher knows of one job. For dispatcher.cpp and its kind alone.

#pragma once

#include <chrono>
#include <functional>
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
  Outcome outcome;
};

}  // namespace bulkhead
