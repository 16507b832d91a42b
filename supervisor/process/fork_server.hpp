// A process that forks children for us: the child's own command, stopped at a point where all that is slow to load is
// loaded (for Python: child/python/bulkhead/_fork_server.py). What it forks goes on from there, as if it had been started.
//
// It is launched by a plan like any child, its descriptor 0 being one end of a socket, and is the parent of what it forks:
// it takes their exit statuses and keeps their zombies until it is told to let go, so that a forked Child is as good as one
// of our own. It proves which process it forked by a pidfd. When it dies its children live on; how they end is then told
// by their pidfds where the kernel can, and nobody where it cannot.
//
// What a fork takes over from the server's own launch, both plans being made alike: command, directory, niceness and OOM
// score. What is done again for each: cgroup, session, stdout and stderr, limits, environment, cookie and scratch.
//
// Both ends speak in packets, texts of fields that end with a NUL, the first of which says what it is:
//
//     hello                       it is one            |  fork, env NAME=VALUE…, limit R SOFT HARD…  + descriptors: 1, 2, cgroups
//     ready REMARK                it has loaded all    |  status PID                              of one that has ended
//     refused TEXT                it will not          |  reap PID                                is not answered
//     forked PID  + its pidfd     | failed TEXT        |  ended PID EXITED|KILLED|CORE NUMBER KIB USER_US SYSTEM_US

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "supervisor/process/launch.hpp"

namespace bulkhead::process {

/// Its presence makes a process one; the value is what to load.
inline constexpr char kForkServerVariable[] = "BULKHEAD_FORK_SERVER";

class ForkServer {
 public:
  /// None is called from within a call, nor after the ForkServer is gone.
  struct Handlers {
    std::function<void()> greeted;
    std::function<void(std::string remark)> ready;
    std::function<void(std::string reason)> refused;  ///< another one would say the same
    std::function<void(const ExitStatus&)> ended;     ///< the process has; it is not reaped
  };
  using Launched = std::variant<std::unique_ptr<ForkServer>, LaunchError>;
  using Forked = std::variant<Child, std::string>;

  /// `plan.stdin_fd` is ours to set, and so is its death signal: it ends with the supervisor.
  static Launched launch(asio::any_io_executor executor, SpawnPlan plan, Handlers handlers);
  /// Kills it. What it forked lives on; forks under way are not reported.
  ~ForkServer();
  ForkServer(const ForkServer&) = delete;
  ForkServer& operator=(const ForkServer&) = delete;

  bool ready() const;
  Child& process();

  /// Calls `done` once, from the executor and never from within, with the child or with why there is none. It is not
  /// called after the ForkServer is gone.
  void fork(const SpawnPlan& plan, std::function<void(Forked)> done);

  /// Takes longer than this to answer: it is killed, and what was asked has no answer.
  static constexpr std::chrono::seconds kAnswerTime{20};
  /// Forks and questions that may wait for an answer.
  static constexpr std::size_t kMostWaiting = 64;
  static constexpr std::size_t kMaxPacket = 128 * 1024;

 private:
  class Connection;
  ForkServer(Child process, std::shared_ptr<Connection> connection);
  Child process_;
  std::shared_ptr<Connection> connection_;
};

}  // namespace bulkhead::process
