#include "supervisor/process/crash_record.hpp"

#include <unistd.h>

#include <boost/json.hpp>

namespace bulkhead::process {
namespace {

boost::json::object to_object(const CrashRecord& record) {
  boost::json::object object;
  object["error_type"] = record.error_type;
  object["error_message"] = record.error_message;
  if (record.signal) {
    object["signal"] = signal_name(*record.signal);
    object["signal_number"] = *record.signal;
  }
  if (record.exit_code) object["exit_code"] = *record.exit_code;
  object["oom_killed"] = record.oom_killed;
  object["peak_rss_bytes"] = record.peak_rss_bytes;
  object["run_time_ms"] = record.run_time.count();
  object["attempt"] = record.attempt;
  object["stack"] = boost::json::value_from(record.stack);
  if (!record.interpreter_stack.empty())
    object["interpreter_stack"] = boost::json::value_from(record.interpreter_stack);
  object["log_tail"] = boost::json::value_from(record.log_tail);
  object["worker_id"] = record.worker_id;
  object["hostname"] = record.hostname;
  return object;
}

}  // namespace

CrashRecord describe_crash(pid_t pid, const ExitStatus& status, bool oom_killed, std::string_view remark) {
  CrashRecord record;
  record.error_message = "handler process " + std::to_string(pid) + " " + status.describe() + " while running this job";
  if (!remark.empty()) record.error_message += " (" + std::string(remark) + ")";
  if (status.how == ExitStatus::How::Killed) record.signal = status.signal;
  if (status.how == ExitStatus::How::Exited) record.exit_code = status.code;
  record.oom_killed = oom_killed;
  record.peak_rss_bytes = status.peak_rss_bytes;
  record.hostname = host_name();
  return record;
}

std::string to_json(const CrashRecord& record, std::size_t max_bytes) {
  std::string text = boost::json::serialize(to_object(record));
  if (text.size() <= max_bytes) return text;
  CrashRecord shorter = record;
  while (text.size() > max_bytes &&
         !(shorter.log_tail.empty() && shorter.interpreter_stack.empty() && shorter.stack.empty())) {
    // The oldest lines, then the interpreter's last threads, then the outermost frames: half of them at a time, for it is rare and need not be fine.
    if (auto& lines = shorter.log_tail; !lines.empty())
      lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>((lines.size() + 1) / 2));
    else if (auto& threads = shorter.interpreter_stack; !threads.empty())
      threads.resize(threads.size() / 2);
    else
      shorter.stack.resize(shorter.stack.size() / 2);
    text = boost::json::serialize(to_object(shorter));
  }
  return text;
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace bulkhead::process
