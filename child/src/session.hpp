// The child's side of the connection to its supervisor: what the functions of the C ABI do.
//
// One mutex guards everything. A call does its work on the socket itself, at once; receiving is done by whoever waits
// (turns.hpp), by the watcher while nobody does, and by a sender who may have consumed the edge others wait for.
//
//     Connecting ──welcome──> Connected ──link broke──> Orphaned ──welcome──> Connected
//         └─refused─> Refused      └── no orphans allowed, or too long ──> Lost  <──┘
//
// Functions return a bh_status. Waiting functions may be called from any number of threads.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "bulkhead/bulkhead.h"
#include "child/src/black_box_writer.hpp"
#include "child/src/link.hpp"
#include "child/src/runs.hpp"
#include "child/src/turns.hpp"
#include "child/src/watcher.hpp"

namespace bulkhead::child {

/// A handler that returns within this time costs nothing but its messages: no Started, no watcher.
inline constexpr std::chrono::milliseconds kSoon{1};
/// Bytes of progress and log lines in the socket's queue above which further progress waits and lines are dropped.
inline constexpr std::size_t kMostBacklog = 4 << 20;

/// What a kept line takes beside its text.
inline constexpr std::size_t kLateLineCost = 64;

class Session final : private Watched {
 public:
  struct Settings {
    std::string endpoint;
    std::string token;
    std::string black_box;  ///< path; empty: none
    std::string sdk;        ///< at most protocol::kMaxName bytes
    int cancel_signal = 0;
    bool return_on_signal = false;
    void (*on_stop)(bh_job*, bh_stop_reason, void*) = nullptr;
    void* on_stop_user = nullptr;
  };

  /// Starts to connect. Throws std::system_error, or std::runtime_error if the black box is none.
  explicit Session(Settings settings);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Empty once the supervisor said welcome, else why it did not.
  std::optional<std::string> await_welcome(std::chrono::seconds most);

  int ready(int concurrency);
  int next(int timeout_ms, bh_event& event);
  int fd();

  int progress(Job& job, std::string_view json);
  /// `job` is nullptr outside any. `text` may have many lines.
  int log(Job* job, protocol::Level level, std::string_view text);
  int chunk(Job& job, std::string_view json, int timeout_ms);
  int save_checkpoint(Job& job, std::string_view data, int timeout_ms);
  int checkpoint_saved(Job& job);

  struct Result {
    bool failed = false;
    bool refresh_worker = false;
    Body output;
    Body error;
  };
  /// Takes a result whose texts are within max_body().
  int finish(Job& job, Result result);

  /// Ends all waiting and the watcher, and gives what was sent the time to leave. The session is good for nothing
  /// afterwards.
  int close(int timeout_ms);

  BlackBoxWriter& black_box() { return black_box_; }
  /// Bytes allowed in one body, for the text of an error.
  std::uint64_t max_body() const { return max_body_.load(std::memory_order_relaxed); }
  std::uint64_t max_checkpoint() const { return max_checkpoint_.load(std::memory_order_relaxed); }
  std::uint64_t max_chunk() const { return max_chunk_.load(std::memory_order_relaxed); }

 private:
  enum class Phase { Connecting, Connected, Orphaned, Refused, Lost };
  using Lock = std::unique_lock<std::mutex>;

  // session.cpp: what the caller says
  bool listened_to() const { return turns_.led() || turns_.outside() || watcher_receives_; }
  bool transmit(const protocol::FromChild& message, const Body* first = nullptr, const Body* second = nullptr);
  bool keep_and_send(Job& job, Kept kept);
  void after_sending();
  void stop_waiting();
  void caller_leaves(Clock::time_point now);
  bool has_event() const;
  bool take_event(bh_event& event);
  /// Waits until `settled()`; BH_AGAIN after the deadline, or why the job may not go on.
  template <class Settled>
  int wait_for(Lock& lock, const Job& job, const Deadline& deadline, Settled settled);
  /// BH_OK if the job may say something now.
  int may_speak(const Job& job) const;
  int link_fd() const { return link_ ? link_->fd() : -1; }

  // reception.cpp: what the supervisor says
  void receive_all();
  void receive_until_event();
  void handle(Received& message);
  void on(const protocol::Welcome& welcome);
  void on(const protocol::Refuse& refuse);
  void on(const protocol::RunJob& run, Received& frames);
  void on(const protocol::Cancel& cancel);
  void on(const protocol::Recall& recall);
  void on(const protocol::Ack& ack) { acknowledge(ack.run, ack.seq); }
  void on(const protocol::Stop& stop);
  void unreadable(const protocol::DecodeError& error);
  void acknowledge(protocol::Run run, std::uint32_t seq);
  void hand_back(Job& job);
  void request_stop(Job& job, bh_stop_reason reason);
  void resume(const protocol::Welcome& welcome);

  // vigil.cpp: what the watcher's thread does
  bool watch(Descriptors& next) override;
  void connect(Clock::time_point now);
  void say_hello();
  void disconnected(Clock::time_point now);
  void lose(const std::string& why);
  void do_what_is_due(Clock::time_point now);
  Clock::time_point next_due(Clock::time_point now) const;
  void say_late_lines();
  void say_late_things();
  void make_stop_calls(Lock& lock);
  [[noreturn]] void end_process() const;

  const Settings settings_;
  std::atomic<std::uint64_t> max_body_{0};
  std::atomic<std::uint64_t> max_chunk_{0};
  std::atomic<std::uint64_t> max_checkpoint_{0};
  Backlog backlog_{0};  ///< outlives context_, whose thread counts it down

  std::mutex mutex_;
  Phase phase_ = Phase::Connecting;
  std::string why_;                        ///< of Refused and Lost; of Connecting, what went wrong last
  std::condition_variable phase_changed_;  ///< …, or a waiting call has returned while closing
  std::condition_variable stop_call_made_;
  BlackBoxWriter black_box_;
  Runs runs_;
  Turns turns_;
  Alarm alarm_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<Link> link_;
  std::string envelope_;  ///< of the message being sent
  Received received_;     ///< the message being handled

  std::uint32_t heartbeat_ms_ = 1000;
  std::uint32_t chunk_window_ = 1;
  std::uint64_t chunk_window_bytes_ = 0;
  std::uint64_t orphan_timeout_ms_ = 0;
  std::uint64_t orphan_buffer_ = 0;

  bool stop_ = false;  ///< the supervisor said Stop
  bool closing_ = false;
  bool watcher_receives_ = true;
  std::uint64_t lost_lines_ = 0;  ///< log lines dropped while the socket is behind, not told yet
  int late_ = 0;                  ///< jobs with late progress
  struct LateLine {
    protocol::Run run;
    protocol::Level level;
    std::string text;
  };
  std::deque<LateLine> late_lines_;  ///< logged while there was no supervisor
  std::size_t late_bytes_ = 0;       ///< … and what that takes

  Clock::time_point caller_left_;  ///< when a caller last left bh_next
  Clock::time_point next_heartbeat_;
  Clock::time_point next_attempt_;     ///< to connect
  Clock::time_point end_of_patience_;  ///< Orphaned: then Lost; Lost: then the process ends

  Watcher watcher_;  ///< last: its thread uses all the others
};

}  // namespace bulkhead::child

/// What the C ABI calls a child.
struct bh_child {
  bulkhead::child::Session session;
};
