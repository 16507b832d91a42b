// A session is driven by three things: bytes that arrive, the answer of a route, and the server's sweep. Each changes
// the phase and calls advance(), which does all that can be done now and then rests: it reads on, waits for the route,
// or waits for the client to take what it was sent. Nothing is sent before advance() rests, so the answers to pipelined
// requests leave in one system call.
//
// This file has the way of a request; session_io.cpp has the bytes.
//
// The server's list owns sessions; operations under way hold them too. After close() a session touches neither the
// server nor the endpoint, whatever still arrives.

#include "supervisor/http/session.hpp"

#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <system_error>

#include "supervisor/http/server.hpp"

namespace bulkhead::http {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t kGather = 256 << 10;   // answers to pipelined requests held back at most
constexpr std::size_t kReadOver = 64 << 10;  // a refused body up to this is read, to keep the connection

}  // namespace

Session::Session(Server& server, Socket socket, bool surplus)
    : server_(server), socket_(std::move(socket)), surplus_(surplus) {}

void Session::start() {
  deadline_ = server_.tick() + server_.ticks(server_.api_.limits.request);
  read();
  hand_over();
}

void Session::drain() {
  bool idle = phase_ == Phase::Head && !parser_ && outbox_.empty();
  if (idle) return close();
  end_endless();
}

void Session::end_endless() {
  if (phase_ != Phase::Streaming || !pieces_.endless) return;
  keep_alive_ = false;
  reply_.reset(200);
  if (auto gone = std::exchange(gone_, nullptr)) gone();
  end_events();
}

bool Session::is_tcp() const {
  error_code error;
  const int family = socket_.local_endpoint(error).protocol().family();
  return !error && family != AF_UNIX;
}

bool Session::is_idle() const {
  return phase_ == Phase::Head && !parser_ && inbox_.empty() && outbox_.empty() && !writing_ && !peer_closed_ &&
         !close_after_;
}

/// The read that waits for a request is ended first: what it may have taken in already is still answered here.
void Session::hand_over() {
  if (!server_.handing_over()) return;
  if (!is_idle()) return end_endless();
  if (!reading_) return part();
  error_code ignored;
  socket_.cancel(ignored);
}

void Session::part() {
  error_code error;
  int connection = socket_.release(error);
  if (error) return close();
  server_.keep(connection);
  close();
}

void Session::close() {
  if (phase_ == Phase::Closed) return;
  auto keep = self();
  phase_ = Phase::Closed;
  error_code ignored;
  socket_.close(ignored);
  release_rate();
  taken_ = nullptr;
  if (std::uint64_t waiter = std::exchange(waiter_, 0)) server_.api_.endpoint.stop_waiting(waiter);
  if (auto gone = std::exchange(gone_, nullptr)) gone();
  server_.remove(*this);
}

void Session::check_deadline() {
  hand_over();  // what began meanwhile, and would not end
  if (phase_ == Phase::Closed) return;
  if (writing_ && server_.tick() > write_deadline_) return close();
  if (phase_ == Phase::Streaming && !writing_ && server_.tick() >= comment_at_) comment();
  if (deadline_ == 0 || server_.tick() <= deadline_) return;
  bool begun = phase_ == Phase::Body || (phase_ == Phase::Head && parser_);
  if (!begun) return close();
  auto limit = server_.api_.limits.request.count();
  fail({.status = 408, .code = "request_timeout", .message = "the request did not arrive in time", .limit = limit});
}

// ---- the way of a request --------------------------------------------------------------------------------------------

void Session::advance() {
  if (advancing_ || phase_ == Phase::Closed) return;
  auto keep = self();
  advancing_ = true;
  while (!writing_ && step()) {
    if (outbox_.size() >= kGather) flush();
  }
  advancing_ = false;
  flush();
  rest();
}

bool Session::step() {
  switch (phase_) {
    case Phase::Head: return read_head();
    case Phase::Body: return read_body();
    default: return false;
  }
}

/// Nothing more can be done with what is here: wait for more, or end.
void Session::rest() {
  if (phase_ == Phase::Closed || phase_ == Phase::Lingering || writing_) return;
  if (!busy()) {
    bool idle = phase_ == Phase::Head && !parser_;
    if (close_after_ || (idle && (peer_closed_ || server_.draining()))) return linger();
    if (server_.handing_over() && is_idle()) return hand_over();
    if (peer_closed_) {
      return fail(
          {.code = "incomplete_request", .message = "the connection was closed before the request was complete"});
    }
  }
  read();
}

bool Session::read_head() {
  if (close_after_) return false;
  if (!parser_) {
    // Between two requests a stray line end is to be tolerated.
    while (inbox_.bytes().starts_with("\r\n")) inbox_.consume(2);
    if (inbox_.empty() || inbox_.bytes() == "\r") return false;
    head_.clear();
    parser_.emplace(head_);
    parser_->header_limit(static_cast<std::uint32_t>(server_.api_.limits.header));
    header_bytes_ = 0;
    deadline_ = server_.tick() + server_.ticks(server_.api_.limits.request);
  }
  boost::beast::error_code error;
  std::size_t used = parser_->put(asio::buffer(inbox_.bytes().data(), inbox_.size()), error);
  inbox_.consume(used);
  header_bytes_ += used;
  if (header_bytes_ > server_.api_.limits.header) error = boost::beast::http::error::header_limit;
  if (error == boost::beast::http::error::need_more) return false;
  if (error) return on_parse_error(error);
  on_head();
  return true;
}

