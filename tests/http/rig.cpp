#include "tests/http/rig.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

namespace bulkhead::http {

Rig::Rig(Limits limits, Keys keys, std::string address, std::vector<RateLimit> rate_limits) {
  server = std::make_unique<Server>(io_, endpoint, clock,
                                    Options{.listen = {std::move(address)},
                                            .limits = limits,
                                            .default_policy = {},
                                            .keys = std::move(keys),
                                            .rate_limits = std::move(rate_limits)});
  address_ = server->listen().front();
  thread_ = std::thread([this] { io_.run(); });
}

Rig::~Rig() {
  on_thread([this] { server.reset(); });
  work_.reset();
  thread_.join();
}

Client::Client(const Rig& rig) {
  const std::string& address = rig.address();
  if (address.starts_with("unix:")) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un where{.sun_family = AF_UNIX, .sun_path = {}};
    address.copy(where.sun_path, sizeof where.sun_path - 1, 5);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&where), sizeof where), 0);
  } else {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&where), sizeof where), 0);
  }
  timeval patience{.tv_sec = 20, .tv_usec = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

Client::~Client() { close(); }

void Client::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

bool Client::try_send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void Client::send(std::string_view bytes) { EXPECT_TRUE(try_send(bytes)); }

bool Client::fill() {
  char bytes[65536];
  ssize_t got = ::recv(fd_, bytes, sizeof bytes, 0);
  bool silent = got < 0 && errno != ECONNRESET;
  EXPECT_FALSE(silent) << "the server said nothing for 20 s";
  if (got <= 0) return false;
  buffer_.append(bytes, static_cast<std::size_t>(got));
  return true;
}

Response Client::receive(bool head_only) {
  std::size_t end;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return {};
  }
  Response response;
  response.status = std::stoi(buffer_.substr(9, 3));
  std::string head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  for (std::size_t line = head.find("\r\n") + 2; line < head.size();) {
    std::size_t next = head.find("\r\n", line);
    std::size_t colon = head.find(':', line);
    std::string name = head.substr(line, colon - line);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    response.headers[name] = head.substr(colon + 2, next - colon - 2);
    line = next + 2;
  }
  std::string length = response.header("content-length");
  if (head_only || length.empty()) return response;
  while (buffer_.size() < std::stoul(length)) {
    if (!fill()) return {};
  }
  response.body = buffer_.substr(0, std::stoul(length));
  buffer_.erase(0, response.body.size());
  return response;
}

std::string Client::receive_chunk() {
  std::size_t line;
  while ((line = buffer_.find("\r\n")) == std::string::npos) {
    if (!fill()) return {};
  }
  std::size_t size = std::stoul(buffer_, nullptr, 16);
  while (buffer_.size() < line + 2 + size + 2) {
    if (!fill()) return {};
  }
  std::string chunk = buffer_.substr(line + 2, size);
  buffer_.erase(0, line + 2 + size + 2);
  return chunk;
}

std::string Client::receive_all() {
  while (fill()) {
  }
  return std::exchange(buffer_, "");
}

bool Client::at_end() { return buffer_.empty() && !fill(); }
void Client::half_close() { ::shutdown(fd_, SHUT_WR); }

bool Client::readable(int milliseconds) {
  pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
  return !buffer_.empty() || ::poll(&waiting, 1, milliseconds) > 0;
}

Response Client::post(const std::string& path, const std::string& body) {
  send(request("POST", path, body));
  return receive();
}

Response Client::get(const std::string& path) {
  send(request("GET", path));
  return receive();
}

std::string request(const std::string& method, const std::string& path, const std::string& body,
                    const std::string& headers) {
  std::string text = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers;
  if (!body.empty() || method == "POST") text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + body;
}

std::string id_of(const std::string& body) {
  std::size_t at = body.find("\"id\":\"");
  if (at == std::string::npos) return "";
  return body.substr(at + 6, body.find('"', at + 6) - at - 6);
}

}  // namespace bulkhead::http
