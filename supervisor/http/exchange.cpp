#include "supervisor/http/exchange.hpp"

namespace bulkhead::http {

void Head::clear() {
  method = Method::Other;
  target.clear();
  authorization.clear();
  idempotency_key.clear();
  accept.clear();
  accept_encoding.clear();
  if_none_match.clear();
  last_event_id.clear();
  host.clear();
  origin.clear();
  traceparent.clear();
  forwarded_expect.clear();
  content_length.reset();
  hosts = 0;
  bad_host = false;
  http11 = true;
  chunked = false;
  cross_site = foreign_host = false;
  strange_encoding = false;
  expects_continue = false;
  keep_alive = true;
}

Reply& Exchange::reply(int status) {
  reply_.reset(status);
  return reply_;
}

void Exchange::waits_as(std::uint64_t waiter) {
  // The endpoint may have answered before it told us the number.
  if (!answered_) waiter_ = waiter;
}

void Exchange::send(const Problem& problem) {
  write_problem(reply_, problem);
  send();
}

}  // namespace bulkhead::http
