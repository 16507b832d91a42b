// One function per member of the snapshot, in the order of docs/OBSERVING.md. Times are in milliseconds and sizes in bytes;
// only CPU time is in seconds, as everywhere else that counts it.

#include "supervisor/observe/snapshot_json.hpp"

#include <charconv>
#include <string_view>
#include <utility>

#include "supervisor/job/json_text.hpp"

namespace bulkhead::observe {
namespace {

/// Sets the commas of an array.
class Comma {
 public:
  explicit Comma(JsonText& json) : json_(json) {}
  JsonText& next() { return std::exchange(first_, false) ? json_ : json_.raw(","); }

 private:
  JsonText& json_;
  bool first_ = true;
};

JsonText& flag(JsonText& json, bool value) { return json.raw(value ? "true" : "false"); }

JsonText& count(JsonText& json, std::uint64_t value) { return json.number(static_cast<std::int64_t>(value)); }

/// With three decimals at most: more is noise.
JsonText& decimal(JsonText& json, double value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, 3).ptr;
  std::string_view text(digits, static_cast<std::size_t>(end - digits));
  while (text.ends_with('0')) text.remove_suffix(1);
  if (text.ends_with('.')) text.remove_suffix(1);
  return json.raw(text);
}

void child(JsonText& json, const Child& seen) {
  json.raw("{\"id\":").string(seen.id).raw(",\"slot\":").number(seen.slot).raw(",\"pid\":").number(seen.pid);
  json.raw(",\"state\":").string(kChildStates[static_cast<std::size_t>(seen.state)]);
  json.raw(",\"in_state_ms\":").number(seen.in_state.count());
  json.raw(",\"concurrency\":").number(seen.concurrency).raw(",\"window\":").number(seen.window);
  json.raw(",\"jobs_done\":").number(seen.jobs_done);
  count(json.raw(",\"memory_bytes\":"), seen.resident_bytes);
  decimal(json.raw(",\"cpu_seconds\":"), seen.cpu_seconds);
  json.raw(",\"gpu_bytes\":");
  if (seen.gpu_bytes)
    count(json, *seen.gpu_bytes);
  else
    json.raw("null");
  json.raw(",\"jobs\":[");
  Comma jobs(json);
  for (const ChildJob& job : seen.jobs) {
    jobs.next().raw("{\"id\":").string(job.id).raw(",\"attempt\":").number(job.attempt);
    flag(json.raw(",\"entered\":"), job.entered).raw(",\"age_ms\":").number(job.age.count()).raw("}");
  }
  json.raw("]}");
}

void restarts(JsonText& json, const Snapshot& seen) {
  json.raw(",\"restarts\":[");
  Comma restarts(json);
  for (const Restart& one : seen.last_restarts) {
    restarts.next().raw("{\"at\":").number(one.at_ms).raw(",\"child\":").string(one.child);
    json.raw(",\"slot\":").number(one.slot).raw(",\"cause\":").string(to_string(one.cause));
    json.raw(",\"how\":").string(one.how).raw("}");
  }
  json.raw("],\"restarts_by_cause\":{");
  Comma causes(json);
  for (int i = 0; i < kEndCauses; ++i) {
    const auto cause = static_cast<EndCause>(i);
    if (cause == EndCause::Shutdown) continue;
    causes.next().string(to_string(cause)).raw(":");
    count(json, seen.restarts[static_cast<std::size_t>(i)]);
  }
  json.raw("}");
}

void totals(JsonText& json, const JobTotals& jobs) {
  std::uint64_t refused = 0;
  for (const std::uint64_t of_a_reason : jobs.refused) refused += of_a_reason;
  count(json.raw(",\"totals\":{\"accepted\":"), jobs.accepted);
  count(json.raw(",\"retried\":"), jobs.retried);
  json.raw(",\"ended\":{");
  Comma ends(json);
  for (const Status status : {Status::Completed, Status::Failed, Status::Cancelled, Status::TimedOut}) {
    std::uint64_t ended = 0;
    for (std::size_t i = 0; i < kJobEnds.size(); ++i)
      if (kJobEnds[i].status == status) ended += jobs.ended[i];
    count(ends.next().string(to_string(status)).raw(":"), ended);
  }
  count(json.raw("},\"refused\":"), refused).raw("}");
}

void machine(JsonText& json, const Snapshot& seen) {
  count(json.raw(",\"own\":{\"memory_bytes\":"), seen.own.resident_bytes);
  decimal(json.raw(",\"cpu_seconds\":"), seen.own.cpu_seconds).raw("},\"gpus\":[");
  Comma gpus(json);
  for (const GpuMemory& gpu : seen.gpus) {
    gpus.next().raw("{\"index\":").number(gpu.index);
    count(json.raw(",\"used_bytes\":"), gpu.used_bytes);
    count(json.raw(",\"total_bytes\":"), gpu.total_bytes).raw("}");
  }
  flag(json.raw("],\"journal\":{\"kept\":"), seen.journal.kept);
  flag(json.raw(",\"writable\":"), seen.journal.writable);
  count(json.raw(",\"bytes\":"), seen.journal.bytes);
  count(json.raw(",\"backlog\":"), seen.journal.backlog).raw("}");
}

void outside(JsonText& json, const Snapshot& seen) {
  json.raw(",\"platform\":[");
  Comma calls(json);
  for (const PlatformCalls& one : seen.platform) {
    calls.next().raw("{\"call\":").string(one.call);
    count(json.raw(",\"ok\":"), one.ok);
    count(json.raw(",\"refused\":"), one.refused);
    count(json.raw(",\"failed\":"), one.failed).raw("}");
  }
  count(json.raw("],\"webhooks\":"), seen.webhooks);
  count(json.raw(",\"connections\":"), seen.connections);
  count(json.raw(",\"log_lines_dropped\":"), seen.log_lines_dropped);
  decimal(json.raw(",\"loop_lag_ms\":"), seen.loop_lag_seconds * 1e3);
}

void interval(JsonText& json, const History::Interval& of) {
  json.raw("{\"at\":").number(of.begin_ms).raw(",\"completed\":").number(of.ended.completed);
  json.raw(",\"failed\":").number(of.ended.failed).raw(",\"cancelled\":").number(of.ended.cancelled);
  json.raw(",\"timed_out\":").number(of.ended.timed_out);
  decimal(json.raw(",\"wait_p50_ms\":"), of.wait.p50_ms);
  decimal(json.raw(",\"wait_p95_ms\":"), of.wait.p95_ms);
  decimal(json.raw(",\"run_p50_ms\":"), of.run.p50_ms);
  decimal(json.raw(",\"run_p95_ms\":"), of.run.p95_ms).raw("}");
}

}  // namespace

