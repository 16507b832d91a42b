// /bulkhead/jobs and /bulkhead/jobs/{id}: what there is of jobs, and of one. What jobs were given and what they gave is for
// those who may submit some, so not for everybody who reaches an address without keys: see Api::tells_all.

#include <algorithm>
#include <array>
#include <utility>

#include "supervisor/http/waiting.hpp"

namespace bulkhead::http {
namespace {

constexpr std::int64_t kMostJobs = 1000;
constexpr std::size_t kMostInput = 64 << 10;

std::optional<std::uint8_t> states_of(std::string_view text) {
  std::uint8_t states = 0;
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(name.size() + 1, text.size()));
    bool known = name.empty();
    for (auto status = Status::InQueue; status <= Status::TimedOut;
         status = static_cast<Status>(static_cast<int>(status) + 1)) {
      if (name != to_string(status)) continue;
      states = static_cast<std::uint8_t>(states | (1u << static_cast<unsigned>(status)));
      known = true;
    }
    if (!known) return std::nullopt;
  }
  return states;
}

/// None after a refusal was sent.
std::optional<JobsQuery> query_of(Exchange& exchange) {
  JobsQuery query;
  auto refuse = [&](Problem problem) {
    problem.code = "invalid_request";
    exchange.send(problem);
    return std::nullopt;
  };
  const std::string_view text = exchange.query();
  const auto states = states_of(decoded_parameter(text, "state"));
  if (!states)
    return refuse({.message =
                       "state must be of IN_QUEUE, IN_PROGRESS, COMPLETED, FAILED, CANCELLED and TIMED_OUT, with "
                       "commas between"});
  query.states = *states;
  query.error_type = decoded_parameter(text, "error_type");
  query.worker = decoded_parameter(text, "worker");
  query.id = decoded_parameter(text, "id");
  if (auto limit = parameter(text, "limit")) {
    const auto number = whole_number(*limit);
    if (!number || *number < 1 || *number > kMostJobs)
      return refuse(
          {.message = "limit must be 1 to 1000; `before` gives what is older", .limit = kMostJobs, .got = number});
    query.limit = static_cast<std::size_t>(*number);
  }
  if (auto before = parameter(text, "before"); before && !before->empty()) {
    const auto number = whole_number(*before);
    if (!number || *number < 1) return refuse({.message = "before must be what an answer gave as `before`"});
    query.before = *number;
  }
  return query;
}

/// As far as it is known without its payloads.
JobView view_of(const ListedJob& job) {
  JobView view;
  view.id = job.id;
  view.status = job.status;
  view.submitted_ms = job.submitted_ms;
  view.started_ms = job.started_ms;
  view.finished_ms = job.finished_ms;
  view.execution_ms = job.execution_ms;
  view.worker_id = job.worker_id;
  view.attempts = job.attempts;
  return view;
}

void write_moment(Reply& reply, std::int64_t ms) {
  if (ms == 0)
    reply.raw("null");
  else
    reply.number(ms);
}

void write_listed(Reply& reply, const ListedJob& job, std::int64_t now_ms) {
  std::int64_t run_ms = is_final(job.status) ? job.execution_ms : 0;
  if (job.status == Status::InProgress) run_ms = std::max<std::int64_t>(0, now_ms - job.started_ms);
  reply.raw("{\"id\":").string(job.id).raw(",\"status\":").string(to_string(job.status));
  reply.raw(",\"submitted_at\":").number(job.submitted_ms).raw(",\"started_at\":");
  write_moment(reply, job.started_ms);
  reply.raw(",\"ended_at\":");
  write_moment(reply, job.finished_ms);
  reply.raw(",\"wait_ms\":").number(delay_ms(view_of(job), now_ms)).raw(",\"run_ms\":").number(run_ms);
  reply.raw(",\"worker_id\":").string(job.worker_id).raw(",\"attempts\":").number(job.attempts);
  reply.raw(",\"error_type\":").string(job.error_type).raw("}");
}

void write_found(Reply& reply, const observe::JobsFound& found, std::int64_t now_ms) {
  reply.raw("{\"jobs\":[");
  bool first = true;
  for (const ListedJob& job : found.jobs) {
    if (!std::exchange(first, false)) reply.raw(",");
    write_listed(reply, job, now_ms);
  }
  reply.raw("],\"before\":");
  if (found.before != 0)
    reply.string(std::to_string(found.before));
  else
    reply.raw("null");
  reply.raw(",\"total\":");
  if (found.total)
    reply.number(*found.total);
  else
    reply.raw("null");
  reply.raw("}");
}

void jobs(Api& api, Exchange& exchange) {
  if (!may_tell(api, exchange)) return;
  auto query = query_of(exchange);
  if (!query) return;
  api.onlooker->jobs(std::move(*query), [&api, self = exchange.shared_from_this()](const observe::JobsFound& found) {
    if (!self->open()) return;
    if (auto problem = unreadable(api)) return self->send(*problem);
    write_found(self->reply(), found, api.clock.now().wall_ms);
    self->send();
  });
}

/// The record of its last crash, or none. An error that a handler reported may look like one, and is none.
Payload crash_of(const JobRecord& record) {
  const std::string& type = record.listed.error_type;
  Payload error = type.empty() || type == "HandlerError" ? Payload() : object_of(record.error);
  if (!error.bytes().starts_with('{')) error = object_of(record.crash);
  return error;
}

void write_record(Reply& reply, const JobRecord& record, std::int64_t now_ms) {
  const ListedJob& job = record.listed;
  JobView view = view_of(job);
  view.output = is_final(job.status) ? record.output : record.progress;
  view.error = record.error;
  view.history = record.history;
  reply.raw("{");
  write_job_members(reply, view, now_ms);
  reply.raw(",\"submitted_at\":").number(job.submitted_ms).raw(",\"started_at\":");
  write_moment(reply, job.started_ms);
  reply.raw(",\"ended_at\":");
  write_moment(reply, job.finished_ms);
  if (!record.input.empty())
    reply.raw(",\"input\":").payload(record.input);
  else if (record.input_size > 0)
    reply.raw(",\"input_bytes\":").number(record.input_size);
  else
    reply.raw(",\"input_bytes\":null");
  reply.raw(",\"attempts\":[").payload(record.history).raw("],\"chunks\":").number(record.chunks);
  reply.raw(",\"error_type\":").string(job.error_type);
  for (const auto& [name, value] : {std::pair(",\"progress\":", record.progress), {",\"crash\":", crash_of(record)}}) {
    reply.raw(name);
    if (value.empty())
      reply.raw("null");
    else
      reply.payload(value);
  }
  reply.raw("}");
}

void job(Api& api, Exchange& exchange) {
  if (!may_tell(api, exchange)) return;
  api.onlooker->job(exchange.id(), kMostInput,
                    [&api, self = exchange.shared_from_this()](const std::optional<JobRecord>& record) {
                      if (!self->open()) return;
                      if (!record) return self->send(unknown_job(api, self->id()));
                      write_record(self->reply(), *record, api.clock.now().wall_ms);
                      self->send();
                    });
}

constexpr std::array kRoutes{
    Route{.name = "bulkhead", .path = "jobs", .get = true, .head = true, .watches = true, .handle = jobs},
    Route{.name = "bulkhead", .path = "jobs/{id}", .get = true, .head = true, .watches = true, .handle = job},
};

}  // namespace

std::span<const Route> listing_routes() { return kRoutes; }

}  // namespace bulkhead::http
