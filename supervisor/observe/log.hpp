// The supervisor's own log, and the lines of its children in it: to stderr, one line each, written by a thread of its
// own so that a stuck terminal or pipe never blocks the event loop; what does not fit is dropped, oldest first, and
// counted.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/job/ports.hpp"
#include "supervisor/observe/lines.hpp"

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

/// What a line tells of: its MESSAGE_ID in systemd's journal (docs/SYSTEMD.md has the table).
enum class Kind : std::uint8_t {
  Supervisor,  ///< its own, and none of the following
  Pool,        ///< about a handler process
  Handler,     ///< a handler's output or log
  State,       ///< SIGUSR1's line of JSON
  JobAccepted,
  JobStarted,
  JobRequeued,
  JobEnded,
  JobLost,  ///< it failed by its process's death or by its deadline
  Webhook,
  Platform,
  Ending,
  Reloaded,
  Unhealthy,  ///< no handler becomes ready; and the end of that
};

/// What a line is about; what is empty is left out.
struct About {
  std::string_view job_id;
  std::string_view worker_id;
  std::string_view traceparent;
  int attempt = 0;
  Kind kind = Kind::Supervisor;
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

  /// A line of the supervisor's.
  void write(Severity severity, std::string_view text, const About& about = {});
  /// A line of a handler's, in the attempt of that number; 0: outside any job.
  void child(const LogLine& line, const Job* job, int attempt);
  /// Of lines that tell of a job's ordinary course.
  Severity severity_of_jobs() const { return format_ == Format::Journal ? Severity::Info : Severity::Debug; }

  void set_threshold(Severity threshold) { threshold_ = threshold; }
  /// A line as it is, whatever the threshold and the format: for what programs read.
  void raw(std::string_view line);
  bool wants(Severity severity) const { return severity >= threshold_; }
  /// What was written last; of raw lines nothing.
  Lines& lines() { return lines_; }
  /// Lines lost because they were written faster than stderr took them.
  std::size_t dropped() const;
  /// Returns when everything written so far has left the process, or after a second.
  void flush();

 private:
  void emit(Severity severity, std::string_view text, const About& about, std::string_view stream);

  Severity threshold_;
  Format format_;
  Lines lines_;
  std::shared_ptr<spdlog::details::thread_pool> thread_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace bulkhead::observe
