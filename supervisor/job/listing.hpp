// Jobs as an onlooker asks for them: many at a time, by what is known of them without their payloads; and one with all that
// is kept of it. Answered by the journal, which has the live ones and those whose result is still kept.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/job.hpp"
#include "supervisor/job/payload.hpp"

namespace bulkhead {

/// Whether a child ("w2.7") is `wanted`, or is in the slot that `wanted` names ("w2").
inline bool is_of_worker(std::string_view child, std::string_view wanted) {
  return child.starts_with(wanted) && (child.size() == wanted.size() || child[wanted.size()] == '.');
}

/// What is known of a job without looking into it.
struct ListedJob {
  std::string id;
  Status status = Status::InQueue;
  std::int64_t submitted_ms = 0;
  std::int64_t started_ms = 0;   ///< of the last attempt; 0: never
  std::int64_t finished_ms = 0;  ///< 0: not yet
  std::int64_t execution_ms = 0;
  std::string worker_id;  ///< the child that has it, or had it last; empty: none
  int attempts = 0;
  std::string error_type;  ///< empty: it has not failed
};

struct JobsQuery {
  std::uint8_t states = 0;  ///< bits, 1 << Status; 0: any
  std::string error_type;   ///< empty: any
  std::string worker;       ///< a slot or a child; empty: any
  std::string id;           ///< what it begins with
  std::int64_t before = 0;  ///< what JobsPage::before said; 0: from the newest on
  std::size_t limit = 100;  ///< at least 1

  bool takes(Status status) const { return states == 0 || (states & (1u << static_cast<unsigned>(status))) != 0; }
  bool takes(const ListedJob& job) const {
    return takes(job.status) && (error_type.empty() || job.error_type == error_type) &&
           (worker.empty() || is_of_worker(job.worker_id, worker)) && job.id.starts_with(id);
  }
  /// Whether every job is wanted.
  bool takes_all() const { return states == 0 && error_type.empty() && worker.empty() && id.empty(); }
};

/// Some of the jobs that were asked for, newest first.
struct JobsPage {
  std::vector<ListedJob> jobs;
  std::int64_t before = 0;  ///< to ask with for what is older; 0: that was all. Only so much is looked at for one page
};

struct JobRecord {
  ListedJob listed;
  Payload input;                ///< none: no longer kept, or larger than was asked for
  std::int64_t input_size = 0;  ///< 0: it is no longer kept
  Payload output, error;        ///< of a job that has ended
  Payload progress;             ///< of one that has not: the latest
  Payload history;              ///< of its attempts (history.hpp)
  Payload crash;                ///< the record of its last crash, a JSON string; none where the error is one
  std::uint32_t chunks = 0;     ///< the number of the last one
};

}  // namespace bulkhead
