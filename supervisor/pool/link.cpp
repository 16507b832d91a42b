// What this file keeps true:
//
// - The loop is told of every message. ZMQ_FD is edge-triggered, and any call on the socket may eat the edge: so the
//   wait is armed only after a receive said EAGAIN, and ZMQ_EVENTS is looked at after every send made outside of
//   receiving.
// - Nothing a dead child sent is lost, unless it had flooded us. A full receive queue slows a child that lives, but where
//   its peer hangs up meanwhile, libzmq throws away what the kernel still holds. So the queue is longer than anything a
//   child that keeps to its credit, and to a measured pace of log lines, can have under way. It bounds the memory that
//   any other child can cost.
// - A line is closed when its descriptor was reported as disconnected AND nothing of it is left. libzmq passes a
//   connection's messages on before it reports its end; so an EAGAIN after the report proves it. Where other children
//   keep the socket busy so that no EAGAIN comes, fairness does: the ROUTER serves its peers in turn.
// - Descriptors are used again, and first messages come in any order: a line may be tied to a descriptor that has gone
//   on to another connection. So a descriptor may have several lines, of which at most one is connected, and its next
//   DISCONNECTED closes them all. A line that was late this way closes late; one that is connected is never closed.
//
// Link owns LinkState; lines and queued handlers refer to it. The end: lines, then the monitor, the socket, the context.

#include "supervisor/pool/link.hpp"

#include <sys/random.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

namespace bulkhead::pool {
namespace {

/// libzmq keeps messages up to this size in a buffer of many: to keep such a one is to keep all of them.
constexpr std::size_t kCopyUpTo = 8 * 1024;
/// Where sending from the owner's memory begins to be cheaper than a copy.
constexpr std::size_t kShareFrom = 32 * 1024;
/// Routing id, envelope, two bodies.
constexpr int kMaxFrames = 4;

constexpr char kScheme[] = "ipc://";

[[noreturn]] void fail(const std::string& operation) {
  throw std::system_error(zmq_errno(), std::generic_category(), operation);
}

struct TokenHash {
  /// Tokens are random: any part of one is a hash.
  std::size_t operator()(const Token& token) const {
    std::size_t part[2];
    std::memcpy(part, token.hex.data(), sizeof part);
    return part[0] ^ (part[1] << 1);
  }
};

struct Frame {
  Frame() { zmq_msg_init(&message); }
  ~Frame() { zmq_msg_close(&message); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  std::string_view bytes() { return {static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message)}; }
  zmq_msg_t message;
};

struct CloseSocket {
  void operator()(void* socket) const { zmq_close(socket); }
};
struct EndContext {
  void operator()(void* context) const { zmq_ctx_term(context); }
};

/// A socket's own descriptor, watched by the loop and not closed by it.
struct Watched {
  explicit Watched(const asio::any_io_executor& executor) : descriptor(executor) {}
  ~Watched() {
    if (descriptor.is_open()) descriptor.release();
  }
  void assign(void* socket) {
    int fd = -1;
    std::size_t size = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0) fail("ask a socket for its descriptor");
    descriptor.assign(fd);
  }
  asio::posix::stream_descriptor descriptor;
};

void set(void* socket, int option, int value, const char* name) {
  if (zmq_setsockopt(socket, option, &value, sizeof value) != 0) fail(std::string("set ") + name);
}

int ready_events(void* socket) {
  int events = 0;
  std::size_t size = sizeof events;
  if (zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) != 0) fail("ask a socket for its events");
  return events;
}

void release_owner(void*, void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); }

std::string endpoint_of(const std::filesystem::path& runtime_dir) {
  const std::string path = (std::filesystem::absolute(runtime_dir) / "link").lexically_normal().string();
  constexpr std::size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() > kLongest) {
    throw std::system_error(ENAMETOOLONG, std::generic_category(),
                            "the runtime directory's path is too long for a Unix socket: " + path + " has " +
                                std::to_string(path.size()) + " bytes, at most " + std::to_string(kLongest) +
                                " are possible");
  }
  return kScheme + path;
}

}  // namespace

