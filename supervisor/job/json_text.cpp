#include "supervisor/job/json_text.hpp"

#include <charconv>

namespace bulkhead {

// Unicode, table 3-7.
int utf8_length(const char* p, const char* end) {
  auto byte = [&](int i) { return static_cast<unsigned char>(p[i]); };
  auto tail = [&](int i) { return (byte(i) & 0xC0) == 0x80; };
  auto room = end - p;
  unsigned first = byte(0);
  if (first < 0xC2) return 0;
  if (first < 0xE0) return room >= 2 && tail(1) ? 2 : 0;
  if (first < 0xF0) {
    if (room < 3 || !tail(1) || !tail(2)) return 0;
    bool overlong = first == 0xE0 && byte(1) < 0xA0;
    bool surrogate = first == 0xED && byte(1) > 0x9F;
    return overlong || surrogate ? 0 : 3;
  }
  if (first > 0xF4 || room < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  bool overlong = first == 0xF0 && byte(1) < 0x90;
  bool beyond = first == 0xF4 && byte(1) > 0x8F;
  return overlong || beyond ? 0 : 4;
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  const char* p = text.data();
  const char* end = p + text.size();
  while (p < end) {
    auto c = static_cast<unsigned char>(*p);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += *p++;
    } else if (c == '\n') {
      out += "\\n";
      ++p;
    } else if (c < 0x20) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
      ++p;
    } else if (c < 0x80) {
      out += *p++;
    } else if (int length = utf8_length(p, end); length > 0) {
      out.append(p, static_cast<std::size_t>(length));
      p += length;
    } else {
      out += "\xEF\xBF\xBD";
      ++p;
    }
  }
  out += '"';
}

JsonText& JsonText::number(std::int64_t value) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  text_.append(digits, static_cast<std::size_t>(end - digits));
  return *this;
}

JsonText& JsonText::string(std::string_view value) {
  append_json_string(text_, value);
  return *this;
}

JsonText& JsonText::payload(const Payload& payload) {
  splices_.push_back({text_.size(), payload});
  spliced_bytes_ += payload.size();
  return *this;
}

void JsonText::clear() {
  text_.clear();
  splices_.clear();
  spliced_bytes_ = 0;
}

}  // namespace bulkhead
