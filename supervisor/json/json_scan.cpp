// The scanner walks with one pointer and keeps the open brackets as bits, one per level, so the deepest text costs 64
// bytes of stack. Strings are where the bytes are (base64 images): they are crossed 16 bytes at a time.

#include "supervisor/json/json_scan.hpp"

#include <bit>
#include <bitset>
#include <cstring>

#include <simdjson.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace bulkhead {
namespace {

/// Crosses the plain bytes of a string: to the first that is a quote, a backslash or a control character, or to one
/// near the end.
#if defined(__SSE2__)
const char* skip_plain(const char* p, const char* end) {
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i control = _mm_set1_epi8(0x1F);
  while (end - p >= 16) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    __m128i special = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
    auto mask = static_cast<unsigned>(_mm_movemask_epi8(special));
    if (mask != 0) return p + std::countr_zero(mask);
    p += 16;
  }
  return p;
}
#else
const char* skip_plain(const char* p, const char* end) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHighs = 0x8080808080808080;
  auto zero_bytes = [](std::uint64_t word) { return (word - kOnes) & ~word & kHighs; };
  while (end - p >= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    std::uint64_t special =
        zero_bytes(word ^ (kOnes * '"')) | zero_bytes(word ^ (kOnes * '\\')) | ((word - kOnes * 0x20) & ~word & kHighs);
    if (special != 0) {
      // The lowest hit is exact; a borrow may only have spoilt those above it.
      return std::endian::native == std::endian::little ? p + std::countr_zero(special) / 8 : p;
    }
    p += 8;
  }
  return p;
}
#endif

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, unsigned code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

std::optional<std::size_t> bad_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return {};
  const char* p = text.data();
  const char* end = p + text.size();
  while (p < end) {
    int length = static_cast<unsigned char>(*p) < 0x80 ? 1 : utf8_length(p, end);
    if (length == 0) break;
    p += length;
  }
  return static_cast<std::size_t>(p - text.data());
}

bool JsonScanner::fail(const char* at, const char* reason) {
  fault_ = at;
  reason_ = reason;
  return false;
}

void JsonScanner::skip_space() {
  while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
}

char JsonScanner::peek() {
  skip_space();
  return p_ < end_ ? *p_ : '\0';
}

bool JsonScanner::take(char c) {
  skip_space();
  if (p_ < end_ && *p_ == c) {
    ++p_;
    return true;
  }
  const char* reason = c == ':' ? "expected ':'" : c == '{' ? "expected '{'" : c == ',' ? "expected ','" : "unexpected";
  return fail(p_, p_ == end_ ? "the text ends too early" : reason);
}

bool JsonScanner::at_end() {
  skip_space();
  return p_ == end_ || fail(p_, "something stands behind the value");
}

bool JsonScanner::string(std::string_view& text) {
  skip_space();
  if (p_ == end_) return fail(p_, "the text ends too early");
  if (*p_ != '"') return fail(p_, "expected a string");
  const char* begin = ++p_;
  if (!skip_string()) return false;
  text = {begin, static_cast<std::size_t>(p_ - 1 - begin)};
  return true;
}

bool JsonScanner::skip_string() {
  for (;;) {
    p_ = skip_plain(p_, end_);
    if (p_ == end_) return fail(p_, "a string is not closed");
    auto c = static_cast<unsigned char>(*p_);
    if (c == '"') {
      ++p_;
      return true;
    }
    if (c == '\\') {
      if (!skip_escape()) return false;
    } else if (c < 0x20) {
      return fail(p_, "a control character in a string must be escaped");
    } else {
      ++p_;
    }
  }
}

bool JsonScanner::skip_escape() {
  if (end_ - p_ < 2) return fail(end_, "a string is not closed");
  if (std::strchr("\"\\/bfnrt", p_[1]) != nullptr && p_[1] != '\0') {
    p_ += 2;
    return true;
  }
  if (p_[1] != 'u') return fail(p_, "unknown escape in a string");
  for (int i = 2; i < 6; ++i) {
    if (p_ + i >= end_) return fail(end_, "a string is not closed");
    if (hex_digit(p_[i]) < 0) return fail(p_, "\\u must be followed by four hexadecimal digits");
  }
  p_ += 6;
  return true;
}

