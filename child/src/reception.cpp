// What the supervisor says. Called under the session's mutex by whichever thread receives; nothing here waits, and
// nothing here receives again: a message is handled to its end before the next is read.

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

#include "child/src/session.hpp"

namespace bulkhead::child {
namespace {

/// What comes from the supervisor is as large as it allows: it is its own gate, and the frames are here already.
constexpr protocol::Limits kTrusting{
    std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max(),
    std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max()};

bh_stop_reason stop_reason(protocol::CancelReason reason) {
  switch (reason) {
    case protocol::CancelReason::Timeout: return BH_STOP_TIMEOUT;
    case protocol::CancelReason::Drain: return BH_STOP_DRAIN;
    case protocol::CancelReason::Requested: break;
  }
  return BH_STOP_CANCEL;
}

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    json += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return json += '"';
}

}  // namespace

void Session::receive_all() {
  while (link_ && link_->receive(received_)) handle(received_);
  if (has_event()) turns_.events_ready();
}

void Session::receive_until_event() {
  // Where others sleep on the descriptor, its edge must not be left half consumed.
  const bool all = listened_to();
  while (link_ && (all || !has_event()) && link_->receive(received_)) handle(received_);
}

void Session::handle(Received& message) {
  std::string_view bodies[Received::kMost - 1];
  for (int i = 1; i < message.count; ++i) bodies[i - 1] = message.frame[i].view();
  const auto decoded =
      protocol::decode_to_child(message.frame[0].view(), std::span(bodies, message.count - 1u), kTrusting);
  if (const auto* error = std::get_if<protocol::DecodeError>(&decoded)) return unreadable(*error);
  std::visit(
      [&](const auto& said) {
        using Said = std::decay_t<decltype(said)>;
        if constexpr (std::is_same_v<Said, protocol::Welcome> || std::is_same_v<Said, protocol::Refuse>) {
          on(said);
        } else if (phase_ != Phase::Connected) {
          return;  // before the welcome nothing else is valid
        } else if constexpr (std::is_same_v<Said, protocol::RunJob>) {
          on(said, message);
        } else {
          on(said);
        }
      },
      std::get<protocol::ToChild>(decoded));
}

void Session::on(const protocol::Welcome& welcome) {
  if (phase_ != Phase::Connecting && phase_ != Phase::Orphaned) return;
  heartbeat_ms_ = std::max<std::uint32_t>(welcome.heartbeat_ms, 1);
  chunk_window_ = welcome.chunk_window;
  chunk_window_bytes_ = welcome.chunk_window_bytes;
  orphan_timeout_ms_ = welcome.orphan_timeout_ms;
  orphan_buffer_ = welcome.orphan_buffer;
  max_body_.store(welcome.max_body, std::memory_order_relaxed);
  max_checkpoint_.store(welcome.max_checkpoint != 0 ? welcome.max_checkpoint : welcome.max_body,
                        std::memory_order_relaxed);
  max_chunk_.store(welcome.max_chunk, std::memory_order_relaxed);
  phase_ = Phase::Connected;
  say_late_lines();  // before their jobs' results
  resume(welcome);
  if (runs_.concurrency() > 0) transmit(protocol::Ready{static_cast<std::uint32_t>(runs_.concurrency())});
  if (has_event()) turns_.events_ready();
  phase_changed_.notify_all();
}

void Session::resume(const protocol::Welcome& welcome) {
  runs_.each([&](Job& job) {
    const auto seen =
        std::find_if(welcome.seen.begin(), welcome.seen.end(), [&](const auto& acked) { return acked.run == job.run; });
    if (seen != welcome.seen.end()) return acknowledge(job.run, seen->seq);
    if (job.state != Job::State::Running) return runs_.discard(job);
    job.unwanted = true;
    job.outbox.acknowledge(std::numeric_limits<std::uint32_t>::max());
    request_stop(job, BH_STOP_CANCEL);
    turns_.acknowledged(job);
  });
  runs_.each([&](Job& job) {
    bool given = true;
    for (const Kept& kept : job.outbox) given = transmit(describe(job.run, kept), &kept.first, &kept.second) && given;
    if (job.state == Job::State::Left && given) black_box_.leave(job.entry);
  });
}

