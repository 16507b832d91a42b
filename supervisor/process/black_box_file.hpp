// A child's black box (protocol/black_box.hpp) from the supervisor's side: makes the file, and reads it after a death.
//
// It is read with pread, not through a mapping: a child that truncated its file would otherwise end the supervisor with
// SIGBUS. A read of the whole takes a few microseconds.

#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "protocol/black_box.hpp"
#include "supervisor/process/descriptor.hpp"

namespace bulkhead::process {

/// What the box said at one moment.
struct BlackBoxSnapshot {
  struct Run {
    std::uint64_t run = 0;
    bool left = false;  ///< its handler returned, and the result was given to the socket
  };

  std::uint64_t pid = 0;  ///< 0: nobody has said hello with it
  protocol::BlackBox::Phase phase = protocol::BlackBox::Phase::Launched;
  int crash_signal = 0;
  std::chrono::nanoseconds last_sign{0};  ///< CLOCK_BOOTTIME
  std::vector<Run> runs;                  ///< entered, and not yet acknowledged

  /// True if the child had entered this run's handler, whether or not it came back from it.
  bool was_entered(std::uint64_t run) const;
  /// True if it had also given the result away.
  bool was_left(std::uint64_t run) const;
};

class BlackBoxFile {
 public:
  /// Makes the file, 0600, zeroed and marked; one of the same name is replaced. Throws std::system_error.
  static BlackBoxFile create(const std::filesystem::path& path);
  /// Opens what another supervisor made; empty if it is not there. Throws std::system_error.
  static std::optional<BlackBoxFile> open(const std::filesystem::path& path);

  /// Empty if the file is no longer a black box (truncated or overwritten): then nothing is known of what was
  /// entered, and every run the child had must be taken as entered.
  std::optional<BlackBoxSnapshot> read() const;

  /// The last sign of life alone, CLOCK_BOOTTIME; 0 if none or unreadable. Cheap enough for a periodic look.
  std::chrono::nanoseconds last_sign() const;

  const std::filesystem::path& path() const { return path_; }
  /// Removes the file's name. Called by nobody else; harmless when it is gone.
  void remove() noexcept;

 private:
  BlackBoxFile(std::filesystem::path path, Descriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::filesystem::path path_;
  Descriptor fd_;
};

}  // namespace bulkhead::process
