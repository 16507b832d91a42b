// The supervisor's own log, and the lines of its children in it: to stderr, one line each, written by a thread of its
// own so that a stuck terminal or pipe never blocks the event loop; what does not fit is dropped, oldest first, and
// counted.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/job/ports.hpp"

namespace spdlog {
class logger;
namespace details {
class thread_pool;
}
}  // namespace spdlog

namespace bulkhead::observe {

enum class Severity : std::uint8_t { Trace, Debug, Info, Warn, Error };
enum class Format : std::uint8_t {
  Text,
  Json,
  Journal,  ///< entries of systemd's journal, with fields for job, process and kind of line
  RunPod,   ///< {"requestId", "message", "level"}, as the platform shows them by job
};

class Log {
 public:
  Log(Severity threshold, Format format);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void trace(std::string_view text) { write(Severity::Trace, text); }
  void debug(std::string_view text) { write(Severity::Debug, text); }
  void info(std::string_view text) { write(Severity::Info, text); }
  void warn(std::string_view text) { write(Severity::Warn, text); }
  void error(std::string_view text) { write(Severity::Error, text); }

  /// A line of the supervisor's about one job or child; empty ids are left out.
  void write(Severity severity, std::string_view text, std::string_view job_id = {}, std::string_view worker_id = {});
  /// A line of a handler's.
  void child(const LogLine& line, const Job* job);

  void set_threshold(Severity threshold) { threshold_ = threshold; }
  /// A line as it is, whatever the threshold and the format: for what programs read.
  void raw(std::string_view line);
  bool wants(Severity severity) const { return severity >= threshold_; }
  /// Lines lost because they were written faster than stderr took them.
  std::size_t dropped() const;
  /// Returns when everything written so far has left the process, or after a second.
  void flush();

 private:
  void emit(Severity severity, std::string_view text, std::string_view job_id, std::string_view worker_id,
            std::string_view stream, std::string_view traceparent);

  Severity threshold_;
  Format format_;
  std::shared_ptr<spdlog::details::thread_pool> thread_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace bulkhead::observe
