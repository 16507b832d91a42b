// Addresses become listeners, listeners make sessions, and the sweep ends sessions that are late. Shutdown: drain()
// closes the listeners first, then each session as it gets idle, and the last one to go calls back; stop() does not
// wait. Our own callbacks hold a weak sign of life, because Asio may deliver one that was already queued when we went.

#include "supervisor/http/server.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <system_error>

#include "supervisor/http/session.hpp"

namespace bulkhead::http {

namespace asio = boost::asio;
using boost::system::error_code;

struct Server::Listener {
  asio::basic_socket_acceptor<Protocol> acceptor;
  std::string path;  ///< of a Unix socket: removed when it closes
  bool paused = false;
  std::string address;  ///< as `listen` has it; empty where somebody else holds the socket
};

namespace {

using Endpoint = asio::generic::stream_protocol::endpoint;

[[noreturn]] void refuse(const std::string& address, int error) {
  throw std::system_error(error, std::generic_category(), "cannot listen on " + address);
}

Endpoint resolve(const std::string& address) {
  std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found);
  if (error != 0) {
    throw std::system_error(EADDRNOTAVAIL, std::generic_category(),
                            "cannot listen on " + address + ": " + gai_strerror(error));
  }
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  // "localhost" is often both: take IPv4, which every client tries.
  const addrinfo* best = found;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family == AF_INET) {
      best = entry;
      break;
    }
  }
  return {best->ai_addr, best->ai_addrlen};
}

/// Removes the socket of a server that is no more. One that answers is somebody's.
void clear_path(const std::string& address, const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return;
  if (!S_ISSOCK(status.st_mode)) refuse(address, EEXIST);
  asio::io_context io;
  asio::local::stream_protocol::socket probe(io);
  error_code error;
  probe.connect(asio::local::stream_protocol::endpoint(path), error);
  if (!error) refuse(address, EADDRINUSE);
  ::unlink(path.c_str());
}

std::string name_of(const Endpoint& endpoint, const std::string& asked) {
  const sockaddr* address = endpoint.data();
  bool internet = address->sa_family == AF_INET || address->sa_family == AF_INET6;
  if (!internet || asked.starts_with("fd:")) return asked;
  in_port_t port = address->sa_family == AF_INET ? reinterpret_cast<const sockaddr_in*>(address)->sin_port
                                                 : reinterpret_cast<const sockaddr_in6*>(address)->sin6_port;
  return asked.substr(0, asked.rfind(':') + 1) + std::to_string(ntohs(port));
}

