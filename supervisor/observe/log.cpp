// A line is put together here, in the format asked for, and handed to spdlog's thread, which alone waits for standard
// error or for the journal. Nothing is formatted there any more.

#include "supervisor/observe/log.hpp"

#include <chrono>
#include <cstdio>
#include <ctime>
#include <iterator>
#include <thread>
#include <utility>

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "supervisor/job/trace_context.hpp"
#include "supervisor/observe/journal_sink.hpp"

namespace bulkhead::observe {
namespace {

/// A tenth of a second at the highest rate of jobs, each with a line. Their memory (400 bytes for each) is taken at the start.
constexpr std::size_t kQueuedLines = 4096;
constexpr std::pair<spdlog::level::level_enum, std::string_view> kLevels[] = {{spdlog::level::trace, "trace"},
                                                                              {spdlog::level::debug, "debug"},
                                                                              {spdlog::level::info, "info"},
                                                                              {spdlog::level::warn, "warn"},
                                                                              {spdlog::level::err, "error"}};

std::int64_t wall_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

void append_time(std::string& out) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char text[40];
  std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  out.append(text, size);
  std::snprintf(text, sizeof text, ".%03ldZ", now.tv_nsec / 1'000'000);
  out += text;
}

void append_json(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      out += escaped;
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
  if (text.empty()) return;
  ((out += ",\"") += name) += "\":";
  append_json(out, text);
}

/// The line of RunPod's own logger: job, text, level; of a text beyond 4096 characters the middle is left out.
void append_platform_line(std::string& out, std::string_view level, std::string_view text, std::string_view job_id) {
  constexpr std::size_t kLongest = 4096;
  auto boundary = [&](std::size_t at) {
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
    return at;
  };
  std::string shown(text);
  if (text.size() > kLongest) {
    std::size_t head = boundary(kLongest / 2), tail = boundary(text.size() - kLongest / 2);
    shown = std::string(text.substr(0, head)) + "\n...TRUNCATED " + std::to_string(text.size() - kLongest) +
            " CHARACTERS...\n" + std::string(text.substr(tail));
  }
  std::string upper(level);
  for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  out += "{\"requestId\": ";
  if (job_id.empty())
    out += "null";
  else
    append_json(out, job_id);
  out += ", \"message\": ";
  append_json(out, shown);
  out += ", \"level\": ";
  append_json(out, upper);
  out += '}';
}

/// By Kind, in its order.
constexpr std::string_view kMessageIds[] = {
    "6f0f4a7be4b24ac6a5c2a1f1c7e0d5b1", "0c1b62c5d9884c6f9a0e3f6fbb1a7a02", "b7d34e0c51c04f0fb9d0c1c84a3d9e13",
    "2f9c8f5f7a3f4f7e8a36d2b5f0a4c724", "6de2190ebe4349e59afcff3b6ea63fd4", "576c41df706c4373b69552f58dd14416",
    "a6d6a25ef6364835b0115dc3f757b993", "ec36f88d1a934c5c8c5497bd920168c5", "0d68cf6f30784815a320a8967f62301d",
    "544f06f99e174d94a7a129740e336177", "968971bbbc8b459cbc7097cd8140079d", "2be4a094389a4eccbddaa65c3b13b59a",
    "e48b83dd915f42e8a0b4b58c599f69e0", "39a22ed552be49ae941227ed93d57047"};
static_assert(std::size(kMessageIds) == static_cast<std::size_t>(Kind::Unhealthy) + 1);

void append_entry(std::string& out, Severity severity, std::string_view text, Kind kind) {
  constexpr std::string_view kPriorities[] = {"7", "7", "6", "4", "3"};  // syslog's: debug, info, warning, error
  append_journal_field(out, "MESSAGE", text.empty() ? std::string_view(" ") : text);
  append_journal_field(out, "PRIORITY", kPriorities[static_cast<int>(severity)]);
  append_journal_field(out, "MESSAGE_ID", kMessageIds[static_cast<std::size_t>(kind)]);
  append_journal_field(out, "SYSLOG_IDENTIFIER", "bulkhead");
}

/// Lines of one supervisor have higher numbers than those of the one before, as long as none writes a million a second: who
/// reads on behind a number misses none, and gets none twice.
std::uint64_t first_line() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

}  // namespace

