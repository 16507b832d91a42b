// Read with Boost.JSON, member by member, each with a value for where it is missing: these answers are small, and made by
// an endpoint that may be of another version. Every text is made fit for a terminal here, once.

#include "client/overview.hpp"

#include <boost/json.hpp>

#include <algorithm>

#include "client/console.hpp"

namespace bulkhead::client {
namespace {

namespace json = boost::json;

const json::value* find(const json::object& object, std::string_view name) { return object.if_contains(name); }

std::string text(const json::object& object, std::string_view name) {
  const auto* found = find(object, name);
  const auto* string = found == nullptr ? nullptr : found->if_string();
  return string == nullptr ? "" : harmless({string->data(), string->size()});
}

std::optional<double> maybe(const json::object& object, std::string_view name) {
  const auto* found = find(object, name);
  if (found == nullptr || !found->is_number()) return {};
  return found->to_number<double>();
}

double number(const json::object& object, std::string_view name) { return maybe(object, name).value_or(0); }

std::int64_t whole(const json::object& object, std::string_view name) {
  const auto* found = find(object, name);
  if (found == nullptr || !found->is_number()) return 0;
  json::error_code error;
  auto value = found->to_number<std::int64_t>(error);
  return error ? static_cast<std::int64_t>(found->to_number<double>()) : value;
}

bool flag(const json::object& object, std::string_view name, bool otherwise = false) {
  const auto* found = find(object, name);
  return found == nullptr || !found->is_bool() ? otherwise : found->get_bool();
}

const json::object& part(const json::object& object, std::string_view name) {
  static const json::object kNone;
  const auto* found = find(object, name);
  const auto* inner = found == nullptr ? nullptr : found->if_object();
  return inner == nullptr ? kNone : *inner;
}

template <typename Take>
void each(const json::object& object, std::string_view name, Take take) {
  const auto* found = find(object, name);
  const auto* array = found == nullptr ? nullptr : found->if_array();
  if (array == nullptr) return;
  for (const json::value& value : *array)
    if (const auto* inner = value.if_object()) take(*inner);
}

std::map<std::string, std::int64_t> counts(const json::object& object) {
  std::map<std::string, std::int64_t> result;
  for (const auto& [key, value] : object)
    if (value.is_number()) result[harmless(std::string_view(key.data(), key.size()))] = whole(object, key);
  return result;
}

ChildRow child_of(const json::object& seen) {
  ChildRow child{.id = text(seen, "id"),
                 .slot = whole(seen, "slot"),
                 .pid = whole(seen, "pid"),
                 .state = text(seen, "state"),
                 .in_state_ms = number(seen, "in_state_ms"),
                 .concurrency = whole(seen, "concurrency"),
                 .jobs_done = whole(seen, "jobs_done"),
                 .memory_bytes = number(seen, "memory_bytes"),
                 .cpu_seconds = maybe(seen, "cpu_seconds"),
                 .gpu_bytes = maybe(seen, "gpu_bytes")};
  each(seen, "jobs", [&](const json::object& job) {
    child.jobs.push_back(
        {text(job, "id"), static_cast<int>(whole(job, "attempt")), flag(job, "entered"), number(job, "age_ms")});
  });
  return child;
}

std::optional<json::object> object_of(std::string_view text) {
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object()) return {};
  return std::move(value.get_object());
}

void read_rest(Overview& seen, const json::object& whole_answer) {
  const auto& own = part(whole_answer, "own");
  const auto& journal = part(whole_answer, "journal");
  seen.own_memory_bytes = number(own, "memory_bytes");
  seen.own_cpu_seconds = number(own, "cpu_seconds");
  seen.journal_kept = flag(journal, "kept");
  seen.journal_writable = flag(journal, "writable", true);
  seen.journal_bytes = number(journal, "bytes");
  seen.connections = whole(whole_answer, "connections");
  seen.webhooks = whole(whole_answer, "webhooks");
  seen.loop_lag_ms = number(whole_answer, "loop_lag_ms");
  each(whole_answer, "gpus", [&](const json::object& gpu) {
    seen.gpus.push_back({whole(gpu, "index"), number(gpu, "used_bytes"), number(gpu, "total_bytes")});
  });
  each(whole_answer, "restarts", [&](const json::object& restart) {
    seen.restarts.push_back(
        {whole(restart, "at"), text(restart, "child"), text(restart, "cause"), text(restart, "how")});
  });
  seen.restarts_by_cause = counts(part(whole_answer, "restarts_by_cause"));
}

Figures figures_of(const json::object& seen) {
  return {.at = whole(seen, "at"),
          .completed = number(seen, "completed"),
          .failed = number(seen, "failed"),
          .cancelled = number(seen, "cancelled"),
          .timed_out = number(seen, "timed_out"),
          .wait_p50_ms = number(seen, "wait_p50_ms"),
          .wait_p95_ms = number(seen, "wait_p95_ms"),
          .run_p50_ms = number(seen, "run_p50_ms"),
          .run_p95_ms = number(seen, "run_p95_ms")};
}

Colour colour_of_child(const ChildRow& child) {
  if (child.state == "ready") return child.jobs.empty() ? Colour::Good : Colour::Busy;
  if (child.state == "spare") return Colour::Good;
  return child.state == "dead" ? Colour::Bad : Colour::Doubtful;
}

/// "1.2s 3f0c…-u1, and 2 more": what is short first, for the line may be cut.
std::string running_in(const ChildRow& child) {
  if (child.jobs.empty()) return "";
  const RunningJob& first = child.jobs.front();
  std::string text = readable_time(first.age_ms) + (first.entered ? " " : " not begun ");
  if (first.attempt > 1) text += "try " + std::to_string(first.attempt) + " ";
  text += first.id;
  return child.jobs.size() == 1 ? text : text + ", and " + std::to_string(child.jobs.size() - 1) + " more";
}

}  // namespace