Token Token::random() {
  unsigned char bytes[16];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) fail("getrandom");
  Token token;
  for (std::size_t i = 0; i < sizeof bytes; ++i) {
    token.hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
    token.hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
  }
  return token;
}

Token Token::of(std::string_view hex) {
  Token token;
  assert(hex.size() == token.hex.size());
  std::memcpy(token.hex.data(), hex.data(), token.hex.size());
  return token;
}

struct LinkState : std::enable_shared_from_this<LinkState> {
  LinkState(asio::any_io_executor executor, std::string where, const LinkOptions& how);
  ~LinkState();

  void open_router();
  void open_monitor();
  void watch_router();
  void watch_monitor();
  void turn();
  void turn_soon();
  bool receive(int messages);
  bool receive_one();
  void pass_on(Line& line);
  void first_message(Line& line);
  void read_monitor();
  void disconnected(Line& line);
  void count_while_draining(const Line* from);
  void finish(Line& line);
  void refuse(protocol::RefuseReason reason, std::string_view text);
  Sent send(std::string_view routing_id, const protocol::ToChild& message, std::span<const Payload> owners);
  bool send_frame(std::string_view bytes, int flags);
  void send_body(std::string_view bytes, const Payload* owner, int flags);
  Payload keep(std::string_view body);

  struct Connection {
    bool open = false;
    std::vector<Line*> lines;
  };
  Connection& connection(int descriptor);

  asio::any_io_executor executor;
  std::string endpoint;
  LinkOptions options;

  std::unique_ptr<void, EndContext> context;
  std::unique_ptr<void, CloseSocket> router;
  std::unique_ptr<void, CloseSocket> monitor;
  Watched router_ready;
  Watched monitor_ready;
  bool waiting = false;
  bool turn_posted = false;
  bool receiving = false;

  Frame frames[kMaxFrames];  ///< of the message being received
  int frame_count = 0;
  bool surplus = false;  ///< it had more frames than any message has
  std::string envelope;  ///< of the message being sent; kept for its capacity

  boost::unordered_flat_map<Token, Line*, TokenHash> lines;
  std::vector<Connection> connections;  ///< by descriptor
  std::vector<Line*> draining;
};

// ---- the socket and its monitor ------------------------------------------------------------------------------------

LinkState::LinkState(asio::any_io_executor loop, std::string where, const LinkOptions& how)
    : executor(std::move(loop)),
      endpoint(std::move(where)),
      options(how),
      context(zmq_ctx_new()),
      router_ready(executor),
      monitor_ready(executor) {
  if (!context) fail("create a ZeroMQ context");
  open_router();
  open_monitor();
  if (zmq_bind(router.get(), endpoint.c_str()) != 0) fail("bind " + endpoint);
  router_ready.assign(router.get());
  monitor_ready.assign(monitor.get());
}

/// The monitor ends before its reader does: libzmq would wait for ever to tell it something.
LinkState::~LinkState() {
  assert(lines.empty());
  zmq_socket_monitor(router.get(), nullptr, 0);
  unlink(endpoint.c_str() + std::strlen(kScheme));  // libzmq leaves the file
}

void LinkState::open_router() {
  router.reset(zmq_socket(context.get(), ZMQ_ROUTER));
  if (!router) fail("create a ROUTER");
  set(router.get(), ZMQ_ROUTER_MANDATORY, 1, "ZMQ_ROUTER_MANDATORY");
  set(router.get(), ZMQ_ROUTER_HANDOVER, 0, "ZMQ_ROUTER_HANDOVER");
  set(router.get(), ZMQ_RCVHWM, options.receive_queue, "ZMQ_RCVHWM");
  set(router.get(), ZMQ_SNDHWM, options.send_queue, "ZMQ_SNDHWM");
  set(router.get(), ZMQ_LINGER, 0, "ZMQ_LINGER");
  set(router.get(), ZMQ_BACKLOG, 1024, "ZMQ_BACKLOG");
  const std::uint64_t largest =
      std::max({options.limits.max_body, options.limits.max_chunk, options.limits.max_checkpoint}) +
      protocol::kMaxEnvelope;
  const auto bytes = static_cast<std::int64_t>(largest);
  if (zmq_setsockopt(router.get(), ZMQ_MAXMSGSIZE, &bytes, sizeof bytes) != 0) fail("set ZMQ_MAXMSGSIZE");
}