Log::Log(Severity threshold, Format format) : threshold_(threshold), format_(format), lines_(first_line()) {
  thread_ = std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1);
  auto sink = format == Format::Journal ? journal_sink() : std::make_shared<spdlog::sinks::stderr_sink_mt>();
  logger_ = std::make_shared<spdlog::async_logger>("bulkhead", std::move(sink), thread_,
                                                   spdlog::async_overflow_policy::overrun_oldest);
  logger_->set_pattern("%v");
  logger_->set_level(spdlog::level::trace);
  logger_->flush_on(spdlog::level::trace);
}

Log::~Log() = default;

std::size_t Log::dropped() const { return thread_->overrun_counter(); }

void Log::flush() {
  logger_->flush();
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (thread_->queue_size() > 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void Log::write(Severity severity, std::string_view text, const About& about) {
  if (wants(severity)) emit(severity, text, about, {});
}

void Log::raw(std::string_view line) {
  std::string out;
  if (format_ == Format::Journal) append_entry(out, Severity::Info, line, Kind::State);
  logger_->log(spdlog::level::err, out.empty() ? line : std::string_view(out));
}

void Log::child(const LogLine& line, const Job* job, int attempt) {
  bool has_level = line.stream == "log" || line.stream == "pool";  // what is merely printed has none
  auto severity = has_level ? static_cast<Severity>(line.level) : Severity::Info;
  if (!wants(severity)) return;
  emit(severity, line.text,
       {.job_id = job ? std::string_view(job->id) : "",
        .worker_id = line.worker_id,
        .traceparent = job ? std::string_view(job->traceparent) : "",
        .attempt = attempt,
        .kind = line.stream == "pool" ? Kind::Pool : Kind::Handler},
       line.stream);
}

void Log::emit(Severity severity, std::string_view text, const About& about, std::string_view stream) {
  auto [level, name] = kLevels[static_cast<int>(severity)];
  lines_.add({.at_ms = wall_ms(),
              .level = name,
              .job = about.job_id,
              .worker = about.worker_id,
              .stream = stream.empty() ? std::string_view("supervisor") : stream,
              .text = text});
  std::string out;
  out.reserve(text.size() + 128);
  if (format_ == Format::Journal) {
    append_entry(out, severity, text, about.kind);
    append_journal_field(out, "JOB_ID", about.job_id);
    append_journal_field(out, "WORKER_ID", about.worker_id);
    if (about.attempt > 0) append_journal_field(out, "ATTEMPT", std::to_string(about.attempt));
    append_journal_field(out, "STREAM", stream);
    append_journal_field(out, "TRACEPARENT", about.traceparent);
  } else if (format_ == Format::RunPod) {
    append_platform_line(out, name, text, about.job_id);
  } else if (format_ == Format::Json) {
    out += "{\"time\":\"";
    append_time(out);
    out += '"';
    append_member(out, "level", name);
    append_member(out, "message", text.empty() ? std::string_view(" ") : text);
    append_member(out, "job_id", about.job_id);
    append_member(out, "worker_id", about.worker_id);
    if (about.attempt > 0) out += ",\"attempt\":" + std::to_string(about.attempt);
    append_member(out, "stream", stream);
    append_member(out, "traceparent", about.traceparent);
    out += '}';
  } else {
    append_time(out);
    (out += ' ') += name;
    out.append(name.size() < 5 ? 6 - name.size() : 1, ' ');
    if (!about.worker_id.empty()) (out += about.worker_id) += ' ';
    if (!about.job_id.empty()) (out += about.job_id) += ' ';
    if (!about.traceparent.empty()) ((out += "trace=") += trace_id(about.traceparent)) += ' ';
    if (!stream.empty() && stream != "log") (out += stream) += ": ";
    out += text;
  }
  logger_->log(level, std::string_view(out));
}

}  // namespace bulkhead::observe
