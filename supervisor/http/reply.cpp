#include "supervisor/http/reply.hpp"

#include "supervisor/job/job_json.hpp"
#include "supervisor/json/json_scan.hpp"

namespace bulkhead::http {

void Reply::reset(int status) {
  status_ = status;
  type_ = "application/json";
  close_ = false;
  clear();
  headers_.clear();
}

Reply& Reply::header(std::string_view name, std::string_view value) {
  headers_.append(name).append(": ").append(value).append("\r\n");
  return *this;
}

void write_state(Reply& reply, std::string_view id, std::string_view status) {
  reply.raw("{\"id\":").string(id).raw(",\"status\":").string(status).raw("}");
}

void write_stream(Reply& reply, const JobView& view, const std::vector<Payload>& chunks, std::int64_t now_ms,
                  std::optional<std::uint32_t> after) {
  reply.raw("{");
  if (after) reply.raw("\"after\":").number(*after).raw(",");
  if (is_final(view.status)) {
    write_job_members(reply, view, now_ms);
  } else {
    reply.raw("\"delayTime\":").number(delay_ms(view, now_ms)).raw(",\"id\":").string(view.id);
    reply.raw(",\"status\":\"").raw(to_string(view.status)).raw("\"");
  }
  reply.raw(",\"stream\":[");
  bool first = true;
  for (const Payload& chunk : chunks) {
    reply.raw(first ? "{\"output\":" : ",{\"output\":").payload(chunk).raw("}");
    first = false;
  }
  reply.raw("]}");
}

void write_health(Reply& reply, const HealthView& health) {
  const auto& jobs = health.jobs;
  const auto& workers = health.workers;
  reply.raw("{\"jobs\":{\"completed\":").number(jobs.completed);
  reply.raw(",\"failed\":").number(jobs.failed);
  reply.raw(",\"inProgress\":").number(jobs.in_progress);
  reply.raw(",\"inQueue\":").number(jobs.in_queue);
  reply.raw(",\"retried\":").number(jobs.retried);
  reply.raw("},\"workers\":{\"idle\":").number(workers.idle);
  reply.raw(",\"initializing\":").number(workers.initializing);
  reply.raw(",\"ready\":").number(workers.ready);
  reply.raw(",\"running\":").number(workers.running);
  reply.raw(",\"throttled\":").number(workers.throttled);
  reply.raw(",\"unhealthy\":").number(workers.unhealthy).raw("}}");
}

Payload object_of(const Payload& json) {
  const std::string_view text = json.bytes();
  if (!text.starts_with("\"{") || !text.ends_with("}\"")) return json;
  return Payload::of(unescape(text.substr(1, text.size() - 2)));
}

void write_problem(Reply& reply, const Problem& problem) {
  reply.reset(problem.status);
  reply.raw("{\"error\":{\"code\":").string(problem.code).raw(",\"message\":").string(problem.message);
  if (problem.limit) reply.raw(",\"limit\":").number(*problem.limit);
  if (problem.got) reply.raw(",\"got\":").number(*problem.got);
  reply.raw("}}");
  if (problem.retry_after > 0) reply.header("Retry-After", std::to_string(problem.retry_after));
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 421: return "Misdirected Request";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

}  // namespace bulkhead::http