void LinkState::open_monitor() {
  constexpr char kWhere[] = "inproc://monitor";
  if (zmq_socket_monitor(router.get(), kWhere, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) != 0)
    fail("monitor the ROUTER");
  monitor.reset(zmq_socket(context.get(), ZMQ_PAIR));
  if (!monitor) fail("create the monitor's socket");
  set(monitor.get(), ZMQ_RCVHWM, 0, "ZMQ_RCVHWM");
  set(monitor.get(), ZMQ_LINGER, 0, "ZMQ_LINGER");
  if (zmq_connect(monitor.get(), kWhere) != 0) fail("connect to the ROUTER's monitor");
}

LinkState::Connection& LinkState::connection(int descriptor) {
  const auto index = static_cast<std::size_t>(descriptor);
  if (index >= connections.size()) connections.resize(index + 1);
  return connections[index];
}

void LinkState::read_monitor() {
  Frame event;
  Frame address;
  while (zmq_msg_recv(&event.message, monitor.get(), ZMQ_DONTWAIT) >= 0) {
    std::uint16_t what = 0;
    std::int32_t descriptor = -1;
    const std::string_view bytes = event.bytes();
    assert(bytes.size() == sizeof what + sizeof descriptor);
    std::memcpy(&what, bytes.data(), sizeof what);
    std::memcpy(&descriptor, bytes.data() + sizeof what, sizeof descriptor);
    if (zmq_msg_more(&event.message)) zmq_msg_recv(&address.message, monitor.get(), 0);
    if (descriptor < 0) continue;
    Connection& known = connection(descriptor);
    for (Line* line : known.lines) disconnected(*line);
    known.lines.clear();
    known.open = what == ZMQ_EVENT_ACCEPTED;
  }
}

// ---- the loop's side -----------------------------------------------------------------------------------------------

void LinkState::watch_router() {
  if (waiting) return;
  waiting = true;
  router_ready.descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                     [weak = weak_from_this()](const boost::system::error_code& error) {
                                       auto self = weak.lock();
                                       if (error || !self) return;
                                       self->waiting = false;
                                       self->turn();
                                     });
}

void LinkState::watch_monitor() {
  monitor_ready.descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                      [weak = weak_from_this()](const boost::system::error_code& error) {
                                        auto self = weak.lock();
                                        if (error || !self) return;
                                        self->read_monitor();
                                        if (!self->draining.empty()) self->turn();
                                        self->watch_monitor();
                                      });
}

/// One batch; the rest, if there is one, after the loop's other work.
void LinkState::turn() {
  if (receive(options.batch))
    turn_soon();
  else
    watch_router();
}

void LinkState::turn_soon() {
  if (turn_posted) return;
  turn_posted = true;
  asio::post(executor, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->turn_posted = false;
    self->turn();
  });
}

// ---- receiving -----------------------------------------------------------------------------------------------------

/// False when nothing is left; true when there may be more.
bool LinkState::receive(int messages) {
  if (receiving) return true;
  receiving = true;
  struct Done {
    ~Done() { flag = false; }
    bool& flag;
  } done{receiving};
  for (int i = 0; i < messages; ++i) {
    if (receive_one()) continue;
    // Whatever was reported as disconnected until now was so before the socket ran dry.
    while (!draining.empty()) finish(*draining.back());
    return false;
  }
  return true;
}

