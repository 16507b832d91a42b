#include "supervisor/job/history.hpp"

#include <algorithm>
#include <string>

#include "supervisor/job/json_text.hpp"

namespace bulkhead {
namespace {

constexpr std::string_view kBetween = ",\n";

std::string line_of(const AttemptEnd& end) {
  JsonText json;
  json.raw("{\"attempt\":").number(end.attempt);
  json.raw(",\"started_at\":").number(end.started_ms);
  json.raw(",\"ended_at\":").number(end.ended_ms);
  json.raw(",\"worker_id\":").string(end.worker_id);
  json.raw(",\"reason\":").string(end.reason);
  json.raw(",\"error_type\":").string(end.error_type);
  json.raw(",\"from_checkpoint\":").raw(end.from_checkpoint ? "true" : "false").raw("}");
  return json.text();
}

}  // namespace

Payload with_attempt(const Payload& history, const AttemptEnd& end) {
  std::string_view known = history.bytes();
  if (known.empty()) return Payload::of(line_of(end));
  const std::size_t last = known.rfind('\n');
  const std::string same = "{\"attempt\":" + std::to_string(end.attempt) + ",";
  if (known.substr(last == std::string_view::npos ? 0 : last + 1).starts_with(same)) return history;
  if (std::count(known.begin(), known.end(), '\n') + 1 >= kMostAttemptsKept) known.remove_prefix(known.find('\n') + 1);
  return Payload::of(std::string(known).append(kBetween) + line_of(end));
}

Payload with_history(const Payload& record, const Payload& history) {
  constexpr std::string_view kEnd = "}\"";
  std::string_view text = record.bytes();
  if (!text.starts_with("\"{") || !text.ends_with(kEnd) || history.empty()) return record;
  std::string result(text.substr(0, text.size() - kEnd.size()));
  result += ",\\\"attempts\\\":[";
  for (const char c : history.bytes()) {
    if (c == '\n') continue;
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return Payload::of(result.append("]").append(kEnd));
}

}  // namespace bulkhead
