// What the service manager is told of the supervisor, and when: READY with the first handler process, STATUS as it
// changes, more time while jobs drain, and a sign of life from the loop that does the work.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/observe/service_manager.hpp"

namespace bulkhead {

class ServiceReport {
 public:
  struct View {
    int ready = 0;     ///< handler processes that are set up
    int wanted = 0;    ///< … of so many
    long running = 0;  ///< jobs
    long waiting = 0;
    bool ever_ready = false;  ///< a handler process was, in this life or one before it: the manager has had its READY
    std::string phase;        ///< what it is doing, if not serving: "draining"
  };

  /// `look` is asked now and then. Does nothing at all where there is no service manager.
  ServiceReport(boost::asio::any_io_executor executor, std::function<View()> look);

  void start();
  /// There is a service manager, who may keep sockets.
  bool managed() const { return manager_.listens(); }
  /// After an upgrade: the one before may have been told to reload, and this ends it.
  void took_over();
  /// These sockets shall be there for the next start: whoever connects meanwhile waits in their queues.
  void keep(const std::vector<int>& sockets, std::string_view name) { manager_.keep(sockets, name); }
  /// Between these two it reads its configuration again. Before the first READY neither says a word: the second would
  /// be that.
  void reloading();
  void reloaded();
  /// It ends, in about `time` at the longest.
  void stopping(std::chrono::milliseconds time);

 private:
  void tick();
  std::string status(const View& view) const;

  observe::ServiceManager manager_;
  std::function<View()> look_;
  boost::asio::steady_timer timer_;
  std::string told_;  ///< as what follows: what was taken; the rest is said again
  bool ready_ = false;
  bool reloading_ = false;
  bool stopping_ = false;
  bool stopping_told_ = false;
  std::chrono::steady_clock::time_point end_;
  std::chrono::steady_clock::time_point extended_;
};

}  // namespace bulkhead
