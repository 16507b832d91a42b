// Speaks to the service manager that started us (systemd, or whoever sets NOTIFY_SOCKET), as sd_notify(3) does: a line or
// two in one datagram. Without such a variable every call does nothing.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

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

  /// "READY=1", "STATUS=…", several with ends of line between. Waits at most a second for its reader.
  void tell(std::string_view assignments);

 private:
  int socket_ = -1;
  std::string path_;
  std::optional<std::chrono::microseconds> watchdog_;
};

}  // namespace bulkhead::observe
