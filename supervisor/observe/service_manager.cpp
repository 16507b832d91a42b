#include "supervisor/observe/service_manager.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace bulkhead::observe {

ServiceManager::ServiceManager() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  // '@': in the abstract namespace, where the name begins with a zero byte.
  if (path == nullptr || (*path != '/' && *path != '@') || std::strlen(path) >= sizeof(sockaddr_un::sun_path)) return;
  path_ = path;
  if (path_[0] == '@') path_[0] = '\0';
  socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  timeval second{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);

  const char* usec = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  long long period = usec == nullptr ? 0 : std::atoll(usec);
  if (period > 0 && (pid == nullptr || std::atol(pid) == getpid())) watchdog_ = std::chrono::microseconds(period);
}

ServiceManager::~ServiceManager() {
  if (socket_ >= 0) close(socket_);
}

bool ServiceManager::tell(std::string_view assignments) { return send(assignments, {}); }

bool ServiceManager::try_to_tell(std::string_view assignments) { return send(assignments, {}, MSG_DONTWAIT); }

void ServiceManager::keep(const std::vector<int>& descriptors, std::string_view name) {
  const std::string named = "=1\nFDNAME=" + std::string(name);
  tell("FDSTOREREMOVE" + named);
  if (!descriptors.empty()) send("FDSTORE" + named, descriptors);
}

bool ServiceManager::send(std::string_view assignments, const std::vector<int>& descriptors, int flags) {
  if (socket_ < 0) return true;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
  iovec text{const_cast<char*>(assignments.data()), assignments.size()};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = size;
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  constexpr std::size_t kMost = 16;
  alignas(cmsghdr) char control[CMSG_SPACE(kMost * sizeof(int))] = {};
  const std::size_t count = std::min(descriptors.size(), kMost);
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), count * sizeof(int));
  }
  while (sendmsg(socket_, &message, MSG_NOSIGNAL | flags) < 0)
    if (errno != EINTR) return false;
  return true;
}

}  // namespace bulkhead::observe