bool LinkState::receive_one() {
  frame_count = 0;
  surplus = false;
  if (zmq_msg_recv(&frames[0].message, router.get(), ZMQ_DONTWAIT) < 0) {
    if (zmq_errno() == EAGAIN || zmq_errno() == EINTR) return false;
    fail("receive from the children");
  }
  frame_count = 1;
  for (Frame* last = &frames[0]; zmq_msg_more(&last->message);) {
    if (frame_count == kMaxFrames)
      surplus = true;
    else
      last = &frames[frame_count++];
    if (zmq_msg_recv(&last->message, router.get(), 0) < 0) fail("receive from the children");
  }

  Line* line = nullptr;
  const std::string_view id = frames[0].bytes();
  Token token;
  if (id.size() == token.hex.size()) {
    std::memcpy(token.hex.data(), id.data(), id.size());
    if (auto found = lines.find(token); found != lines.end()) line = found->second;
  }
  if (!line)
    refuse(protocol::RefuseReason::UnknownToken, "no child with this token is expected");
  else if (line->phase_ == Line::Phase::Closed)
    refuse(protocol::RefuseReason::OutOfOrder, "this child's connection has ended");
  else
    pass_on(*line);
  if (!draining.empty()) count_while_draining(line);
  return true;
}

void LinkState::pass_on(Line& line) {
  if (line.phase_ == Line::Phase::Expected) first_message(line);
  if (surplus || frame_count < 2)
    return line.handler_.garbled({.kind = protocol::DecodeError::Kind::WrongBodies,
                                  .run = 0,
                                  .text = surplus ? "a message of too many frames" : "a message without an envelope"});
  std::string_view body[kMaxFrames - 2];
  for (int i = 2; i < frame_count; ++i) body[i - 2] = frames[i].bytes();
  auto decoded = protocol::decode_from_child(
      frames[1].bytes(), std::span<const std::string_view>(body, static_cast<std::size_t>(frame_count - 2)),
      options.limits);
  if (auto* error = std::get_if<protocol::DecodeError>(&decoded)) return line.handler_.garbled(*error);
  Received received(std::get<protocol::FromChild>(decoded), *this);
  line.handler_.received(received);
}

/// Ties the line to its descriptor.
void LinkState::first_message(Line& line) {
  read_monitor();
  line.phase_ = Line::Phase::Connected;
  line.descriptor_ = frame_count > 1 ? zmq_msg_get(&frames[1].message, ZMQ_SRCFD) : -1;
  if (line.descriptor_ < 0) return;
  Connection& known = connection(line.descriptor_);
  if (known.open)
    known.lines.push_back(&line);
  else
    disconnected(line);
}

Payload LinkState::keep(std::string_view body) {
  if (body.empty()) return {};
  for (int i = 2; i < frame_count; ++i) {
    const std::string_view bytes = frames[i].bytes();
    if (bytes.data() != body.data() || bytes.size() <= kCopyUpTo) continue;
    auto owner = std::make_shared<Frame>();
    zmq_msg_move(&owner->message, &frames[i].message);
    const std::string_view kept = owner->bytes();
    return {std::move(owner), kept};
  }
  auto owner = std::make_shared_for_overwrite<char[]>(body.size());
  std::memcpy(owner.get(), body.data(), body.size());
  const std::string_view kept{owner.get(), body.size()};
  return {std::move(owner), kept};
}

// ---- ends of connections -------------------------------------------------------------------------------------------

void LinkState::disconnected(Line& line) {
  if (line.phase_ != Line::Phase::Connected) return;
  line.phase_ = Line::Phase::Draining;
  line.others_ = 0;
  draining.push_back(&line);
  ready_events(router.get());  // has the ROUTER take notice of what its I/O thread passed on
}

/// The ROUTER takes a message from each peer that has one, in turn: a drained line that was passed over while every
/// other peer could have had two turns has nothing left.
void LinkState::count_while_draining(const Line* from) {
  const int enough = 2 * static_cast<int>(connections.size()) + 64;
  for (std::size_t i = 0; i < draining.size();) {
    Line* line = draining[i];
    line->others_ = line == from ? 0 : line->others_ + 1;
    if (line->others_ > enough)
      finish(*line);
    else
      ++i;
  }
}

