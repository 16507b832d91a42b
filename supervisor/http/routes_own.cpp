// /bulkhead/dead and /bulkhead/quarantine. RunPod's API has no word for them; the name before them is ours, so that nothing
// RunPod adds can clash with it.

#include <array>
#include <utility>

#include "supervisor/http/upgrades.hpp"
#include "supervisor/http/waiting.hpp"

namespace bulkhead::http {
namespace {

constexpr std::size_t kMostLetters = 1000;

Problem unknown_letter(const Api& api, std::string_view id) {
  if (auto problem = unreadable(api)) return *problem;
  return {.status = 404,
          .code = "unknown_job",
          .message = "there is no dead letter of job " + std::string(id) + " (any more); /bulkhead/dead lists them"};
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
  api.endpoint.dead_letters(kMostLetters,
                            [&api, self = exchange.shared_from_this()](std::span<const DeadLetter> letters) {
                              if (!self->open()) return;
                              if (auto problem = unreadable(api)) return self->send(*problem);
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

void show(Api& api, Exchange& exchange) {
  const std::string_view id = exchange.id();
  api.endpoint.dead_letter(id,
                           [&api, self = exchange.shared_from_this(), id = std::string(id)](const DeadLetter* letter) {
                             if (!self->open()) return;
                             if (letter == nullptr) return self->send(unknown_letter(api, id));
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
                             if (!letter->outcome.error.empty())
                               reply.raw(",\"error\":").payload(object_of(letter->outcome.error));
                             if (!letter->job.input.empty()) reply.raw(",\"input\":").payload(letter->job.input);
                             reply.raw("}");
                             self->send();
                           });
}

void retry(Api& api, Exchange& exchange) {
  const std::string_view id = exchange.id();
  api.endpoint.retry_dead(
      id, [&api, self = exchange.shared_from_this(), id = std::string(id)](std::optional<Accepted> accepted) {
        if (!self->open()) return;
        if (!accepted) return self->send(unknown_letter(api, id));
        if (accepted->refusal != Refusal::None) return self->send(refused(*accepted));
        write_state(self->reply(), id, to_string(Status::InQueue));
        self->send();
      });
}

void drop(Api& api, Exchange& exchange) {
  const std::string_view id = exchange.id();
  api.endpoint.drop_dead(id, [&api, self = exchange.shared_from_this(), id = std::string(id)](bool dropped) {
    if (!self->open()) return;
    if (!dropped) return self->send(unknown_letter(api, id));
    self->reply().raw("{\"id\":").string(id).raw(",\"dropped\":true}");
    self->send();
  });
}

void clear(Api& api, Exchange& exchange) {
  const auto cleared = static_cast<std::int64_t>(api.endpoint.clear_quarantine());
  exchange.reply().raw("{\"suspects_cleared\":").number(cleared).raw("}");
  exchange.send();
}

constexpr std::array kRoutes{
    Route{.name = "bulkhead", .path = "dead", .get = true, .head = true, .handle = list},
    Route{.name = "bulkhead", .path = "dead/{id}", .get = true, .head = true, .handle = show},
    Route{.name = "bulkhead", .path = "dead/{id}/retry", .post = true, .handle = retry},
    Route{.name = "bulkhead", .path = "dead/{id}/drop", .post = true, .handle = drop},
    Route{.name = "bulkhead", .path = "quarantine/clear", .post = true, .handle = clear},
    Route{.name = "bulkhead", .path = "upgrade", .get = true, .post = true, .handle = upgrade},
};

}  // namespace

std::span<const Route> own_routes() { return kRoutes; }

}  // namespace bulkhead::http