std::optional<Overview> overview_of(std::string_view text_of_it) {
  auto answer = object_of(text_of_it);
  if (!answer) return {};
  const auto& queue = part(*answer, "queue");
  const auto& workers = part(*answer, "workers");
  const auto& totals = part(*answer, "totals");
  const auto& ready = part(*answer, "ready");
  Overview seen{.at = whole(*answer, "at"),
                .version = text(*answer, "version"),
                .phase = text(*answer, "phase"),
                .ready = flag(ready, "ready"),
                .not_ready_because = text(ready, "reason"),
                .accepts = flag(*answer, "accepts", true),
                .queued = whole(queue, "jobs"),
                .running = whole(queue, "running"),
                .oldest_ms = number(queue, "oldest_ms"),
                .wanted = whole(workers, "wanted"),
                .spares = whole(workers, "spares"),
                .backing_off = whole(workers, "backing_off"),
                .ended = counts(part(totals, "ended")),
                .accepted = whole(totals, "accepted"),
                .retried = whole(totals, "retried"),
                .refused = whole(totals, "refused")};
  each(*answer, "children", [&](const json::object& child) { seen.children.push_back(child_of(child)); });
  std::stable_sort(seen.children.begin(), seen.children.end(),
                   [](const ChildRow& a, const ChildRow& b) { return a.slot < b.slot; });
  read_rest(seen, *answer);
  return seen;
}

std::optional<History> history_of(std::string_view text_of_it) {
  auto answer = object_of(text_of_it);
  if (!answer) return {};
  History history{.interval_ms = std::max(1.0, number(*answer, "interval_ms")),
                  .hour = figures_of(part(*answer, "hour"))};
  each(*answer, "intervals", [&](const json::object& one) { history.intervals.push_back(figures_of(one)); });
  return history;
}

JobPage jobs_of(std::string_view text_of_it) {
  JobPage page;
  auto answer = object_of(text_of_it);
  if (!answer) return page;
  each(*answer, "jobs", [&](const json::object& job) {
    page.rows.push_back({text(job, "id"), text(job, "status"), whole(job, "submitted_at"), number(job, "wait_ms"),
                         number(job, "run_ms"), text(job, "worker_id"), whole(job, "attempts"),
                         text(job, "error_type")});
  });
  if (std::string before = text(*answer, "before"); !before.empty()) page.before = std::move(before);
  return page;
}

std::vector<Cell> phase_cells(const Overview& seen) {
  std::vector<Cell> cells{
      {seen.phase, seen.phase == "serving" || seen.phase == "running" ? Colour::Good : Colour::Doubtful}};
  if (seen.ready) {
    cells.push_back({", "});
    cells.push_back({"ready", Colour::Good});
  } else {
    cells.push_back({", "});
    cells.push_back({"not ready", Colour::Bad});
    if (!seen.not_ready_because.empty()) cells.push_back({": " + seen.not_ready_because});
  }
  if (!seen.journal_writable) cells.push_back({"  journal cannot be written", Colour::Bad});
  return cells;
}

