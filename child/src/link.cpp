#include "child/src/link.hpp"

#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <system_error>

namespace bulkhead::child {
namespace {

[[noreturn]] void fail(const char* operation) {
  throw std::system_error(zmq_errno(), std::generic_category(),
                          std::string(operation) + ": " + zmq_strerror(zmq_errno()));
}

void set(void* socket, int option, int value, const char* name) {
  if (zmq_setsockopt(socket, option, &value, sizeof value) != 0) fail(name);
}

}  // namespace

Context::Context() : context_(zmq_ctx_new()) {
  if (context_ == nullptr) fail("zmq_ctx_new");
  zmq_ctx_set(context_, ZMQ_MAX_SOCKETS, 16);
}

Context::~Context() {
  while (zmq_ctx_term(context_) != 0 && zmq_errno() == EINTR) {
  }
}

Link::Link(const Context& context, const std::string& endpoint, const std::string& token)
    : socket_(zmq_socket(context.raw(), ZMQ_DEALER)), monitor_(zmq_socket(context.raw(), ZMQ_PAIR)) {
  if (!socket_ || !monitor_) fail("zmq_socket");
  set(socket_.get(), ZMQ_LINGER, 0, "ZMQ_LINGER");
  set(monitor_.get(), ZMQ_LINGER, 0, "ZMQ_LINGER");
  set(socket_.get(), ZMQ_SNDHWM, 0, "ZMQ_SNDHWM");
  set(socket_.get(), ZMQ_RCVHWM, 0, "ZMQ_RCVHWM");
  set(socket_.get(), ZMQ_RECONNECT_IVL, -1, "ZMQ_RECONNECT_IVL");
  if (zmq_setsockopt(socket_.get(), ZMQ_ROUTING_ID, token.data(), token.size()) != 0) fail("ZMQ_ROUTING_ID");

  // Addresses within one context: made unique by the socket's own.
  char address[64];
  std::snprintf(address, sizeof address, "inproc://monitor-%p", socket_.get());
  constexpr int kEvents = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                          ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  if (zmq_socket_monitor(socket_.get(), address, kEvents) != 0) fail("zmq_socket_monitor");
  if (zmq_connect(monitor_.get(), address) != 0) fail("connecting the socket monitor");
  if (zmq_connect(socket_.get(), endpoint.c_str()) != 0) fail(("connecting to " + endpoint).c_str());
  fd_ = readiness_fd(socket_.get());
  monitor_fd_ = readiness_fd(monitor_.get());
}

Link::~Link() {
  // The monitor's address is taken down first, or the I/O thread would write to a reader that is gone.
  if (socket_) zmq_socket_monitor(socket_.get(), nullptr, 0);
}

int Link::readiness_fd(void* socket) {
  int fd = -1;
  std::size_t size = sizeof fd;
  if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0) fail("ZMQ_FD");
  return fd;
}

bool Link::receive(Received& message) {
  message.count = 0;
  for (;;) {
    const int slot = message.count < Received::kMost ? message.count : Received::kMost - 1;
    if (zmq_msg_recv(message.frame[slot].raw(), socket_.get(), ZMQ_DONTWAIT) < 0) {
      // The frames of a message arrive together, so only the first can be missing.
      if (zmq_errno() == EINTR) continue;
      return false;
    }
    message.count = slot + 1;
    if (!zmq_msg_more(message.frame[slot].raw())) return true;
  }
}

bool Link::send(std::string_view envelope, const protocol::Bodies& bodies, std::span<const Body* const> owners) {
  assert(owners.size() >= static_cast<std::size_t>(bodies.count));
  // All frames are made before the first is sent: half a message cannot be taken back.
  zmq_msg_t frames[1 + std::size(protocol::Bodies{}.frame)];
  int made = 0;
  int sent = 0;
  if (zmq_msg_init_size(&frames[0], envelope.size()) == 0) {
    std::memcpy(zmq_msg_data(&frames[made++]), envelope.data(), envelope.size());
    while (made <= bodies.count && owners[made - 1]->fill(&frames[made])) ++made;
  }
  const bool complete = made == bodies.count + 1;
  while (complete && sent < made) {
    if (zmq_msg_send(&frames[sent], socket_.get(), ZMQ_DONTWAIT | (sent + 1 < made ? ZMQ_SNDMORE : 0)) >= 0) {
      ++sent;
    } else if (zmq_errno() != EINTR) {
      break;
    }
  }
  for (int i = sent; i < made; ++i) zmq_msg_close(&frames[i]);
  return complete && sent == made;
}

bool Link::broken() {
  bool over = false;
  Frame frame;
  for (;;) {
    if (zmq_msg_recv(frame.raw(), monitor_.get(), ZMQ_DONTWAIT) >= 0) {
      over = true;  // every event asked for says so
    } else if (zmq_errno() != EINTR) {
      return over;
    }
  }
}

void Link::set_linger(std::chrono::milliseconds linger) {
  set(socket_.get(), ZMQ_LINGER, static_cast<int>(linger.count()), "ZMQ_LINGER");
}

}  // namespace bulkhead::child
