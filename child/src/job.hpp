// One run of one job as this process knows it: what came with it, what must still reach the supervisor, and where it
// stands. Plain state, guarded by the session's mutex, but for the facts (fixed while the job runs) and the atomics.
//
//     Waiting ── entered ──> Running ── result given ──> Left ──────┐
//        └── recalled, or stopping ──> HandedBack ──────────────────┴── all acknowledged ──> Free, pooled
//
// The caller's handle is good while the run is Running; Left and HandedBack only keep what is not acknowledged.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "child/src/black_box_writer.hpp"
#include "child/src/body.hpp"
#include "child/src/link.hpp"
#include "protocol/message.hpp"

namespace bulkhead::child {

using Clock = std::chrono::steady_clock;

/// A reliable message that is not acknowledged yet.
struct Kept {
  enum class Kind : std::uint8_t { Chunk, Checkpoint, Done, Failed, HandBack };
  Kind kind = Kind::HandBack;
  bool refresh_worker = false;
  std::uint32_t seq = 0;
  std::uint64_t run_time_us = 0;
  Body first;   ///< chunk, checkpoint, output of Done, error of Failed
  Body second;  ///< output of Failed
};

/// As it goes on the wire; its views are those of `kept`.
protocol::FromChild describe(protocol::Run run, const Kept& kept);

/// The reliable messages of one run, in order, from the oldest that is not acknowledged.
class Outbox {
 public:
  /// Numbers and keeps a message. The reference is good until the next call.
  const Kept& add(Kept message);
  /// Drops what is acknowledged; false if that was nothing.
  bool acknowledge(std::uint32_t seq);

  bool empty() const { return first_ == kept_.size(); }
  const Kept* begin() const { return kept_.data() + first_; }
  const Kept* end() const { return kept_.data() + kept_.size(); }
  std::uint32_t next_seq() const { return next_seq_; }
  std::uint32_t first_kept() const { return empty() ? next_seq_ : begin()->seq; }
  /// Chunks among what was acknowledged.
  std::uint32_t chunks_acknowledged() const { return chunks_gone_; }
  bool holds_checkpoint() const { return checkpoints_ > 0; }
  /// Whether credit is left for a chunk of this size. One is always allowed, however large.
  bool has_credit(std::size_t size, std::uint32_t window, std::uint64_t window_bytes) const {
    return chunks_ == 0 || (chunks_ < window && chunk_bytes_ + size <= window_bytes);
  }
  /// As new; memory is kept for the next run.
  void reset();

 private:
  std::vector<Kept> kept_;
  std::size_t first_ = 0;
  std::uint32_t next_seq_ = 1;
  std::uint32_t chunks_ = 0;
  std::uint32_t chunks_gone_ = 0;
  std::uint64_t chunk_bytes_ = 0;
  std::uint32_t checkpoints_ = 0;
};

class Session;
struct Job;

/// Membership of one list (job_list.hpp).
struct Hook {
  Job* previous = nullptr;
  Job* next = nullptr;
  bool linked = false;
};

struct Job {
  enum class State : std::uint8_t { Free, Waiting, Running, Left, HandedBack };
  /// The way of a call of on_stop.
  enum class StopCall : std::uint8_t { None, Queued, Running, Made };
  enum Notice : std::uint8_t { kCancelled = 1, kCredit = 2 };

  // Facts, fixed from arrival to the result.
  Session* session = nullptr;
  protocol::Run run = 0;
  std::uint32_t attempt = 1;
  bool has_checkpoint = false;
  std::string id;
  std::string_view extra;  ///< into `envelope`
  Frame envelope;
  Frame input;
  Frame checkpoint;

  std::atomic<int> stopping{0};  ///< a bh_stop_reason
  std::atomic<void*> user{nullptr};

  State state = State::Free;
  StopCall stop_call = StopCall::None;
  bool started_told = false;  ///< the supervisor knows that the handler was entered
  bool unwanted = false;      ///< the supervisor does not know the run any more: nothing about it is sent
  bool wants_credit = false;  ///< a chunk met BH_AGAIN
  bool wants_saved = false;   ///< somebody is to hear when its checkpoint has arrived
  std::uint8_t notices = 0;   ///< events not taken yet
  std::size_t wanted = 0;     ///< … and that chunk's size
  pid_t thread = 0;           ///< that took it
  BlackBoxWriter::Entry entry = 0;
  Clock::time_point entered;
  Outbox outbox;
  Body late_progress;  ///< the newest, while the socket is behind
  bool has_late_progress = false;

  Hook queue;      ///< waiting, or having notices
  Hook fresh;      ///< running, not told as started
  Hook stop_hook;  ///< on_stop is to be called
  Job* next_in_bucket = nullptr;

  /// Drops what came and what was to be said, keeps memory for the next run.
  void reset();
};

}  // namespace bulkhead::child

/// What the C ABI calls a job.
struct bh_job : bulkhead::child::Job {};
