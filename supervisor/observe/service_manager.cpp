#include "supervisor/observe/service_manager.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

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

void ServiceManager::tell(std::string_view assignments) {
  if (socket_ < 0) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
  // It may be gone: that is its own affair.
  sendto(socket_, assignments.data(), assignments.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
         size);
}

}  // namespace bulkhead::observe
