// What the queue on this machine keeps of a job, and of who waits for it. For embedded_queue.cpp and its kind alone.

#pragma once

#include <boost/intrusive/list.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/source/embedded_queue.hpp"

namespace bulkhead {

namespace intrusive = boost::intrusive;

struct EmbeddedQueue::Entry : Deadlined, intrusive::list_base_hook<> {
  std::string id;
  std::string key;  ///< idempotency
  std::string worker_id;
  Status status = Status::InQueue;
  bool accepted = false;
  bool sync = false;
  std::int64_t submitted_ms = 0, started_ms = 0, finished_ms = 0, execution_ms = 0;
  int attempts = 0;
  std::uint64_t changes = 1;  ///< of anything but chunks
  Payload output, error, history;
  std::optional<milliseconds> ttl;  ///< a client's wish for a shorter retention

  std::deque<Payload> chunks;    ///< the last one has number last_chunk
  std::uint32_t last_chunk = 0;  ///< what is before the chunks here may be in the journal
  std::uint32_t polled = 0;      ///< chunks up to this one were given to polls
  std::uint32_t read = 0;        ///< … or to followers who came back
  std::size_t chunk_bytes = 0;

  std::vector<std::function<void()>> slowed;            ///< chunks whose handler waits for a reader
  std::vector<std::function<void(Accepted)>> same_key;  ///< submissions of this key while it was not durable
  std::vector<std::uint64_t> waiters;
  std::uint64_t born = 0;

  std::uint32_t first_chunk() const { return last_chunk - static_cast<std::uint32_t>(chunks.size()) + 1; }
  JobView view() const {
    return {id,        status,   submitted_ms, started_ms, finished_ms, execution_ms,
            worker_id, attempts, output,       error,      history};
  }
  std::size_t bytes() const { return output.size() + error.size() + history.size() + chunk_bytes; }
};

struct EmbeddedQueue::LiveEntries : intrusive::list<Entry> {};

struct EmbeddedQueue::Waiter : Deadlined {
  std::uint64_t number = 0;
  Entry* entry = nullptr;
  Seen seen;                                           ///< waits for the end
  std::function<void(const JobView*, News)> followed;  ///< or for news
  Unread polled;                                       ///< or for a chunk
  Position known;
};

}  // namespace bulkhead
