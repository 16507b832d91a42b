#include "supervisor/baton.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>

namespace bulkhead {
namespace {

constexpr std::string_view kListeners = "bulkhead 1 listeners\n";
constexpr std::string_view kConnections = "bulkhead 1 connections\n";
constexpr std::size_t kMostDescriptors = 253;  // SCM_MAX_FD of the kernel
constexpr std::size_t kLongest = 64 << 10;

struct Message {
  std::string text;
  std::vector<int> descriptors;
};

using Control = std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))>;

bool send(int socket, std::string_view text, std::span<const int> descriptors) {
  if (text.size() > kLongest || descriptors.size() > kMostDescriptors || descriptors.empty()) return false;
  alignas(cmsghdr) Control control{};
  iovec bytes{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(text.size());
}

/// `flags`: MSG_PEEK leaves it where it is, and the descriptors are copies.
std::optional<Message> receive(int socket, int flags) {
  Message found{std::string(kLongest, '\0'), {}};
  alignas(cmsghdr) Control control{};
  iovec bytes{found.text.data(), found.text.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
  if (size <= 0) return std::nullopt;
  found.text.resize(static_cast<std::size_t>(size));
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    found.descriptors.resize((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(found.descriptors.data(), CMSG_DATA(header), found.descriptors.size() * sizeof(int));
  }
  return found;
}

void close_all(const std::vector<int>& descriptors) {
  for (int fd : descriptors) ::close(fd);
}

void empty(int socket) {
  while (auto message = receive(socket, 0)) close_all(message->descriptors);
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

std::vector<http::Held> Baton::listeners() const {
  std::vector<http::Held> held;
  if (!channel_) return held;
  auto message = receive(channel_->listeners_out, MSG_PEEK);
  if (!message) return held;
  std::vector<std::string> names;
  if (message->text.starts_with(kListeners)) names = lines_of(message->text.substr(kListeners.size()));
  for (std::size_t i = 0; i < message->descriptors.size(); ++i) {
    if (i < names.size())
      held.push_back({names[i], message->descriptors[i]});
    else
      ::close(message->descriptors[i]);
  }
  return held;
}

bool Baton::keep(const std::vector<http::Held>& listeners) const {
  if (!channel_) return false;
  std::string text(kListeners);
  std::vector<int> descriptors;
  for (const http::Held& held : listeners) {
    text.append(held.address).append("\n");
    descriptors.push_back(held.socket);
  }
  empty(channel_->listeners_out);
  return descriptors.empty() || send(channel_->listeners_in, text, descriptors);
}

std::size_t Baton::pass(std::string_view whose, std::vector<int> connections) const {
  // Of these more messages fit into a socket's buffer than a process has descriptors.
  constexpr std::size_t kAtOnce = 64;
  std::size_t lost = 0;
  const std::string text = std::string(kConnections).append(whose).append("\n");
  for (std::span<const int> left = connections; !left.empty();) {
    auto some = left.first(std::min(kAtOnce, left.size()));
    if (!channel_ || !send(channel_->connections_in, text, some)) lost += some.size();
    left = left.subspan(some.size());
  }
  close_all(connections);
  return lost;
}

std::vector<std::pair<std::string, int>> Baton::passed() const {
  std::vector<std::pair<std::string, int>> passed;
  while (auto message = channel_ ? receive(channel_->connections_out, 0) : std::nullopt) {
    if (!message->text.starts_with(kConnections)) {
      close_all(message->descriptors);
      continue;
    }
    const auto whose = lines_of(message->text.substr(kConnections.size()));
    for (int fd : message->descriptors) passed.emplace_back(whose.empty() ? "" : whose[0], fd);
  }
  return passed;
}

void Baton::drop() const {
  if (!channel_) return;
  empty(channel_->listeners_out);
  empty(channel_->connections_out);
}

}  // namespace bulkhead
