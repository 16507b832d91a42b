// /openai/v1/*: what an OpenAI client sends becomes the input of a job, as RunPod's platform does it:
// {"openai_route":"/v1/…","openai_input":BODY}. The handler answers with OpenAI's own objects.
//
// With "stream": true its chunks go out as they come: a string is raw text of server-sent events (what worker-vllm
// yields), anything else becomes a data line. Otherwise the answer is the result itself, taken out of the array that an
// aggregated stream of one chunk is. A client that goes away cancels its job: nobody else knows its name.

#include <array>
#include <utility>

#include "supervisor/http/events.hpp"
#include "supervisor/http/submission.hpp"
#include "supervisor/job/trace_context.hpp"
#include "supervisor/json/json_scan.hpp"

namespace bulkhead::http {
namespace {

/// The elements of a JSON array, up to `most`; what is no array is its own only element.
std::vector<Payload> elements_of(const Payload& json, std::size_t most) {
  if (json.empty()) return {};
  JsonScanner scanner(json.bytes());
  if (scanner.peek() != '[') return {json};
  std::vector<Payload> elements;
  scanner.take('[');
  std::string_view element;
  while (elements.size() < most && scanner.peek() != ']' && scanner.value(element)) {
    elements.push_back(json.slice(element));
    if (scanner.peek() == ',') scanner.take(',');
  }
  return elements;
}

class Call : public std::enable_shared_from_this<Call> {
 public:
  Call(Api& api, Exchange& exchange, std::string id, bool stream)
      : api_(api), exchange_(exchange.shared_from_this()), id_(std::move(id)), stream_(stream) {}

  void next() {
    exchange_->waits_as(api_.endpoint.follow(
        id_, known_,
        [self = shared_from_this()](const JobView* job, Endpoint::News news) { self->tell(job, std::move(news)); }));
  }

 private:
  void tell(const JobView* job, Endpoint::News news) {
    if (!exchange_->open()) return;
    if (job == nullptr) return fail("the job is not known any more", {});
    known_ = news.position;
    for (Payload& chunk : news.chunks) {
      if (stream_) {
        forward(chunk);
      } else if (chunks_.size() < 2) {
        chunks_.push_back(std::move(chunk));  // only whether there is exactly one matters
      }
    }
    if (is_final(job->status) && news.chunks.empty()) return finish(*job);
    exchange_->send_events([self = shared_from_this()] { self->next(); });
  }

  Reply& events() {
    if (!std::exchange(begun_, true)) {
      exchange_->reply();
      exchange_->begin_events();
    }
    return exchange_->reply_so_far();
  }

  void forward(const Payload& chunk) {
    Reply& reply = events();
    if (chunk.bytes().starts_with('"')) {
      std::string text = unescape(chunk.bytes().substr(1, chunk.size() - 2));
      done_seen_ |= text.find("[DONE]") != std::string::npos;
      reply.raw(text);
    } else {
      reply.raw("data: ").payload(one_line(chunk)).raw("\n\n");
    }
  }

  void finish(const JobView& job) {
    if (job.status != Status::Completed) return fail(to_string(job.status), job.error);
    if (stream_) {
      if (!begun_) {
        for (const Payload& element : elements_of(job.output, SIZE_MAX)) forward(element);
      }
      if (!done_seen_) events().raw("data: [DONE]\n\n");
      return exchange_->end_events();
    }
    auto results = chunks_.size() == 1 ? chunks_ : elements_of(job.output, 2);
    Reply& reply = exchange_->reply();
    if (results.size() == 1) {
      reply.payload(results.front());
    } else if (job.output.empty()) {
      reply.raw("{}");
    } else {
      reply.payload(job.output);
    }
    exchange_->send();
  }

  /// In OpenAI's form, which its clients show to people.
  void fail(std::string_view state, const Payload& error) {
    Reply& reply = begun_ ? events() : exchange_->reply(state == to_string(Status::TimedOut) ? 504 : 500);
    if (begun_) reply.raw("data: ");
    reply.raw("{\"error\":{\"message\":");
    if (error.bytes().starts_with('"')) {
      reply.payload(error);
    } else {
      reply.string(error.empty() ? state : error.bytes());
    }
    reply.raw(",\"type\":\"server_error\",\"code\":\"job_failed\",\"param\":null}}");
    if (!begun_) return exchange_->send();
    reply.raw("\n\n");
    exchange_->end_events();
  }

  Api& api_;
  std::shared_ptr<Exchange> exchange_;
  std::string id_;
  bool stream_;
  bool begun_ = false;
  bool done_seen_ = false;
  Endpoint::Position known_;
  std::vector<Payload> chunks_;
};

void openai(Api& api, Exchange& exchange) {
  std::string_view body = exchange.body().bytes();
  OpenAiCall request;
  if (exchange.head().method == Method::Post) {
    auto parsed = parse_openai(body);
    if (auto* problem = std::get_if<Problem>(&parsed)) return exchange.send(*problem);
    request = std::get<OpenAiCall>(parsed);
  }
  std::string input = "{\"openai_route\":";
  append_json_string(input, exchange.id());
  if (exchange.head().method == Method::Post) {
    input.reserve(input.size() + body.size() + 20);
    input.append(",\"openai_input\":").append(body);
  }
  input += "}";
  Job job;
  job.submitted_ms = api.clock.now().wall_ms;
  job.id = api.ids.next(true, job.submitted_ms);
  job.input = Payload::of(std::move(input));
  job.policy = api.default_policy;
  set_traceparent(job, exchange.head().traceparent);
  job.sync = true;
  std::string id = job.id;
  api.endpoint.submit(std::move(job), [&api, self = exchange.shared_from_this(), id = std::move(id),
                                       stream = request.stream](Accepted accepted) {
    if (accepted.refusal != Refusal::None) return self->send(refused(accepted));
    if (!self->open()) {
      api.endpoint.cancel(id);
      return;
    }
    self->when_gone([&api, id] { api.endpoint.cancel(id); });
    std::make_shared<Call>(api, *self, id, stream)->next();
  });
}

constexpr std::array kRoutes{
    Route{.name = "openai", .has_rest = true, .get = true, .post = true, .body = BodyLimit::Runsync, .handle = openai},
};

}  // namespace

std::span<const Route> openai_routes() { return kRoutes; }

}  // namespace bulkhead::http
