// /bulkhead/…: what RunPod's API has no word for. Its name is ours, so that nothing RunPod adds can clash with it.

#include <array>
#include <utility>

#include "supervisor/http/waiting.hpp"
#include "supervisor/json/json_scan.hpp"

namespace bulkhead::http {
namespace {

constexpr std::size_t kMostLetters = 1000;

Problem unknown_letter(std::string_view id) {
  return {.status = 404,
          .code = "unknown_job",
          .message = "there is no dead letter of job " + std::string(id) + " (any more); /bulkhead/dead lists them"};
}

/// What a JSON string of an object stands for; any other value as it is.
Payload object_of(const Payload& json) {
  std::string_view text = json.bytes();
  if (!text.starts_with("\"{") || !text.ends_with("}\"")) return json;
  return Payload::of(unescape(text.substr(1, text.size() - 2)));
}

void write_letter_members(Reply& reply, const DeadLetter& letter) {
  const Outcome& outcome = letter.outcome;
  reply.raw("\"id\":").string(letter.job.id);
  reply.raw(",\"submitted_at\":").number(letter.job.submitted_ms);
  reply.raw(",\"died_at\":").number(outcome.finished_ms);
  reply.raw(",\"error_type\":").string(outcome.error_type);
  reply.raw(",\"worker_id\":").string(outcome.worker_id);
  reply.raw(",\"attempts\":[").payload(outcome.history).raw("]");
}

void list(Api& api, Exchange& exchange) {
  api.endpoint.dead_letters(kMostLetters, [self = exchange.shared_from_this()](std::span<const DeadLetter> letters) {
    if (!self->open()) return;
    Reply& reply = self->reply();
    reply.raw("{\"dead\":[");
    bool first = true;
    for (const DeadLetter& letter : letters) {
      reply.raw(std::exchange(first, false) ? "{" : ",{");
      write_letter_members(reply, letter);
      reply.raw("}");
    }
    reply.raw("]}");
    self->send();
  });
}

void show(Api& api, Exchange& exchange, std::string_view id) {
  api.endpoint.dead_letter(id, [self = exchange.shared_from_this(), id = std::string(id)](const DeadLetter* letter) {
    if (!self->open()) return;
    if (letter == nullptr) return self->send(unknown_letter(id));
    Reply& reply = self->reply();
    reply.raw("{");
    write_letter_members(reply, *letter);
    reply.raw(",\"crashes\":[");
    bool first = true;
    for (const Payload& record : letter->records) {
      if (!std::exchange(first, false)) reply.raw(",");
      reply.payload(object_of(record));
    }
    reply.raw("]");
    if (!letter->outcome.error.empty()) reply.raw(",\"error\":").payload(object_of(letter->outcome.error));
    if (!letter->job.input.empty()) reply.raw(",\"input\":").payload(letter->job.input);
    reply.raw("}");
    self->send();
  });
}

void retry(Api& api, Exchange& exchange, std::string_view id) {
  api.endpoint.retry_dead(id,
                          [self = exchange.shared_from_this(), id = std::string(id)](std::optional<Accepted> accepted) {
                            if (!self->open()) return;
                            if (!accepted) return self->send(unknown_letter(id));
                            if (accepted->refusal != Refusal::None) return self->send(refused(*accepted));
                            write_state(self->reply(), id, to_string(Status::InQueue));
                            self->send();
                          });
}

void drop(Api& api, Exchange& exchange, std::string_view id) {
  api.endpoint.drop_dead(id, [self = exchange.shared_from_this(), id = std::string(id)](bool dropped) {
    if (!self->open()) return;
    if (!dropped) return self->send(unknown_letter(id));
    self->reply().raw("{\"id\":").string(id).raw(",\"dropped\":true}");
    self->send();
  });
}

void clear(Api& api, Exchange& exchange) {
  const auto cleared = static_cast<std::int64_t>(api.endpoint.clear_quarantine());
  exchange.reply().raw("{\"suspects_cleared\":").number(cleared).raw("}");
  exchange.send();
}

/// /dead, /dead/{id}, /dead/{id}/retry, /dead/{id}/drop, /quarantine/clear; what changes something wants a POST.
void own(Api& api, Exchange& exchange) {
  std::array<std::string_view, 4> parts;
  std::size_t count = 0;
  for (std::string_view path = exchange.id(); !path.empty();) {
    path.remove_prefix(1);  // the slash
    std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(part.size());
    if (part.empty()) continue;
    if (count == parts.size()) return exchange.send(unknown_path("bulkhead"));
    parts[count++] = part;
  }
  const bool post = exchange.head().method == Method::Post;
  if (parts[0] == "quarantine" && parts[1] == "clear" && count == 2 && post) return clear(api, exchange);
  if (parts[0] == "dead" && count == 1 && !post) return list(api, exchange);
  if (parts[0] == "dead" && count == 2 && !post) return show(api, exchange, parts[1]);
  if (parts[0] == "dead" && count == 3 && parts[2] == "retry" && post) return retry(api, exchange, parts[1]);
  if (parts[0] == "dead" && count == 3 && parts[2] == "drop" && post) return drop(api, exchange, parts[1]);
  Problem problem = unknown_path("bulkhead");
  problem.message =
      "there is nothing at this path; try GET /bulkhead/dead, GET /bulkhead/dead/{id}, POST /bulkhead/dead/{id}/retry, "
      "POST /bulkhead/dead/{id}/drop or POST /bulkhead/quarantine/clear";
  exchange.send(problem);
}

constexpr std::array kRoutes{
    Route{.name = "bulkhead", .has_rest = true, .get = true, .post = true, .head = true, .handle = own},
};

}  // namespace

std::span<const Route> own_routes() { return kRoutes; }

}  // namespace bulkhead::http
