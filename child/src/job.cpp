#include "child/src/job.hpp"

#include <utility>

namespace bulkhead::child {

protocol::FromChild describe(protocol::Run run, const Kept& kept) {
  switch (kept.kind) {
    case Kept::Kind::Chunk: return protocol::Chunk{run, kept.seq, kept.first.view()};
    case Kept::Kind::Checkpoint: return protocol::Checkpoint{run, kept.seq, kept.first.view()};
    case Kept::Kind::Done:
      return protocol::Done{run, kept.seq, kept.run_time_us, kept.refresh_worker, kept.first.view()};
    case Kept::Kind::Failed:
      return protocol::Failed{
          run, kept.seq, kept.run_time_us, kept.refresh_worker, kept.first.view(), kept.second.view()};
    case Kept::Kind::HandBack: break;
  }
  return protocol::HandBack{run, kept.seq};
}

const Kept& Outbox::add(Kept message) {
  if (empty()) {
    kept_.clear();
    first_ = 0;
  }
  message.seq = next_seq_;
  kept_.push_back(std::move(message));
  ++next_seq_;
  const Kept& kept = kept_.back();
  if (kept.kind == Kept::Kind::Chunk) {
    ++chunks_;
    chunk_bytes_ += kept.first.view().size();
  } else if (kept.kind == Kept::Kind::Checkpoint) {
    ++checkpoints_;
  }
  return kept;
}

bool Outbox::acknowledge(std::uint32_t seq) {
  bool dropped = false;
  while (!empty() && begin()->seq <= seq) {
    Kept& kept = kept_[first_++];
    if (kept.kind == Kept::Kind::Chunk) {
      --chunks_;
      ++chunks_gone_;
      chunk_bytes_ -= kept.first.view().size();
    } else if (kept.kind == Kept::Kind::Checkpoint) {
      --checkpoints_;
    }
    kept.first = Body();
    kept.second = Body();
    dropped = true;
  }
  // Under steady streaming the box is never empty: do not let the dropped ones pile up.
  if (first_ >= 64 && first_ * 2 >= kept_.size()) {
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  return dropped;
}

void Outbox::reset() {
  kept_.clear();
  first_ = 0;
  next_seq_ = 1;
  chunks_ = chunks_gone_ = 0;
  chunk_bytes_ = 0;
  checkpoints_ = 0;
}

void Job::reset() {
  id.clear();
  extra = {};
  envelope.clear();
  input.clear();
  checkpoint.clear();
  has_checkpoint = false;
  stopping.store(0, std::memory_order_relaxed);
  user.store(nullptr, std::memory_order_relaxed);
  state = State::Free;
  stop_call = StopCall::None;
  started_told = unwanted = wants_credit = wants_saved = has_late_progress = false;
  notices = 0;
  late_progress = Body();
  outbox.reset();
}

}  // namespace bulkhead::child
