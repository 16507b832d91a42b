// One connection to the supervisor: a DEALER socket and the monitor that tells when it broke.
//
// A link connects once and is never mended: libzmq's own reconnecting would send what was queued before the new
// supervisor has heard a hello. Whoever wants to go on makes a new link.
//
// Not thread-safe, with one exception: the monitor (monitor_fd, broken) belongs to the watcher's thread, all the rest is
// used under the session's mutex. libzmq allows a socket to change threads that way.

#pragma once

#include <zmq.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "child/src/body.hpp"
#include "protocol/codec.hpp"

namespace bulkhead::child {

/// One received frame, owned.
class Frame {
 public:
  Frame() { zmq_msg_init(&message_); }
  ~Frame() { zmq_msg_close(&message_); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  /// Small frames live inside the object: what pointed into `other` is void afterwards.
  void take(Frame& other) { zmq_msg_move(&message_, &other.message_); }
  void clear() {
    zmq_msg_close(&message_);
    zmq_msg_init(&message_);
  }
  std::string_view view() { return {static_cast<const char*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)}; }
  zmq_msg_t* raw() { return &message_; }

 private:
  zmq_msg_t message_;
};

/// One multipart message as it came. No kind has more than three frames; a fourth is kept to show that there were more.
struct Received {
  static constexpr int kMost = 4;
  Frame frame[kMost];
  int count = 0;
};

/// libzmq's context: its threads. Outlives every link.
class Context {
 public:
  Context();
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  void* raw() const { return context_; }

 private:
  void* context_;
};

class Link {
 public:
  /// Starts to connect; sending is possible at once. Throws std::system_error.
  Link(const Context& context, const std::string& endpoint, const std::string& token);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  /// Readable when something may be there to receive; an edge, which receiving everything and sending consume.
  int fd() const { return fd_; }

  /// The next message, if one is there. After false the edge of fd() is fresh: it may be waited for.
  bool receive(Received& message);

  /// Sends the envelope and its bodies; `owners[i]` holds the bytes of `bodies.frame[i]`. False if there is no
  /// connection any more (the monitor will say so, too) or no memory.
  bool send(std::string_view envelope, const protocol::Bodies& bodies, std::span<const Body* const> owners);

  int monitor_fd() const { return monitor_fd_; }
  /// True once the connection ended, or could not be made.
  bool broken();

  /// Closing waits up to `linger` for what was sent to reach the kernel; without a call it does not wait.
  void set_linger(std::chrono::milliseconds linger);

 private:
  struct Close {
    void operator()(void* socket) const { zmq_close(socket); }
  };
  using Socket = std::unique_ptr<void, Close>;

  static int readiness_fd(void* socket);

  Socket socket_;
  Socket monitor_;
  int fd_ = -1;
  int monitor_fd_ = -1;
};

}  // namespace bulkhead::child