bool listens(int fd) {
  int listening = 0;
  socklen_t size = sizeof listening;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

/// Of a socket nobody gave a name.
std::string name_of(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0 || name.ss_family == AF_UNIX ||
      getnameinfo(reinterpret_cast<sockaddr*>(&name), size, host, sizeof host, port, sizeof port,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "a Unix socket";
  return (name.ss_family == AF_INET6 ? "[" + std::string(host) + "]" : host) + ":" + port;
}

bool listens_on(int fd, const Endpoint& endpoint) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  return listens(fd) && getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0 && size == endpoint.size() &&
         std::memcmp(&name, endpoint.data(), size) == 0;
}

/// Whether only this machine reaches it.
bool is_local(const Endpoint& endpoint) {
  const sockaddr* address = endpoint.data();
  if (address->sa_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  if (address->sa_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
  return address->sa_family == AF_UNIX;
}

/// RFC 9110's form, whatever the locale.
std::string http_date() {
  static constexpr std::array kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[64];
  int size = std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                           kDays[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                           kMonths[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour, utc.tm_min,
                           utc.tm_sec);
  return {text, static_cast<std::size_t>(size)};
}

milliseconds sweep_period(const Options& options) {
  return std::clamp(options.limits.request / 8, milliseconds(10), milliseconds(1'000));
}

constexpr std::size_t kSurplus = 64;  // connections beyond the limit that are told so; more wait in the kernel's queue

}  // namespace

Server::Server(asio::io_context& io, bulkhead::Endpoint& endpoint, const Clock& clock, Options options)
    : io_(io),
      api_{.endpoint = endpoint,
           .clock = clock,
           .ids = {},
           .limits = options.limits,
           .default_policy = options.default_policy,
           .onlooker = options.onlooker,
           .executor = io.get_executor(),
           .unreadable = std::move(options.unreadable),
           .steering = std::move(options.steering),
           .upgrades = options.upgrades},
      keys_(std::move(options.keys)),
      watching_only_(options.watching_only),
      rates_(options.rate_limits),
      addresses_(std::move(options.listen)),
      inherited_(std::move(options.inherited)),
      held_(std::move(options.held)),
      sweep_timer_(io),
      sweep_period_(sweep_period(options)),
      date_(http_date()) {}

Server::~Server() {
  stop();
  for (const Held& held : held_) ::close(held.socket);
  for (int connection : handed_over_) ::close(connection);
}

std::vector<int> Server::sockets() const {
  std::vector<int> sockets;
  for (const auto& listener : listeners_)
    if (listener->path.empty()) sockets.push_back(listener->acceptor.native_handle());
  return sockets;
}

std::vector<Held> Server::own_sockets() const {
  std::vector<Held> own;
  for (const auto& listener : listeners_)
    if (!listener->address.empty()) own.push_back({listener->address, listener->acceptor.native_handle()});
  return own;
}

std::vector<int> Server::inherited_in_use() const {
  std::vector<int> found = sockets();
  std::erase_if(found, [&](int fd) { return std::count(inherited_.begin(), inherited_.end(), fd) == 0; });
  return found;
}

std::vector<Server::Unused> Server::unused() const {
  const std::vector<int> used = inherited_in_use();
  std::vector<Unused> found;
  for (int fd : inherited_)
    if (listens(fd) && std::count(used.begin(), used.end(), fd) == 0) found.push_back({fd, name_of(fd)});
  return found;
}

void Server::close_for_good(int socket) {
  ::shutdown(socket, SHUT_RDWR);
  ::close(socket);
}

std::vector<std::string> Server::listen() {
  std::vector<std::string> in_use;
  for (const std::string& address : addresses_) {
    auto listener = address.starts_with("fd:") ? inherit(address) : bind(address);
    Endpoint endpoint = listener->acceptor.local_endpoint();
    in_use.push_back(name_of(endpoint, address));
    listeners_.push_back(std::move(listener));
    accept(*listeners_.back());
  }
  api_.tells_all = !keys_.open() || !is_reached_by_others();
  return in_use;
}

/// Without keys whoever reaches us may run jobs: so only this machine shall.
void Server::permit(const std::string& address, const Protocol::endpoint& endpoint) const {
  if (keys_.open() && !watching_only_ && !is_local(endpoint)) {
    throw std::system_error(EPERM, std::generic_category(), "refusing to listen on " + address + " without API keys");
  }
}

bool Server::is_reached_by_others() const {
  return std::any_of(listeners_.begin(), listeners_.end(),
                     [](const auto& listener) { return !is_local(listener->acceptor.local_endpoint()); });
}

void Server::reconfigure(Options options) {
  if (options.keys.open() && !watching_only_ && is_reached_by_others())
    throw std::system_error(EPERM, std::generic_category(), "the endpoint is open to others and needs API keys");
  api_.limits = options.limits;
  api_.default_policy = options.default_policy;
  keys_ = std::move(options.keys);
  api_.tells_all = !keys_.open() || !is_reached_by_others();
  // Whoever follows without an end comes back, and shows a key that is valid now.
  std::vector<std::shared_ptr<Session>> sessions;
  for (auto& [raw, session] : sessions_) sessions.push_back(session);
  for (auto& session : sessions) session->end_endless();
  rates_.replace(options.rate_limits);
  sweep_period_ = sweep_period(options);
}

std::unique_ptr<Server::Listener> Server::bind(const std::string& address) {
  std::string path = address.starts_with("unix:") ? address.substr(5) : "";
  if (auto held = take_held(address, path)) return held;
  if (!path.empty()) clear_path(address, path);
  Endpoint endpoint = path.empty() ? resolve(address) : Endpoint(asio::local::stream_protocol::endpoint(path));
  permit(address, endpoint);
  for (int fd : path.empty() ? inherited_ : std::vector<int>{})
    if (listens_on(fd, endpoint)) return inherit("fd:" + std::to_string(fd));
  auto listener =
      std::make_unique<Listener>(Listener{asio::basic_socket_acceptor<Protocol>(io_), path, false, address});
  auto& acceptor = listener->acceptor;
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) refuse(address, error.value());
  return listener;
}

/// The one of the supervisor before this one, if there is one; a Unix socket must still have its name.
std::unique_ptr<Server::Listener> Server::take_held(const std::string& address, const std::string& path) {
  auto found = std::find_if(held_.begin(), held_.end(), [&](const Held& held) { return held.address == address; });
  if (found == held_.end() || !listens(found->socket)) return nullptr;
  if (!path.empty() && ::access(path.c_str(), F_OK) != 0) return nullptr;
  const int socket = found->socket;
  held_.erase(found);
  auto listener = inherit("fd:" + std::to_string(socket));
  listener->path = path;
  listener->address = address;
  return listener;
}

/// A socket that somebody listens on for us already (LISTEN_FDS).
std::unique_ptr<Server::Listener> Server::inherit(const std::string& address) {
  int fd = std::atoi(address.c_str() + 3);
  int listening = 0;
  sockaddr_storage name{};
  socklen_t option_size = sizeof listening;
  socklen_t name_size = sizeof name;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &option_size) != 0) refuse(address, errno);
  if (listening == 0) refuse(address, EINVAL);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &name_size) != 0) refuse(address, errno);
  auto listener = std::make_unique<Listener>(Listener{asio::basic_socket_acceptor<Protocol>(io_), "", false, ""});
  error_code error;
  listener->acceptor.assign(Protocol(name.ss_family, 0), fd, error);
  if (error) refuse(address, error.value());
  permit(address, listener->acceptor.local_endpoint());
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return listener;
}