std::vector<Cell> job_cells(const Overview& seen) {
  auto count = [&](const char* status) {
    auto found = seen.ended.find(status);
    return found == seen.ended.end() ? 0 : found->second;
  };
  std::vector<Cell> cells{{"running " + std::to_string(seen.running), Colour::Busy},
                          {"  queued " + std::to_string(seen.queued)}};
  if (seen.queued > 0) cells.push_back({" (oldest " + readable_time(seen.oldest_ms) + ")", Colour::Faint});
  cells.push_back({"  completed " + std::to_string(count("COMPLETED")), Colour::Good});
  cells.push_back({"  failed " + std::to_string(count("FAILED")), count("FAILED") > 0 ? Colour::Bad : Colour::Plain});
  if (count("TIMED_OUT") > 0) cells.push_back({"  timed out " + std::to_string(count("TIMED_OUT")), Colour::Bad});
  if (count("CANCELLED") > 0) cells.push_back({"  cancelled " + std::to_string(count("CANCELLED")), Colour::Doubtful});
  if (seen.retried > 0) cells.push_back({"  retried " + std::to_string(seen.retried)});
  if (seen.refused > 0) cells.push_back({"  refused " + std::to_string(seen.refused), Colour::Doubtful});
  return cells;
}

Table child_table(const Overview& seen) {
  const auto has = [&](auto what) { return std::any_of(seen.children.begin(), seen.children.end(), what); };
  const bool cpu = has([](const ChildRow& child) { return child.cpu_seconds.has_value(); });
  const bool gpu = has([](const ChildRow& child) { return child.gpu_bytes.has_value(); });
  std::vector<Cell> head{{"CHILD"},
                         {"PID", Colour::Plain, true},
                         {"STATE"},
                         {"FOR", Colour::Plain, true},
                         {"DONE", Colour::Plain, true},
                         {"MEMORY", Colour::Plain, true}};
  if (cpu) head.push_back({"CPU", Colour::Plain, true});
  if (gpu) head.push_back({"GPU", Colour::Plain, true});
  head.push_back({"JOB"});
  Table table(head);
  for (const ChildRow& child : seen.children) {
    std::vector<Cell> row{{child.id},
                          {std::to_string(child.pid), Colour::Plain, true},
                          {child.state, colour_of_child(child)},
                          {readable_time(child.in_state_ms), Colour::Plain, true},
                          {std::to_string(child.jobs_done), Colour::Plain, true},
                          {readable_bytes(child.memory_bytes), Colour::Plain, true}};
    if (cpu) row.push_back({child.cpu_seconds ? readable_time(*child.cpu_seconds * 1e3) : "-", Colour::Plain, true});
    if (gpu) row.push_back({child.gpu_bytes ? readable_bytes(*child.gpu_bytes) : "-", Colour::Plain, true});
    row.push_back({running_in(child), Colour::Busy});
    table.add(std::move(row));
  }
  return table;
}

Table job_table(const std::vector<JobRow>& jobs, std::int64_t now_ms) {
  Table table({{"JOB"},
               {"STATUS"},
               {"AGE", Colour::Plain, true},
               {"WAITED", Colour::Plain, true},
               {"RAN", Colour::Plain, true},
               {"WORKER"},
               {"TRIES", Colour::Plain, true},
               {"ERROR"}});
  for (const JobRow& job : jobs) {
    bool begun = job.status != "IN_QUEUE" || job.attempts > 0;
    table.add({{job.id},
               {job.status, colour_of_status(job.status)},
               {readable_time(static_cast<double>(now_ms - job.submitted_at)), Colour::Plain, true},
               {readable_time(job.wait_ms), Colour::Plain, true},
               {begun ? readable_time(job.run_ms) : "-", Colour::Plain, true},
               {job.worker.empty() ? "-" : job.worker},
               {std::to_string(job.attempts), Colour::Plain, true},
               {job.error_type == "none" ? "" : job.error_type, Colour::Bad}});
  }
  return table;
}

}  // namespace bulkhead::client
