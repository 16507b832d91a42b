#include "supervisor/job/job.hpp"

namespace bulkhead {

std::string_view to_string(Status status) {
  switch (status) {
    case Status::InQueue: return "IN_QUEUE";
    case Status::InProgress: return "IN_PROGRESS";
    case Status::Completed: return "COMPLETED";
    case Status::Failed: return "FAILED";
    case Status::Cancelled: return "CANCELLED";
    case Status::TimedOut: return "TIMED_OUT";
  }
  return "FAILED";
}

}  // namespace bulkhead