void LinkState::finish(Line& line) {
  std::erase(draining, &line);
  line.phase_ = Line::Phase::Closed;
  line.handler_.closed();
}

// ---- sending -------------------------------------------------------------------------------------------------------

void LinkState::refuse(protocol::RefuseReason reason, std::string_view text) {
  const std::string id(frames[0].bytes());
  send(id, protocol::Refuse{.reason = reason, .text = text}, {});
}

bool LinkState::send_frame(std::string_view bytes, int flags) {
  return zmq_send(router.get(), bytes.data(), bytes.size(), flags | ZMQ_DONTWAIT) >= 0;
}

void LinkState::send_body(std::string_view bytes, const Payload* owner, int flags) {
  if (!owner || !owner->owner() || bytes.size() < kShareFrom) {
    if (!send_frame(bytes, flags)) fail("send a body");
    return;
  }
  auto hold = std::make_unique<std::shared_ptr<const void>>(owner->owner());
  zmq_msg_t message;
  if (zmq_msg_init_data(&message, const_cast<char*>(bytes.data()), bytes.size(), release_owner, hold.get()) != 0)
    fail("share a body");
  hold.release();
  if (zmq_msg_send(&message, router.get(), flags | ZMQ_DONTWAIT) < 0) {
    zmq_msg_close(&message);
    fail("send a body");
  }
}

/// Whether the message can be sent is decided at its first frame; the rest cannot fail.
Sent LinkState::send(std::string_view routing_id, const protocol::ToChild& message, std::span<const Payload> owners) {
  protocol::encode(message, envelope);
  const protocol::Bodies bodies = protocol::bodies(message);
  assert(owners.empty() || owners.size() >= static_cast<std::size_t>(bodies.count));
  if (!send_frame(routing_id, ZMQ_SNDMORE)) {
    if (zmq_errno() == EAGAIN) return Sent::Full;
    if (zmq_errno() == EHOSTUNREACH) return Sent::Closed;
    fail("send to a child");
  }
  if (!send_frame(envelope, bodies.count > 0 ? ZMQ_SNDMORE : 0)) fail("send an envelope");
  for (int i = 0; i < bodies.count; ++i) {
    const auto index = static_cast<std::size_t>(i);
    send_body(bodies.frame[i], owners.empty() ? nullptr : &owners[index], i + 1 < bodies.count ? ZMQ_SNDMORE : 0);
  }
  if (!receiving && !turn_posted && (ready_events(router.get()) & ZMQ_POLLIN)) turn_soon();
  return Sent::Yes;
}

// ---- what the header promises --------------------------------------------------------------------------------------

Payload Received::keep(std::string_view body) { return link_.keep(body); }

Line::Line(LinkState& link, const Token& token, LineHandler& handler) : link_(link), handler_(handler), token_(token) {
  const bool added = link_.lines.emplace(token_, this).second;
  assert(added);
  static_cast<void>(added);
}

Line::~Line() {
  link_.lines.erase(token_);
  std::erase(link_.draining, this);
  if (descriptor_ < 0) return;
  std::erase(link_.connection(descriptor_).lines, this);
}

Sent Line::send(const protocol::ToChild& message, std::span<const Payload> owners) {
  if (phase_ != Phase::Connected) return Sent::Closed;
  return link_.send(token_.view(), message, owners);
}

Link::Link(asio::any_io_executor executor, const std::filesystem::path& runtime_dir, LinkOptions options)
    : state_(std::make_shared<LinkState>(std::move(executor), endpoint_of(runtime_dir), options)) {
  state_->watch_monitor();
  state_->turn_soon();
}

Link::~Link() = default;

const std::string& Link::endpoint() const { return state_->endpoint; }

std::unique_ptr<Line> Link::expect(const Token& token, LineHandler& handler) {
  return std::unique_ptr<Line>(new Line(*state_, token, handler));
}

void Link::look() {
  if (state_->receiving) return;
  state_->read_monitor();
  state_->turn();
}

}  // namespace bulkhead::pool
