// The endpoint's HTTP server: listens, accepts, counts connections, and ends them in order.
//
// Runs on the supervisor's one io_context and thread. One coarse timer serves all deadlines of all connections, and
// runs only while there are some.

#pragma once

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "supervisor/http/keys.hpp"
#include "supervisor/http/rates.hpp"
#include "supervisor/http/routes.hpp"

namespace bulkhead::http {

class Session;

/// A socket that listens, by the name `listen` has for its address.
struct Held {
  std::string address;
  int socket = -1;
};

struct Options {
  std::vector<std::string> listen;  ///< "HOST:PORT" (port 0: any free), "[V6]:PORT", "unix:/path", "fd:3" (inherited)
  std::vector<int>
      inherited;  ///< sockets somebody listens on for us: taken for the address of `listen` they are bound to
  std::vector<Held>
      held;  ///< of the supervisor before this one; taken for the address of this name. The server's from here on
  Limits limits;
  Policy default_policy;                    ///< of a job that says nothing, max_attempts included
  Keys keys;                                ///< none: only addresses that are this machine's own are listened on
  std::vector<RateLimit> rate_limits;       ///< by route
  observe::Onlooker* onlooker = nullptr;    ///< outlives the server; none: there are no metrics
  std::function<std::string()> unreadable;  ///< see Api
  Steering steering;
  Upgrades* upgrades = nullptr;  ///< likewise; none: it cannot be asked for one
  /// Offers nothing but what there is to look at: no job comes in here, so that others than this machine may, without keys.
  bool watching_only = false;
};

class Server {
 public:
  /// `endpoint` and `clock` outlive it.
  Server(boost::asio::io_context& io, Endpoint& endpoint, const Clock& clock, Options options);
  /// Closes everything at once. Callbacks the endpoint still holds are harmless afterwards.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Binds and listens on every address; clients may connect from here on. Returns the addresses in use, with the port
  /// that was taken for 0. Throws std::system_error naming the address. A Unix socket nobody answers on is replaced.
  std::vector<std::string> listen();

  /// What it was told to listen on, as it was told.
  const std::vector<std::string>& addresses() const { return addresses_; }

  /// The listening sockets, Unix sockets that have a path of ours apart: these are made anew by each server.
  std::vector<int> sockets() const;

  /// Those that nobody else holds, for the next supervisor.
  std::vector<Held> own_sockets() const;

  /// Of those that were handed over: the ones taken for an address.
  std::vector<int> inherited_in_use() const;
  struct Unused {
    int socket;
    std::string name;  ///< "127.0.0.1:8000", "a Unix socket"
  };
  /// … and the ones that listen and belong to no address.
  std::vector<Unused> unused() const;
  /// Connections to it are refused from here on, whoever else has a copy of it.
  static void close_for_good(int socket);

  /// Other limits, keys and defaults from the next request on; the addresses stay. Throws std::system_error, and changes
  /// nothing, where the new keys would leave open an address that others than this machine reach.
  void reconfigure(Options options);

  /// Takes no new connections and closes idle ones; a request that is being answered is answered first. `drained` is
  /// called when the last connection is gone, at once if there is none.
  void drain(std::function<void()> drained);

  /// The next supervisor takes over: no connection is accepted any more, and none that listens is closed for others; what is
  /// asked is answered, and a connection that is idle then is kept for the next. `done` is called when there is no other.
  void hand_over(std::function<void()> done);
  /// The connections it has kept; the caller's from then on. What is not answered yet is cut off.
  std::vector<int> handed_over();
  /// A connection that the supervisor before this one had kept.
  void take_over(int connection);

  /// Closes everything at once.
  void stop();

  std::size_t connections() const { return sessions_.size(); }

 private:
  friend class Session;
  using Protocol = boost::asio::generic::stream_protocol;
  struct Listener;

  std::unique_ptr<Listener> bind(const std::string& address);
  std::unique_ptr<Listener> inherit(const std::string& address);
  std::unique_ptr<Listener> take_held(const std::string& address, const std::string& path);
  void begin(Protocol::socket socket, bool surplus);
  void permit(const std::string& address, const Protocol::endpoint& endpoint) const;
  bool is_reached_by_others() const;
  void accept(Listener& listener);
  void close_listeners();
  void resume_accepting();
  void sweep();
  void start_sweeping();

  // For sessions.
  void remove(Session& session);
  bool draining() const { return draining_; }
  bool handing_over() const { return api_.handing_over; }
  void keep(int connection) { handed_over_.push_back(connection); }
  std::uint64_t tick() const { return tick_; }       ///< time, in sweeps
  std::uint64_t ticks(milliseconds duration) const;  ///< how many sweeps it takes, at least 1
  std::string_view date() const { return date_; }    ///< for the Date field

  boost::asio::io_context& io_;
  Api api_;
  Keys keys_;
  bool watching_only_;
  Rates rates_;
  std::vector<std::string> addresses_;
  std::vector<int> inherited_;
  std::vector<Held> held_;
  std::vector<int> handed_over_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<Session*, std::shared_ptr<Session>> sessions_;
  boost::asio::steady_timer sweep_timer_;
  milliseconds sweep_period_;
  bool sweeping_ = false;
  bool draining_ = false;
  std::uint64_t tick_ = 0;
  std::string date_;
  std::function<void()> drained_;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);  ///< what our own callbacks look at first
};

}  // namespace bulkhead::http
