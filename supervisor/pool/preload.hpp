// Keeps a fork server (process/fork_server.hpp) for a pool whose handlers are slow to import: launches it, launches it
// again when it dies, and says when children must do without.
//
// At the start children wait for it, since they would only do the same work beside it. From then on nobody waits: while
// there is none, children are started the ordinary way. A server that will not (a module that is not there, threads, CUDA, a
// command that is no Python) is not tried again; one that dies is, longer each time.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "supervisor/pool/backoff.hpp"
#include "supervisor/pool/options.hpp"
#include "supervisor/process/fork_server.hpp"
#include "supervisor/process/output.hpp"
#include "supervisor/process/scratch.hpp"

namespace bulkhead::pool {

namespace asio = boost::asio;

class Preload {
 public:
  struct Handlers {
    std::function<void(std::string_view text)> say;  ///< for a person: a line of it, or what has happened
    std::function<void()> decided;                   ///< once: children need not wait any more
  };

  /// For options whose `preload` names something. Both outlive it.
  Preload(asio::any_io_executor executor, const Options& options, process::ScratchRoot& scratch, Handlers handlers);
  /// Kills the server.
  ~Preload();
  Preload(const Preload&) = delete;
  Preload& operator=(const Preload&) = delete;

  void start();
  /// Ends the server with all it has started but its forks, which must be gone. Calls `stopped` once, never from within.
  void stop(std::function<void()> stopped);

  /// True until `decided` is called.
  bool undecided() const { return !decided_; }
  /// Ready to fork, or nullptr.
  process::ForkServer* server() const { return server_ && server_->ready() ? server_.get() : nullptr; }

  /// For any sign that the command is a Python which looks where Bulkhead's modules are.
  static constexpr milliseconds kGreetingTime{20'000};

 private:
  void launch();
  process::SpawnPlan plan();
  void greeted();
  void ready(const std::string& remark);
  void printed(std::string_view line);
  void give_up(const std::string& reason);
  void timed_out();
  void ended(const process::ExitStatus& status);
  void bury();
  void buried();
  void decide();

  asio::any_io_executor executor_;
  const Options& options_;
  process::ScratchRoot& scratch_root_;
  Handlers handlers_;
  Backoff backoff_;
  std::mt19937_64 generator_{std::random_device{}()};
  asio::steady_timer timer_;
  std::string cookie_;
  process::Scratch scratch_;
  std::optional<process::Output> output_;
  std::unique_ptr<process::ForkServer> server_;
  std::function<void()> stopped_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  ///< held weakly by callbacks that may outlive this
  std::string reason_;                                    ///< why it is ended
  bool greeted_ = false;
  bool was_ready_ = false;
  bool given_up_ = false;
  bool decided_ = false;
  bool stopping_ = false;
  bool silent_ = false;  ///< its failing was said, and nothing has changed since
};

}  // namespace bulkhead::pool