std::string to_json(const Snapshot& seen) {
  JsonText json;
  json.raw("{\"at\":").number(seen.at_ms).raw(",\"version\":").string(seen.version);
  json.raw(",\"phase\":").string(seen.phase);
  flag(json.raw(",\"ready\":{\"ready\":"), seen.readiness.ready).raw(",\"reason\":").string(seen.readiness.reason);
  flag(json.raw("},\"accepts\":"), seen.accepts);
  json.raw(",\"queue\":{\"jobs\":").number(seen.queue.jobs).raw(",\"running\":").number(seen.queue.running);
  json.raw(",\"oldest_ms\":").number(static_cast<std::int64_t>(seen.queue.oldest_seconds * 1e3));
  json.raw("},\"workers\":{\"wanted\":").number(seen.workers_wanted).raw(",\"spares\":").number(seen.spares_wanted);
  json.raw(",\"backing_off\":").number(seen.backing_off).raw("},\"children\":[");
  Comma children(json);
  for (const Child& one : seen.children) {
    children.next();
    child(json, one);
  }
  json.raw("]");
  restarts(json, seen);
  totals(json, seen.jobs);
  machine(json, seen);
  outside(json, seen);
  return json.raw("}").text();
}

std::string to_json(const History& history, std::int64_t now_ms) {
  JsonText json;
  json.raw("{\"interval_ms\":").number(std::chrono::milliseconds(History::kInterval).count()).raw(",\"intervals\":[");
  Comma intervals(json);
  for (const History::Interval& one : history.intervals(now_ms)) {
    intervals.next();
    interval(json, one);
  }
  json.raw("],\"hour\":");
  interval(json, history.hour(now_ms));
  return json.raw("}").text();
}

}  // namespace bulkhead::observe
