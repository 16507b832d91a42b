#include "supervisor/job/webhook_url.hpp"

#include <algorithm>
#include <charconv>

namespace bulkhead {
namespace {

bool is_letter_or_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool starts_with_word(std::string_view text, std::string_view word) {
  return text.size() >= word.size() && std::equal(word.begin(), word.end(), text.begin(), [](char wanted, char c) {
           return wanted == (c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
         });
}

bool is_port(std::string_view text) {
  int port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port > 0 && port < 65536;
}

bool is_name(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](char c) { return is_letter_or_digit(c) || c == '-' || c == '.' || c == '_'; });
}

bool is_address6(std::string_view text) {
  return text.size() >= 2 &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_letter_or_digit(c) || c == ':' || c == '.'; });
}

}  // namespace

std::optional<std::string_view> webhook_host(std::string_view url) {
  bool plain = std::all_of(url.begin(), url.end(), [](char c) { return c > 0x20 && c < 0x7F && c != '\\'; });
  bool secure = starts_with_word(url, "https://");
  if (!plain || url.size() > kWebhookUrlMax || (!secure && !starts_with_word(url, "http://"))) return {};
  url.remove_prefix(secure ? 8 : 7);
  std::string_view place = url.substr(0, url.find_first_of("/?#"));
  if (std::size_t at = place.rfind('@'); at != std::string_view::npos) place.remove_prefix(at + 1);

  std::string_view behind;  // the host: nothing, or a port
  if (place.starts_with('[')) {
    std::size_t bracket = place.find(']');
    if (bracket == std::string_view::npos || !is_address6(place.substr(1, bracket - 1))) return {};
    behind = place.substr(bracket + 1);
  } else {
    std::size_t colon = std::min(place.find(':'), place.size());
    if (!is_name(place.substr(0, colon))) return {};
    behind = place.substr(colon);
  }
  if (!behind.empty() && (behind.front() != ':' || !is_port(behind.substr(1)))) return {};
  return place;
}

}  // namespace bulkhead
