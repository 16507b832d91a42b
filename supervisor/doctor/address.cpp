#include "supervisor/doctor/address.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace bulkhead::doctor {
namespace {

int try_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.data(), path.size());
  struct stat there {};
  if (lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return EEXIST;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool answers = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    return answers ? EADDRINUSE : 0;  // one that nobody answers on is replaced
  }
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  return access(directory.empty() ? "." : directory.c_str(), W_OK) == 0 ? 0 : errno;
}

/// Of the addresses of a name the one that is listened on: "localhost" is often two.
const addrinfo* best_of(const addrinfo* found) {
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next)
    if (entry->ai_family == AF_INET) return entry;
  return found;
}

int try_tcp(std::string host, const std::string& port) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return EADDRNOTAVAIL;
  const addrinfo* best = best_of(found);
  const int fd = socket(best->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int error = fd < 0 ? errno : 0;
  if (fd >= 0) {
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, best->ai_addr, best->ai_addrlen) != 0) error = errno;  // no listen: a client would get through
    close(fd);
  }
  freeaddrinfo(found);
  return error;
}

}  // namespace

int try_address(const std::string& where) {
  if (where.starts_with("unix:")) return try_unix(where.substr(5));
  const std::size_t colon = where.rfind(':');
  return try_tcp(where.substr(0, colon), where.substr(colon + 1));
}

}  // namespace bulkhead::doctor
