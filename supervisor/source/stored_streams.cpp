#include "supervisor/source/stored_streams.hpp"

#include <memory>
#include <utility>

#include "supervisor/job/job_json.hpp"

namespace bulkhead {

void StoredStreams::poll(std::string_view id, Endpoint::Unread seen) {
  journal_.lookup(id, [this, seen = std::move(seen)](std::optional<Remembered> found) {
    if (!found) return seen(nullptr, {});
    auto known = std::make_shared<Remembered>(std::move(*found));
    auto give = [this, known, seen](std::vector<StoredChunk> chunks) {
      if (!journal_.unreadable().empty()) return seen(nullptr, {});
      std::uint32_t given = position(known->job.id);
      std::vector<Payload> unread;
      for (StoredChunk& chunk : chunks)  // another poll may have had some of them meanwhile
        if (chunk.number > given) unread.push_back(std::move(chunk.chunk));
      if (!unread.empty()) {
        note(known->job.id, chunks.back().number);
        journal_.polled(known->job.id, chunks.back().number);
      }
      JobView view = view_of(*known);
      seen(&view, std::move(unread));
    };
    journal_.unread(known->job.id, position(known->job.id), poll_bytes_, std::move(give));
  });
}

void StoredStreams::follow(std::string_view id, Endpoint::Position known,
                           std::function<void(const JobView*, Endpoint::News)> seen) {
  constexpr std::size_t kAtOnce = 1 << 20;  // bytes; the caller comes back for the rest
  journal_.lookup(id, [this, known, seen = std::move(seen)](std::optional<Remembered> found) {
    if (!found) return seen(nullptr, {});
    auto job = std::make_shared<Remembered>(std::move(*found));
    journal_.chunks(job->job.id, known.chunk + 1, kAtOnce, [this, job, known, seen](std::vector<StoredChunk> chunks) {
      if (!journal_.unreadable().empty()) return seen(nullptr, {});
      Endpoint::News news{{}, known};
      for (StoredChunk& chunk : chunks) {
        news.position.chunk = chunk.number;
        news.chunks.push_back(std::move(chunk.chunk));
      }
      JobView view = view_of(*job);
      seen(&view, std::move(news));
    });
  });
}

void StoredStreams::note(std::string_view id, std::uint32_t number) {
  auto [place, fresh] = positions_.insert_or_assign(std::string(id), number);
  if (!fresh) return;
  oldest_.push_back(place->first);
  if (oldest_.size() <= kPositionsMax) return;
  positions_.erase(oldest_.front());
  oldest_.pop_front();
}

std::uint32_t StoredStreams::position(const std::string& id) const {
  auto place = positions_.find(id);
  return place == positions_.end() ? 0 : place->second;
}

}  // namespace bulkhead
