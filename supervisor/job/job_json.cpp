#include "supervisor/job/job_json.hpp"

#include <algorithm>
#include <string>

namespace bulkhead {

std::int64_t delay_ms(const JobView& view, std::int64_t now_ms) {
  std::int64_t until = view.started_ms != 0 ? view.started_ms : view.finished_ms != 0 ? view.finished_ms : now_ms;
  return std::max<std::int64_t>(0, until - view.submitted_ms);
}

void write_job_members(JsonText& json, const JobView& view, std::int64_t now_ms) {
  bool final = is_final(view.status);
  if (!view.history.empty()) json.raw("\"bulkhead\":{\"attempts\":[").payload(view.history).raw("]},");
  json.raw("\"delayTime\":").number(delay_ms(view, now_ms));
  if (final && !view.error.empty()) json.raw(",\"error\":").payload(view.error);
  if (final) {
    json.raw(",\"executionTime\":").number(view.execution_ms);
  } else if (view.status == Status::InProgress) {
    json.raw(",\"executionTime\":").number(std::max<std::int64_t>(0, now_ms - view.started_ms));
  }
  json.raw(",\"id\":").string(view.id);
  if (!view.output.empty()) json.raw(",\"output\":").payload(view.output);
  if (view.attempts > 1) json.raw(",\"retries\":").number(view.attempts - 1);
  json.raw(",\"status\":\"").raw(to_string(view.status)).raw("\"");
  // Clients with a schema want all of a final job's members, also of a job that never had a worker.
  if (final || !view.worker_id.empty()) json.raw(",\"workerId\":").string(view.worker_id);
}

void write_job(JsonText& json, const JobView& view, std::int64_t now_ms) {
  json.raw("{");
  write_job_members(json, view, now_ms);
  json.raw("}");
}

Payload text_error(std::string_view text) { return Payload::of('"' + std::string(text) + '"'); }

Payload lost_error(const std::string& message, int attempt) {
  return Payload::of(R"("{\"error_type\":\"WorkerLost\",\"error_message\":\")" + message + R"(\",\"attempt\":)" +
                     std::to_string(attempt) + R"(}")");
}

JobView view_of(const Remembered& known) {
  const Outcome& outcome = known.outcome;
  return {known.job.id,        outcome.status,       known.job.submitted_ms, outcome.started_ms,
          outcome.finished_ms, outcome.execution_ms, outcome.worker_id,      outcome.attempts,
          outcome.output,      outcome.error,        outcome.history};
}

}  // namespace bulkhead
