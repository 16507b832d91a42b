// The other end of the wire, for tests of the child's library: a ROUTER that says what the test tells it to and hands the
// test what the child said. It has no opinion of its own.

#pragma once

#include <zmq.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/black_box.hpp"
#include "protocol/codec.hpp"

namespace bulkhead::test {

/// Long enough for a loaded machine; only a failing test waits so long.
inline constexpr std::chrono::milliseconds kPatience{20'000};

class FakeSupervisor {
 public:
  /// `most_unread`: messages libzmq takes before the test does; then the child's pile up at the child. 0: no limit.
  explicit FakeSupervisor(int most_unread = 0);
  ~FakeSupervisor();
  FakeSupervisor(const FakeSupervisor&) = delete;
  FakeSupervisor& operator=(const FakeSupervisor&) = delete;

  const std::string& folder() const { return folder_; }
  std::string endpoint() const { return "ipc://" + folder_ + "/link"; }
  std::string token() const { return "0123456789abcdef0123456789abcdef"; }
  std::string black_box_path() const { return folder_ + "/black_box"; }
  std::string crash_file_path() const { return folder_ + "/crash"; }
  /// As the environment of a child ("NAME=value").
  std::vector<std::string> environment() const;
  /// … or of this process.
  void set_environment() const;

  const protocol::BlackBox& black_box() const { return *black_box_; }
  /// The state of a run's entry; Free if it has none.
  protocol::BlackBox::State entry_of(protocol::Run run) const;
  std::string crash_file() const;

  void send(const protocol::ToChild& message);
  void send_frames(const std::vector<std::string>& frames);

  /// The next message of the child, if one comes in time. Its views are good as long as the supervisor.
  std::optional<protocol::FromChild> receive(std::chrono::milliseconds timeout = kPatience);

  /// The next message but for heartbeats and Started, which come when they want. Throws if it is none of this kind.
  template <class M>
  M expect() {
    for (;;) {
      const auto said = receive();
      if (!said) throw std::runtime_error("the child said nothing");
      if (const M* wanted = std::get_if<M>(&*said)) return *wanted;
      if (std::holds_alternative<protocol::Heartbeat>(*said) || std::holds_alternative<protocol::Started>(*said))
        continue;
      throw std::runtime_error("the child said something else: kind " + std::to_string(said->index()));
    }
  }

  /// Answers the hello, and returns it.
  protocol::Hello welcome(const protocol::Welcome& welcome = {});
  /// Hands out a job.
  void run(protocol::Run run, std::string_view input, std::string_view checkpoint = {});

  /// Goes away, as a killed supervisor does; its socket file stays.
  void vanish();
  /// A new one on the same path.
  void return_anew();

 private:
  const int most_unread_;
  void* context_;
  void* socket_ = nullptr;
  std::string folder_;
  std::string identity_;
  protocol::BlackBox* black_box_ = nullptr;
  std::deque<std::vector<std::string>> heard_;
};

/// A process started from the test helper, killed when it goes out of scope.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
          const std::string& stdout_path = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  int pid() const { return pid_; }
  void kill(int signal);
  /// Its wait status, awaited.
  int wait();

 private:
  int pid_ = -1;
  int pidfd_ = -1;
  std::optional<int> status_;
};

}  // namespace bulkhead::test
