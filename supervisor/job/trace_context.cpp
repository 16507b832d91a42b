#include "supervisor/job/trace_context.hpp"

#include <algorithm>

namespace bulkhead {
namespace {

constexpr std::size_t kSize = 55;
/// What a handler can be given beside its input (protocol/message.hpp); what a client sends of it goes first.
constexpr std::size_t kExtraMax = 32 * 1024;
constexpr std::string_view kMember = "{\"traceparent\":\"";

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

std::string_view traceparent_in(std::string_view header) {
  if (header.size() < kSize) return {};
  const std::string_view version = header.substr(0, 2), trace = header.substr(3, 32), parent = header.substr(36, 16);
  const bool dashes = header[2] == '-' && header[35] == '-' && header[52] == '-';
  const bool digits = is_hex(version) && is_hex(trace) && is_hex(parent) && is_hex(header.substr(53, 2));
  if (!dashes || !digits || version == "ff" || is_zero(trace) || is_zero(parent)) return {};
  if (header.size() > kSize && (version == "00" || header[kSize] != '-')) return {};
  return header.substr(0, kSize);
}

std::string_view trace_id(std::string_view traceparent) { return traceparent.substr(3, 32); }

void set_traceparent(Job& job, std::string_view header) {
  const std::string_view text = traceparent_in(header);
  if (text.empty()) return;
  job.traceparent = text;
  std::string extra(kMember);
  (extra += text) += '"';
  const std::string_view others = job.extra.bytes();
  if (extra.size() + 1 + others.size() > kExtraMax) return;
  if (others.size() > 2)
    (extra += ',') += others.substr(1);
  else
    extra += '}';
  job.extra = Payload::of(std::move(extra));
}

void recall_traceparent(Job& job) {
  const std::string_view extra = job.extra.bytes();
  if (extra.starts_with(kMember)) job.traceparent = traceparent_in(extra.substr(kMember.size(), kSize));
}

}  // namespace bulkhead
