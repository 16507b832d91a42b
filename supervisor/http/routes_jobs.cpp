// /run and /runsync: a body becomes a job.

#include <array>

#include "supervisor/http/routes.hpp"
#include "supervisor/http/submission.hpp"
#include "supervisor/http/waiting.hpp"
#include "supervisor/job/trace_context.hpp"

namespace bulkhead::http {
namespace {

constexpr std::size_t kMaxIdempotencyKey = 255;

/// The members beside `input` that a handler may see.
Payload extra_of(const Submission& submission) {
  if (submission.s3_config.empty()) return {};
  return Payload::of("{\"s3Config\":" + std::string(submission.s3_config) + "}");
}

/// The job in the body, or none after its refusal was sent.
std::optional<Job> job_of(Api& api, Exchange& exchange, bool sync) {
  auto parsed = parse_submission(exchange.body().bytes(), api.default_policy);
  if (auto* problem = std::get_if<Problem>(&parsed)) {
    exchange.send(*problem);
    return {};
  }
  const std::string& key = exchange.head().idempotency_key;
  if (key.size() > kMaxIdempotencyKey) {
    exchange.send(Problem{.code = "invalid_request",
                          .message = "Idempotency-Key is too long",
                          .limit = kMaxIdempotencyKey,
                          .got = static_cast<std::int64_t>(key.size())});
    return {};
  }
  auto& submission = std::get<Submission>(parsed);
  Job job;
  job.submitted_ms = api.clock.now().wall_ms;
  job.id = api.ids.next(sync, job.submitted_ms);
  job.input = exchange.body().slice(submission.input);
  job.extra = extra_of(submission);
  set_traceparent(job, exchange.head().traceparent);
  job.policy = submission.policy;
  job.webhook = std::move(submission.webhook);
  job.idempotency_key = key;
  job.sync = sync;
  return job;
}

/// Whether the client has sent this job before, and is to be told of that one.
bool is_repeat(const Accepted& accepted) { return accepted.refusal == Refusal::Duplicate && !accepted.id.empty(); }

void run(Api& api, Exchange& exchange) {
  auto job = job_of(api, exchange, false);
  if (!job) return;
  std::string id = job->id;
  api.endpoint.submit(
      std::move(*job), [&api, self = exchange.shared_from_this(), id = std::move(id)](Accepted accepted) {
        if (!self->open()) return;
        if (is_repeat(accepted)) {
          return api.endpoint.status(accepted.id, [self, known = accepted.id](const JobView* view) {
            write_state(self->reply(), known, to_string(view == nullptr ? Status::InQueue : view->status));
            self->send();
          });
        }
        if (accepted.refusal != Refusal::None) return self->send(refused(accepted));
        write_state(self->reply(), id, to_string(Status::InQueue));
        self->send();
      });
}

void runsync(Api& api, Exchange& exchange) {
  auto wait = wait_time(exchange);
  if (!wait) return;
  auto job = job_of(api, exchange, true);
  if (!job) return;
  std::string id = job->id;
  api.endpoint.submit(std::move(*job),
                      [&api, wait = *wait, self = exchange.shared_from_this(), id = std::move(id)](Accepted accepted) {
                        if (is_repeat(accepted)) return answer_when_final(api, *self, accepted.id, wait);
                        if (accepted.refusal != Refusal::None) return self->send(refused(accepted));
                        answer_when_final(api, *self, id, wait);
                      });
}

constexpr std::array kRoutes{
    Route{.name = "run", .post = true, .body = BodyLimit::Run, .handle = run},
    Route{.name = "runsync", .post = true, .body = BodyLimit::Runsync, .handle = runsync},
};

}  // namespace

std::span<const Route> job_routes() { return kRoutes; }

}  // namespace bulkhead::http