void Server::accept(Listener& listener) {
  if (sessions_.size() >= api_.limits.connections + kSurplus) {
    listener.paused = true;
    return;
  }
  listener.acceptor.async_accept(
      [this, &listener, alive = std::weak_ptr(alive_)](const error_code& error, Protocol::socket socket) {
        if (alive.expired() || error == asio::error::operation_aborted) return;
        if (draining_ || api_.handing_over) {
          // The listener is gone; who got through before that is served.
          if (!error && !draining_) begin(std::move(socket), false);
          return;
        }
        if (error) {
          // Out of descriptors, or the client left again. The first lasts until a connection ends: leave it to the sweep.
          listener.paused = true;
          return start_sweeping();
        }
        begin(std::move(socket), sessions_.size() >= api_.limits.connections);
        accept(listener);
      });
}

void Server::begin(Protocol::socket socket, bool surplus) {
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);  // a Unix socket has none
  auto session = std::make_shared<Session>(*this, std::move(socket), surplus);
  sessions_.emplace(session.get(), session);
  start_sweeping();
  session->start();
}

void Server::take_over(int connection) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  error_code error;
  Protocol::socket socket(io_);
  if (getsockname(connection, reinterpret_cast<sockaddr*>(&name), &size) == 0)
    socket.assign(Protocol(name.ss_family, 0), connection, error);
  if (!socket.is_open()) return void(::close(connection));
  begin(std::move(socket), false);
}

void Server::resume_accepting() {
  if (draining_ || api_.handing_over) return;
  for (auto& listener : listeners_) {
    if (std::exchange(listener->paused, false)) accept(*listener);
  }
}

void Server::close_listeners() {
  for (auto& listener : listeners_) {
    error_code ignored;
    listener->acceptor.close(ignored);
    if (!listener->path.empty() && !api_.handing_over) ::unlink(listener->path.c_str());
  }
  listeners_.clear();  // an accept that still completes looks at draining_ before it
}

void Server::drain(std::function<void()> drained) {
  draining_ = true;
  drained_ = std::move(drained);
  close_listeners();
  std::vector<std::shared_ptr<Session>> sessions;
  for (auto& [raw, session] : sessions_) sessions.push_back(session);
  for (auto& session : sessions) session->drain();
  if (sessions_.empty() && drained_) std::exchange(drained_, nullptr)();
}

void Server::hand_over(std::function<void()> done) {
  api_.handing_over = true;
  drained_ = std::move(done);
  close_listeners();
  std::vector<std::shared_ptr<Session>> sessions;
  for (auto& [raw, session] : sessions_) sessions.push_back(session);
  for (auto& session : sessions) session->hand_over();
  if (sessions_.empty() && drained_) std::exchange(drained_, nullptr)();
}

std::vector<int> Server::handed_over() {
  drained_ = nullptr;
  stop();
  return std::exchange(handed_over_, {});
}

void Server::stop() {
  draining_ = true;
  close_listeners();
  sweep_timer_.cancel();
  while (!sessions_.empty()) {
    auto session = sessions_.begin()->second;
    session->close();
  }
}

void Server::remove(Session& session) {
  sessions_.erase(&session);
  if (sessions_.empty() && drained_) std::exchange(drained_, nullptr)();
  resume_accepting();
}

std::uint64_t Server::ticks(milliseconds duration) const {
  return static_cast<std::uint64_t>(duration / sweep_period_) + 1;
}

void Server::start_sweeping() {
  if (sweeping_) return;
  sweeping_ = true;
  date_ = http_date();
  sweep();
}

void Server::sweep() {
  sweep_timer_.expires_after(sweep_period_);
  sweep_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const error_code& error) {
    if (error || alive.expired()) return;
    ++tick_;
    date_ = http_date();
    std::vector<std::shared_ptr<Session>> sessions;
    sessions.reserve(sessions_.size());
    for (auto& [raw, session] : sessions_) sessions.push_back(session);
    for (auto& session : sessions) session->check_deadline();
    resume_accepting();
    bool paused = std::any_of(listeners_.begin(), listeners_.end(), [](auto& listener) { return listener->paused; });
    if (sessions_.empty() && !paused) {
      sweeping_ = false;
    } else {
      sweep();
    }
  });
}

}  // namespace bulkhead::http