bool Session::on_parse_error(const boost::beast::error_code& error) {
  using boost::beast::http::error::body_limit;
  using boost::beast::http::error::header_limit;
  if (error == header_limit) {
    fail({.status = 431,
          .code = "header_too_large",
          .message = "the request's header is too large",
          .limit = server_.api_.limits.header});
  } else if (error == body_limit) {
    fail(body_too_large(*route_, server_.api_.limits, parser_->announced()));
  } else {
    fail({.code = "malformed_request", .message = "not a valid HTTP/1.1 request: " + error.message()});
  }
  return true;
}

/// What is already wrong with a request whose body has not arrived; null-status Problem values are not used.
std::optional<Problem> Session::judge_head() {
  const Match match = http::match(head_.target);
  const bool open = match.route != nullptr && match.route->open;
  if (surplus_ && !open) {
    return Problem{.status = 429,
                   .code = "too_many_connections",
                   .message = "too many clients are connected",
                   .limit = server_.api_.limits.connections};
  }
  if (head_.http11 ? head_.hosts != 1 : head_.hosts > 1) {
    keep_alive_ = false;
    return Problem{
        .code = "malformed_request", .message = "there must be exactly one Host field", .limit = 1, .got = head_.hosts};
  }
  if (head_.bad_host) {
    keep_alive_ = false;
    return Problem{.code = "malformed_request", .message = "the Host field must be a host, or a host and a port"};
  }
  // Without keys, being on this machine is what lets one in. A name of somebody else's that leads here brings a browser on
  // this machine, and with it any page (DNS rebinding).
  if (head_.foreign_host && !open && server_.keys_.open() && !server_.watching_only_ && is_tcp()) {
    return Problem{.status = 421,
                   .code = "foreign_host",
                   .message = "without API keys this endpoint is asked by an address or a local name, and Host is " +
                              head_.host + "; set API keys, or ask by 127.0.0.1 or localhost"};
  }
  if (!head_.http11 && (head_.chunked || head_.strange_encoding)) {
    keep_alive_ = false;  // whoever passed it on may have seen the body end elsewhere
    return Problem{.code = "malformed_request", .message = "Transfer-Encoding needs HTTP/1.1"};
  }
  if (head_.strange_encoding) {
    keep_alive_ = false;  // nobody knows where its body ends
    return Problem{.status = 501, .code = "unknown_encoding", .message = "Transfer-Encoding may only be chunked"};
  }
  if (!head_.forwarded_expect.empty()) {
    return Problem{.status = 417, .code = "unknown_expectation", .message = "Expect may only be 100-continue"};
  }
  if (head_.method != Method::Options && !open && !server_.keys_.open() && !server_.keys_.check(head_.authorization)) {
    return Problem{.status = 401,
                   .code = "unauthorized",
                   .message = head_.authorization.empty() ? "an API key is needed: Authorization: Bearer KEY"
                                                          : "this API key is not known"};
  }
  route_ = match.route;
  if (route_ != nullptr && server_.watching_only_ && !route_->watches) route_ = nullptr;
  id_ = match.id;
  query_ = match.query;
  if (route_ == nullptr) {
    if (head_.method == Method::Options && head_.target == "*") return {};
    return unknown_path(match.name);
  }
  if (!route_->allows(head_.method)) {
    return Problem{
        .status = 405, .code = "method_not_allowed", .message = route_->shown() + " takes " + route_->allowed()};
  }
  // A page from anywhere, in a browser here, is not let in either.
  if (head_.cross_site && head_.method == Method::Post && server_.keys_.open()) {
    return Problem{
        .status = 403, .code = "cross_site", .message = "not from another site's page; set API keys to allow it"};
  }
  if (auto wait = server_.rates_.admit(route_->name, server_.api_.clock.now().mono)) {
    return Problem{
        .status = 429, .code = "rate_limited", .message = "too many requests to this path", .retry_after = *wait};
  }
  rated_ = true;
  std::uint64_t length = head_.content_length.value_or(0);
  if (length > body_limit(*route_, server_.api_.limits)) return body_too_large(*route_, server_.api_.limits, length);
  return {};
}

