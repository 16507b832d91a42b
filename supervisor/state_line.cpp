#include "supervisor/state_line.hpp"

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>

namespace bulkhead {
namespace {

namespace json = boost::json;

json::object child(const pool::WorkerView& worker) {
  auto age = std::chrono::steady_clock::now() - worker.since;
  json::array jobs;
  for (const auto& run : worker.runs) jobs.push_back({{"id", run.job_id}, {"run", run.run}, {"entered", run.entered}});
  return {{"id", worker.id},
          {"pid", worker.pid},
          {"state", to_string(worker.state)},
          {"for_ms", std::chrono::duration_cast<std::chrono::milliseconds>(age).count()},
          {"concurrency", worker.concurrency},
          {"window", worker.window},
          {"jobs_done", worker.jobs_done},
          {"jobs", std::move(jobs)}};
}

}  // namespace

std::string state_line(const StateView& view) {
  json::array children;
  for (const pool::WorkerView& worker : view.children) children.push_back(child(worker));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return json::serialize(json::object{{"event", "state"},
                                      {"time_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now).count()},
                                      {"pid", getpid()},
                                      {"phase", view.phase},
                                      {"jobs",
                                       {{"queued", view.counts.queued},
                                        {"running", view.counts.running},
                                        {"completed", view.counts.completed},
                                        {"failed", view.counts.failed},
                                        {"cancelled", view.counts.cancelled},
                                        {"timed_out", view.counts.timed_out},
                                        {"retried", view.counts.retried}}},
                                      {"workers_wanted", view.workers},
                                      {"spares_wanted", view.spares},
                                      {"backing_off", view.backing_off},
                                      {"children", std::move(children)},
                                      {"connections", view.connections},
                                      {"webhooks_waiting", view.webhooks}});
}

}  // namespace bulkhead
