// Turns a crash file's addresses into names, outside the child and outside the supervisor.
//
// Reading the debug information of a large program takes time and memory without a useful bound, and a broken file
// can crash the reader. So it is done by a program of its own, `bulkhead-symbolise`, which gets a deadline and a
// memory limit; what it has said by then is used, and the rest comes from the maps alone (plain_stack). The
// supervisor neither waits nor links the library.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "supervisor/process/crash_file.hpp"

namespace bulkhead::process {

namespace asio = boost::asio;

/// Where the program is: beside the running executable, in the libexec directory relative to it, or where it was
/// configured to be installed. Empty if it is nowhere (then every stack is plain).
std::string find_symboliser();

class Symboliser {
 public:
  /// One line a frame: "ns::f(int) at src/f.cpp:12 (handler+0x1a2b)", inlined frames as lines of their own.
  using StackHandler = std::function<void(std::vector<std::string> stack)>;

  /// `program`: as find_symboliser() says.
  Symboliser(asio::any_io_executor executor, std::string program);
  /// Ends the programs that still run; their handlers are not called.
  ~Symboliser();
  Symboliser(const Symboliser&) = delete;
  Symboliser& operator=(const Symboliser&) = delete;

  /// Calls `handler` from the executor, never from within, at the deadline or before. At most kAtOnce programs run at a
  /// time; a stack that would have to wait for one is plain.
  void symbolise(const CrashFile& crash, std::chrono::milliseconds deadline, StackHandler handler);

  static constexpr int kAtOnce = 4;
  static constexpr std::size_t kMaxLines = 128;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace bulkhead::process
