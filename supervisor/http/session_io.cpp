// The bytes of a session: reading, writing, and how a client's going away is noticed.
//
// While a route has the request a read stays open, into the inbox: it is the next request's first bytes, or the news
// that the client has gone. A client may also have closed only its own side and still wait for the answer; TCP does not
// tell the two apart until something is sent. So a client that closes is sent what it must ignore (a "100 Continue", or
// a comment in a stream of events): one that is gone answers with a reset.

#include <boost/asio/post.hpp>

#include "supervisor/http/server.hpp"
#include "supervisor/http/session.hpp"

namespace bulkhead::http {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t kReadSize = 4096;
constexpr std::size_t kReadAhead = 64 << 10;  // of further requests, while one is being answered
constexpr std::size_t kLinger = 64 << 20;     // bytes thrown away behind the last answer
constexpr milliseconds kLingerTime{2'000};

}  // namespace

void Session::read() {
  if (reading_ || peer_closed_) return;
  if (busy() && inbox_.size() >= kReadAhead) return;
  reading_ = true;
  asio::mutable_buffer where;
  reading_body_ = phase_ == Phase::Body && !head_.chunked;
  if (reading_body_) {
    where = asio::buffer(body_bytes_.get() + body_have_, body_size_ - body_have_);
  } else {
    auto [data, size] = inbox_.space(kReadSize);
    where = asio::buffer(data, size);
  }
  // The body is held as well: it may be given up while the kernel is still to fill it.
  socket_.async_read_some(where, [self = self(), body = body_bytes_](const error_code& error, std::size_t count) {
    self->on_read(error, count);
  });
}

void Session::on_read(const error_code& error, std::size_t count) {
  reading_ = false;
  if (phase_ == Phase::Closed) return;
  if (error == asio::error::operation_aborted && server_.handing_over()) return is_idle() ? part() : advance();
  if (phase_ == Phase::Lingering) {
    lingered_ += count;
    if (error || lingered_ > kLinger) return close();
    return read();
  }
  if (reading_body_ && phase_ == Phase::Body) {
    body_have_ += count;
  } else if (!reading_body_) {
    inbox_.filled(count);
  }
  if (error == asio::error::eof) return on_peer_closed();
  if (error) return close();
  advance();
}

void Session::on_peer_closed() {
  peer_closed_ = true;
  bool askable = !writing_ && outbox_.empty() && head_.http11;
  if (busy() && askable) {
    if (phase_ == Phase::Streaming) {
      comment();
    } else {
      outbox_.text("HTTP/1.1 100 Continue\r\n\r\n");
      flush();
    }
    if (phase_ == Phase::Closed) return;
    socket_.async_wait(Socket::wait_error, [self = self()](const error_code& error) {
      if (!error) self->close();
    });
  }
  advance();
}

/// What readers skip.
void Session::comment() {
  reply_.reset(200);
  reply_.raw(pieces_.keep_alive);
  outbox_.piece(reply_, chunked_);
  reply_.reset(200);
  comment_at_ = server_.tick() + server_.ticks(kCommentAfter);
  flush();
}

void Session::flush() {
  if (writing_ || phase_ == Phase::Closed) return;
  while (!outbox_.empty()) {
    error_code error;
    std::size_t count = socket_.write_some(outbox_.buffers(), error);
    if (error == asio::error::would_block) return await_writable();
    if (error) return close();
    outbox_.sent(count);
  }
  if (!taken_) return;
  // Not from here: a route that is told at once sends at once, and a long stream would end on the stack.
  asio::post(socket_.get_executor(), [self = self(), taken = std::exchange(taken_, nullptr)] {
    if (self->busy()) taken();
  });
}

void Session::await_writable() {
  writing_ = true;
  write_deadline_ = server_.tick() + server_.ticks(server_.api_.limits.request);
  socket_.async_wait(Socket::wait_write, [self = self()](const error_code& error) {
    self->writing_ = false;
    if (self->phase_ == Phase::Closed) return;
    if (error) return self->close();
    self->flush();
    if (!self->writing_) self->advance();
  });
}

/// Closing with unread bytes would reset the connection and could take the answer with it: say that no more comes, and
/// throw away what still arrives for a while.
void Session::linger() {
  phase_ = Phase::Lingering;
  error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  if (peer_closed_) return close();
  deadline_ = server_.tick() + server_.ticks(kLingerTime);
  read();
}

}  // namespace bulkhead::http
