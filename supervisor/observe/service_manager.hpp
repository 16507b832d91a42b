// Speaks to the service manager that started us (systemd, or whoever sets NOTIFY_SOCKET), as sd_notify(3) does: a line or
// two in one datagram. Without such a variable every call does nothing.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::observe {

class ServiceManager {
 public:
  /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
  ServiceManager();
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  bool listens() const { return socket_ >= 0; }
  /// How often it wants to hear of us at least; none: it does not watch.
  std::optional<std::chrono::microseconds> watchdog() const { return watchdog_; }

  /// Leaves it a copy of these descriptors under this name, in the place of those it has: they come back with the next
  /// start, as LISTEN_FDS. At most 16.
  void keep(const std::vector<int>& descriptors, std::string_view name);
  /// "READY=1", "STATUS=…", several with ends of line between. Waits at most a second for its reader. False: it was not
  /// taken, and is to be said again.
  bool tell(std::string_view assignments);
  /// The same without a wait.
  bool try_to_tell(std::string_view assignments);

 private:
  bool send(std::string_view assignments, const std::vector<int>& descriptors, int flags = 0);

  int socket_ = -1;
  std::string path_;
  std::optional<std::chrono::microseconds> watchdog_;
};

}  // namespace bulkhead::observe
