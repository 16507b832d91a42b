#include "client/json_text.hpp"

#include <boost/json.hpp>

#include <algorithm>

namespace bulkhead::client {
namespace {

constexpr std::size_t kMaxDepth = 512;  // what the endpoint takes

void skip_space(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

/// Takes a string with its quotes.
std::string_view take_string(std::string_view& text) {
  std::size_t end = 1;
  while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  std::string_view taken = text.substr(0, std::min(end + 1, text.size()));
  text.remove_prefix(taken.size());
  return taken;
}

/// Takes one value of any kind.
std::string_view take_value(std::string_view& text) {
  const char* begin = text.data();
  std::size_t depth = 0;
  do {
    skip_space(text);
    if (text.empty()) break;
    char c = text.front();
    if (c == '"') {
      take_string(text);
    } else if (c == '{' || c == '[') {
      ++depth;
      text.remove_prefix(1);
    } else if (c == '}' || c == ']') {
      if (depth == 0) break;
      --depth;
      text.remove_prefix(1);
    } else if (c == ',' || c == ':') {
      if (depth == 0) break;
      text.remove_prefix(1);
    } else {
      text.remove_prefix(std::min(text.find_first_of(" \t\r\n,:]}\"[{"), text.size()));
    }
  } while (depth > 0);
  return {begin, static_cast<std::size_t>(text.data() - begin)};
}

/// Whether the parser refuses what the grammar allows: an exponent beyond a double, half of a surrogate pair.
bool is_stricter(std::string_view text, std::size_t at, boost::json::error_code code) {
  using boost::json::error;
  if (code == error::exponent_overflow || code == error::illegal_trailing_surrogate) return true;
  constexpr std::size_t kEscape = 6;  // "\ud800"
  if (at < kEscape) return false;
  std::string_view before = text.substr(at - kEscape, kEscape);
  return (before.starts_with("\\ud") || before.starts_with("\\uD")) &&
         std::string_view("89abAB").find(before[3]) != std::string_view::npos;
}

}  // namespace

std::optional<std::string> fault_of_json(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return "it is empty";
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  boost::json::stream_parser parser({}, options);
  boost::json::error_code code;
  std::size_t at = parser.write_some(text.data(), text.size(), code);
  if (!code && at < text.size()) code = boost::json::error::extra_data;
  if (!code) parser.finish(code);
  if (!code || is_stricter(text, at, code)) return {};
  std::string_view before = text.substr(0, at);
  auto line = std::count(before.begin(), before.end(), '\n') + 1;
  std::size_t column = at - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
  return "line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + code.message();
}

std::string_view member(std::string_view json, std::string_view name) {
  skip_space(json);
  if (!json.starts_with('{')) return {};
  json.remove_prefix(1);
  for (;;) {
    skip_space(json);
    if (!json.starts_with('"')) return {};
    std::string_view key = take_string(json);
    skip_space(json);
    if (!json.starts_with(':')) return {};
    json.remove_prefix(1);
    skip_space(json);
    std::string_view value = take_value(json);
    if (key.size() >= 2 && key.substr(1, key.size() - 2) == name) return value;
    skip_space(json);
    if (!json.starts_with(',')) return {};
    json.remove_prefix(1);
  }
}

void each_element(std::string_view json, const std::function<void(std::string_view)>& visit) {
  skip_space(json);
  if (!json.starts_with('[')) return;
  do {
    json.remove_prefix(1);
    skip_space(json);
    if (json.empty() || json.front() == ']') return;
    visit(take_value(json));
    skip_space(json);
  } while (json.starts_with(','));
}

std::string plain(std::string_view json) {
  if (!json.starts_with('"')) return std::string(json);
  boost::json::error_code error;
  boost::json::value value = boost::json::parse(json, error);
  const boost::json::string* string = error ? nullptr : value.if_string();
  return string == nullptr ? std::string(json) : std::string(string->data(), string->size());
}

std::string json_quoted(std::string_view text) { return boost::json::serialize(boost::json::string(text)); }

std::string one_line(std::string_view json) {
  skip_space(json);
  json = json.substr(0, json.find_last_not_of(" \t\r\n") + 1);
  std::string line(json);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return line;
}

}  // namespace bulkhead::client
