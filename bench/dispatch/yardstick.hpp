// What the transport alone costs: a bare ROUTER and a bare DEALER process, the same frames, the same Unix socket.

#pragma once

#include <string>
#include <vector>

#include "bench/dispatch/figures.hpp"

namespace bulkhead::bench {

class Yardstick {
 public:
  /// `echo`: path of raw_echo. `directory`: for the socket.
  Yardstick(std::string echo, const std::string& directory);
  ~Yardstick();
  Yardstick(const Yardstick&) = delete;
  Yardstick& operator=(const Yardstick&) = delete;

  /// `count` messages there and back, `in_flight` at a time: an envelope of `envelope` bytes and a body of `body`.
  Figures ping_pong(int count, int in_flight, std::size_t envelope, std::size_t body);
  /// fork, exec, connect, first message: microseconds each.
  std::vector<double> starts(int count);
  /// SIGKILL until the pidfd is readable: microseconds each.
  std::vector<double> deaths(int count);

 private:
  int start();
  void wait_for(const char* word);
  void end(int pid, bool politely);

  std::string echo_, endpoint_;
  void* context_;
  void* router_;
  std::string peer_;
};

}  // namespace bulkhead::bench
