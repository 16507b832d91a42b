#include "supervisor/state_line.hpp"

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

namespace bulkhead {
namespace {

namespace json = boost::json;

json::object child(const observe::Child& child) {
  json::array jobs;
  for (const observe::ChildJob& job : child.jobs)
    jobs.push_back({{"id", job.id}, {"run", job.run}, {"entered", job.entered}, {"for_ms", job.age.count()}});
  return {{"id", child.id},
          {"slot", child.slot},
          {"pid", child.pid},
          {"state", observe::kChildStates[static_cast<std::size_t>(child.state)]},
          {"for_ms", child.in_state.count()},
          {"concurrency", child.concurrency},
          {"window", child.window},
          {"jobs_done", child.jobs_done},
          {"resident_bytes", child.resident_bytes},
          {"jobs", std::move(jobs)}};
}

json::object jobs(const observe::Snapshot& seen) {
  std::uint64_t completed = 0, failed = 0, cancelled = 0, timed_out = 0;
  for (std::size_t i = 0; i < observe::kJobEnds.size(); ++i) {
    switch (observe::kJobEnds[i].status) {
      case Status::Completed: completed += seen.jobs.ended[i]; break;
      case Status::Cancelled: cancelled += seen.jobs.ended[i]; break;
      case Status::TimedOut: timed_out += seen.jobs.ended[i]; break;
      default: failed += seen.jobs.ended[i];
    }
  }
  return {
      {"queued", seen.queue.jobs}, {"running", seen.queue.running}, {"completed", completed},      {"failed", failed},
      {"cancelled", cancelled},    {"timed_out", timed_out},        {"retried", seen.jobs.retried}};
}

}  // namespace

std::string state_line(const observe::Snapshot& seen) {
  json::array children;
  for (const observe::Child& one : seen.children) children.push_back(child(one));
  return json::serialize(json::object{{"event", "state"},
                                      {"time_ms", seen.at_ms},
                                      {"pid", getpid()},
                                      {"phase", seen.phase},
                                      {"jobs", jobs(seen)},
                                      {"workers_wanted", seen.workers_wanted},
                                      {"spares_wanted", seen.spares_wanted},
                                      {"backing_off", seen.backing_off},
                                      {"children", std::move(children)},
                                      {"connections", seen.connections},
                                      {"webhooks_waiting", seen.webhooks}});
}

}  // namespace bulkhead