void Session::on(const protocol::Refuse& refuse) {
  const std::string why = "the supervisor refused this child: " + std::string(refuse.text);
  if (phase_ != Phase::Connecting) return lose(why);
  phase_ = Phase::Refused;
  why_ = why;
  phase_changed_.notify_all();
}

void Session::on(const protocol::RunJob& run, Received& frames) {
  for (const protocol::Acked& acked : run.acks) acknowledge(acked.run, acked.seq);
  Job* job = runs_.add(run.run);
  if (job == nullptr) return;  // handed out before, and still here
  job->attempt = run.attempt;
  job->id = run.job_id;
  job->has_checkpoint = run.has_checkpoint;
  // Small frames move with the object that holds them, so the view is made again from where it was.
  const std::size_t extra =
      run.extra.empty() ? 0 : static_cast<std::size_t>(run.extra.data() - frames.frame[0].view().data());
  const std::size_t extra_size = run.extra.size();
  job->envelope.take(frames.frame[0]);
  if (frames.count > 1) job->input.take(frames.frame[1]);
  if (frames.count > 2) job->checkpoint.take(frames.frame[2]);
  job->extra = job->envelope.view().substr(extra, extra_size);
  if (stop_) hand_back(*job);
}

void Session::on(const protocol::Cancel& cancel) {
  Job* job = runs_.find(cancel.run);
  if (job == nullptr) return;  // its result is on the way, or was seen already
  if (job->state == Job::State::Waiting) return hand_back(*job);
  if (job->state == Job::State::Running) request_stop(*job, stop_reason(cancel.reason));
}

void Session::on(const protocol::Recall& recall) {
  Job* job = runs_.find(recall.run);
  if (job != nullptr && job->state == Job::State::Waiting) hand_back(*job);
}

void Session::on(const protocol::Stop&) {
  stop_ = true;
  runs_.set_stopping();
  while (Job* job = runs_.first_waiting()) hand_back(*job);
  turns_.wake_all();
}

void Session::unreadable(const protocol::DecodeError& error) {
  if (phase_ != Phase::Connected) {
    why_ = "the answer could not be read: " + error.text;
    return;
  }
  Job* job = error.run != 0 ? runs_.add(error.run) : nullptr;
  if (job == nullptr) {
    const Body text("a message of the supervisor could not be read: " + error.text.substr(0, 1024), &backlog_);
    transmit(protocol::Log{0, protocol::Level::Warn, text.view()}, &text);
    return;
  }
  // A job that cannot be read cannot run here either: only it fails.
  runs_.hand_back(*job);
  Kept kept;
  kept.kind = Kept::Kind::Failed;
  kept.first = Body(json_string("the job could not be read: " + error.text));
  keep_and_send(*job, std::move(kept));
}

void Session::acknowledge(protocol::Run run, std::uint32_t seq) {
  Job* job = runs_.acknowledge(run, seq);
  if (job == nullptr || job->state != Job::State::Running) return;
  turns_.acknowledged(*job);
  const bool credit = job->wants_credit && job->outbox.has_credit(job->wanted, chunk_window_, chunk_window_bytes_);
  const bool saved = job->wants_saved && !job->outbox.holds_checkpoint();
  if (credit) job->wants_credit = false;
  if (saved) job->wants_saved = false;
  if (credit || saved) runs_.notify(*job, Job::kCredit);
}

void Session::hand_back(Job& job) {
  runs_.hand_back(job);
  keep_and_send(job, Kept{});
}

void Session::request_stop(Job& job, bh_stop_reason reason) {
  // The first reason stands, but a drain may still turn into a cancel.
  int before = job.stopping.load(std::memory_order_relaxed);
  if (before == BH_RUNNING || (before == BH_STOP_DRAIN && reason != BH_STOP_DRAIN)) {
    job.stopping.store(reason, std::memory_order_release);
  }
  turns_.acknowledged(job);  // who waits for credit waits in vain
  if (settings_.on_stop != nullptr) {
    runs_.queue_stop_call(job);
    alarm_.set(Clock::now());
  } else if (before == BH_RUNNING) {
    runs_.notify(job, Job::kCancelled);
  }
  if (settings_.cancel_signal != 0) syscall(SYS_tgkill, getpid(), job.thread, settings_.cancel_signal);
}

}  // namespace bulkhead::child