void Session::on_head() {
  keep_alive_ = head_.keep_alive;
  answered_ = false;
  route_ = nullptr;
  refusal_ = judge_head();
  if (refusal_) {
    bool read_over = keep_alive_ && !head_.chunked && !head_.expects_continue && refusal_->status != 413 &&
                     head_.content_length.value_or(0) <= kReadOver;
    if (!read_over) return fail(std::move(*refusal_));
  }
  phase_ = Phase::Body;
  if (!has_body()) return finish_request();
  if (head_.chunked) {
    parser_->eager(true);
    const Limits& limits = server_.api_.limits;
    parser_->limit_chunks(route_ == nullptr ? kReadOver : body_limit(*route_, limits), limits.header);
  } else {
    body_size_ = static_cast<std::size_t>(*head_.content_length);
    body_have_ = 0;
    // Not zeroed: memory that no byte has arrived for is not touched, whatever length a client announces.
    body_bytes_ = std::make_shared_for_overwrite<char[]>(body_size_);
  }
  if (head_.expects_continue && head_.http11 && inbox_.empty()) outbox_.text("HTTP/1.1 100 Continue\r\n\r\n");
}

bool Session::read_body() { return head_.chunked ? read_chunked_body() : read_known_body(); }

bool Session::read_known_body() {
  std::size_t part = std::min(inbox_.size(), body_size_ - body_have_);
  inbox_.bytes().copy(body_bytes_.get() + body_have_, part);
  inbox_.consume(part);
  body_have_ += part;
  if (body_have_ < body_size_) return false;
  std::string_view bytes(body_bytes_.get(), body_size_);
  body_ = Payload(std::move(body_bytes_), bytes);
  finish_request();
  return true;
}

bool Session::read_chunked_body() {
  boost::beast::error_code error;
  std::size_t used = parser_->put(asio::buffer(inbox_.bytes().data(), inbox_.size()), error);
  inbox_.consume(used);
  // What is left unused is part of a chunk's header, or of the trailer.
  bool endless = error == boost::beast::http::error::need_more && inbox_.size() > server_.api_.limits.header;
  if (endless) error = boost::beast::http::error::header_limit;
  if (error == boost::beast::http::error::need_more) return false;
  if (error) return on_parse_error(error);
  if (!parser_->is_done()) return !inbox_.empty();
  body_ = Payload::of(std::move(parser_->chunks()));
  finish_request();
  return true;
}

void Session::finish_request() {
  phase_ = Phase::Answering;
  deadline_ = 0;
  if (refusal_) return Exchange::send(*refusal_);
  if (head_.method == Method::Options) return answer_options();
  dispatch();
}

void Session::answer_options() {
  reply(204).header("Allow", route_ == nullptr ? "GET, HEAD, POST, OPTIONS" : route_->allowed());
  send();
}

void Session::dispatch() {
  try {
    route_->handle(server_.api_, *this);
  } catch (const std::system_error& error) {
    if (!answered_) Exchange::send(Problem{.status = 500, .code = "internal", .message = error.what()});
  }
}

/// Refuses and closes: nobody knows, or wants to read, what follows.
void Session::fail(Problem problem) {
  phase_ = Phase::Answering;
  keep_alive_ = false;
  Exchange::send(problem);
}

bool Session::keeps() const { return keep_alive_ && !reply_.closes() && !surplus_ && !server_.draining(); }

void Session::send() {
  if (phase_ != Phase::Answering) return;
  if (reply_.status() == 401) reply_.header("WWW-Authenticate", "Bearer");
  if (reply_.status() == 405) reply_.header("Allow", route_->allowed());
  bool keep = keeps();
  outbox_.reply(reply_, server_.date(), head_.http11, keep, head_.method != Method::Head);
  complete(keep);
}

void Session::begin_pieces(const Pieces& pieces) {
  if (phase_ != Phase::Answering) return;
  phase_ = Phase::Streaming;
  pieces_ = pieces;
  comment_at_ = server_.tick() + server_.ticks(kCommentAfter);
  chunked_ = head_.http11;
  keep_alive_ = keeps() && chunked_;
  outbox_.pieces_head(reply_, server_.date(), pieces_.type, chunked_, keep_alive_);
  reply_.reset(200);
}

void Session::send_events(std::function<void()> taken) {
  if (!busy()) return;
  taken_ = std::move(taken);
  if (phase_ == Phase::Answering) return advance();
  outbox_.piece(reply_, chunked_);
  reply_.reset(200);
  comment_at_ = server_.tick() + server_.ticks(kCommentAfter);
  advance();
}

void Session::end_events() {
  if (phase_ != Phase::Streaming) return;
  outbox_.piece(reply_, chunked_);
  outbox_.last_piece(chunked_);
  complete(keep_alive_);
}

/// The answer is in the outbox, to its end: on to the next request.
void Session::complete(bool keep) {
  answered_ = true;
  waiter_ = 0;
  gone_ = nullptr;
  taken_ = nullptr;
  release_rate();
  close_after_ = !keep;
  reply_.reset(200);  // the result it refers to goes with the last byte of it
  body_ = {};
  body_bytes_.reset();
  parser_.reset();
  refusal_.reset();
  phase_ = Phase::Head;
  deadline_ = server_.tick() + server_.ticks(server_.api_.limits.idle);
  advance();
}

void Session::release_rate() {
  if (std::exchange(rated_, false)) server_.rates_.release(route_->name);
}

}  // namespace bulkhead::http
