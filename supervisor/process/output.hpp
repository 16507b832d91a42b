// Takes in what a child writes to stdout and stderr, line by line.
//
// The child is never blocked for long and never costs unbounded memory or time: a line is cut at max_line, a child
// that writes more than `rate` has its excess thrown away unread (counted, and announced as a line of its own), and
// reading yields to the rest of the loop. The last lines before a drain are always read, flood or not, because they
// are the ones that explain a crash.
//
// Lines are valid UTF-8 (what was not is replaced by U+FFFD), without their end. As on a terminal, a carriage return
// starts a line over, so that a progress bar is one line.
//
// End of file is nobody's signal here: a grandchild may hold the pipe long after the child is gone.
//
// A child that shall outlive its supervisor writes to FIFOs that have names. It has them open for reading, too: so a reader
// that dies is no SIGPIPE, what was not read waits for the next reader, and when they are full the child waits.

#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::process {

namespace asio = boost::asio;

enum class Stream : std::uint8_t { Stdout, Stderr };

class Output {
 public:
  /// Called on the executor's thread, and from within drain(). `line` is valid for the call. Must not destroy the
  /// Output.
  using Sink = std::function<void(Stream stream, std::string_view line)>;

  struct Limits {
    std::size_t max_line = 8 * 1024;      ///< bytes; a longer line is cut and says how much is missing
    std::size_t rate = 1024 * 1024;       ///< bytes a second, both streams together, a line counting at least 64
    std::size_t burst = 4 * 1024 * 1024;  ///< what may come at once after a quiet time
    std::size_t tail_lines = 50;
  };

  /// Makes the pipes. Throws std::system_error (out of descriptors).
  Output(asio::any_io_executor executor, Sink sink, Limits limits);
  Output(asio::any_io_executor executor, Sink sink) : Output(executor, std::move(sink), Limits{}) {}

  /// FIFOs, whose names belong to whoever gave them. `Make`: new ones, 0600, in the place of what has these names.
  /// `Reopen`: those of a child that another process started; there are no ends for it then. Throws std::system_error.
  struct Names {
    std::filesystem::path out;
    std::filesystem::path err;
  };
  enum class Open : std::uint8_t { Make, Reopen };
  Output(asio::any_io_executor executor, Sink sink, Limits limits, const Names& names, Open open);
  Output(Output&&) noexcept = default;
  Output& operator=(Output&&) noexcept = default;
  ~Output();

  /// The child's ends, for the SpawnPlan. Valid until start().
  int stdout_fd() const;
  int stderr_fd() const;

  /// After the launch, also a failed one: closes the child's ends and begins to read.
  void start();

  /// Reads what the pipes hold at this moment, and passes it on, an unfinished line included: before a verdict, and
  /// before what follows belongs to another job. Never waits, and is bounded by what the pipes can hold.
  void drain();

  /// The last lines since the last clear_tail(), both streams in the order they were read.
  std::vector<std::string> tail() const;
  void clear_tail();

  /// Stops reading and closes the pipes; a child that still writes gets SIGPIPE, or waits if they have names. What was
  /// unfinished is passed on.
  void close();

  std::uint64_t bytes_read() const;
  std::uint64_t bytes_dropped() const;  ///< of bytes_read, those that did not reach the sink

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace bulkhead::process