bool JsonScanner::skip_number() {
  const char* begin = p_;
  auto digits = [&] {
    const char* first = p_;
    while (p_ < end_ && is_digit(*p_)) ++p_;
    return p_ != first;
  };
  if (*p_ == '-') ++p_;
  if (p_ < end_ && *p_ == '0') {
    ++p_;
    if (p_ < end_ && is_digit(*p_)) return fail(begin, "a number must not begin with 0");
  } else if (!digits()) {
    return fail(begin, "not a JSON value");
  }
  if (p_ < end_ && *p_ == '.') {
    ++p_;
    if (!digits()) return fail(begin, "a number needs a digit behind its point");
  }
  if (p_ < end_ && (*p_ == 'e' || *p_ == 'E')) {
    ++p_;
    if (p_ < end_ && (*p_ == '+' || *p_ == '-')) ++p_;
    if (!digits()) return fail(begin, "a number needs a digit in its exponent");
  }
  return true;
}

bool JsonScanner::skip_word(std::string_view word) {
  if (std::string_view(p_, static_cast<std::size_t>(end_ - p_)).starts_with(word)) {
    p_ += word.size();
    return true;
  }
  return fail(p_, "not a JSON value");
}

bool JsonScanner::skip_scalar() {
  switch (*p_) {
    case '"': ++p_; return skip_string();
    case 't': return skip_word("true");
    case 'f': return skip_word("false");
    case 'n': return skip_word("null");
    default: return is_digit(*p_) || *p_ == '-' ? skip_number() : fail(p_, "not a JSON value");
  }
}

bool JsonScanner::value(std::string_view& value) {
  skip_space();
  const char* begin = p_;
  std::bitset<kMaxJsonDepth> is_object;  // of each open bracket
  int depth = 0;

  // Takes the name and the colon that stand before a member's value.
  auto member = [&] {
    skip_space();
    if (p_ == end_) return fail(p_, "the text ends too early");
    if (*p_ != '"') return fail(p_, "expected a name in quotes");
    ++p_;
    return skip_string() && take(':');
  };

  for (;;) {
    // A value begins here.
    skip_space();
    if (p_ == end_) return fail(p_, "the text ends too early");
    if (*p_ == '{' || *p_ == '[') {
      if (depth == kMaxJsonDepth) return fail(p_, "nested too deeply");
      bool object = *p_ == '{';
      is_object[static_cast<std::size_t>(depth++)] = object;
      ++p_;
      if (peek() != (object ? '}' : ']')) {
        if (object && !member()) return false;
        continue;
      }
      ++p_;
      --depth;
    } else if (!skip_scalar()) {
      return false;
    }
    // A value has ended: close what closes with it.
    for (;;) {
      if (depth == 0) {
        value = {begin, static_cast<std::size_t>(p_ - begin)};
        return true;
      }
      bool object = is_object[static_cast<std::size_t>(depth - 1)];
      char c = peek();
      if (c == ',') {
        ++p_;
        if (object && !member()) return false;
        break;
      }
      if (c != (object ? '}' : ']')) {
        if (p_ == end_) return fail(p_, "the text ends too early");
        return fail(p_, object ? "expected ',' or '}'" : "expected ',' or ']'");
      }
      ++p_;
      --depth;
    }
  }
}

std::optional<std::string> fault_of_json(std::string_view text) {
  if (auto at = bad_utf8(text)) return "not valid UTF-8 at byte " + std::to_string(*at);
  JsonScanner scanner(text);
  std::string_view value;
  if (scanner.value(value) && scanner.at_end()) return {};
  return std::string(scanner.reason()) + " at byte " + std::to_string(scanner.position());
}

std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  auto unit = [&](std::size_t at) {
    unsigned code = 0;
    for (std::size_t i = at; i < at + 4; ++i) code = code << 4 | static_cast<unsigned>(hex_digit(text[i]));
    return code;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 't': out += '\t'; break;
      case 'u': {
        unsigned code = unit(i + 1);
        i += 4;
        bool pair = code >= 0xD800 && code < 0xDC00 && text.substr(i + 1).starts_with("\\u");
        unsigned low = pair ? unit(i + 3) : 0;
        if (low >= 0xDC00 && low < 0xE000) {
          append_utf8(out, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00));
          i += 6;
        } else if (code >= 0xD800 && code < 0xE000) {
          out += kReplacement;
        } else {
          append_utf8(out, code);
        }
        break;
      }
      default: out += text[i];
    }
  }
  return out;
}

}  // namespace bulkhead
