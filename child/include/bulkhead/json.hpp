// What a handler's values are made of, and how they become text.
//
// `Json` is Boost.JSON's value. Text is written by a writer of our own, for two reasons: it refuses what JSON cannot
// express (NaN, infinity, bytes that are not UTF-8, endless nesting) and names the place, where boost::json::serialize
// would send something no client can read; and it writes numbers the way people do (96.5, not 9.65E1).

#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <boost/json.hpp>

namespace bulkhead {

using Json = boost::json::value;

/// A value that is JSON text already: passed on as it is, neither parsed nor copied into a tree. For large payloads, and
/// for handlers that use another JSON library. Being opaque, its keys `error` and `refresh_worker` mean nothing. The
/// supervisor still checks that it is one JSON value, and fails the job where it is not.
struct RawJson {
  std::string text;
};

/// Thrown where a value cannot be expressed as JSON. what() names the place: "output.scores[3] is NaN, …".
class NotJson : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace sdk {

/// Nesting beyond this is refused, on the way in and on the way out: it is what the supervisor's own check accepts.
inline constexpr std::size_t kMaxDepth = 1000;

/// Length of the UTF-8 sequence at `p` (which starts with a byte >= 0x80), 0 where there is none: overlong forms,
/// surrogates and what lies beyond U+10FFFF are refused as a JSON parser refuses them.
inline std::size_t utf8_length(const char* p, const char* end) {
  auto byte = [&](std::ptrdiff_t i) { return i < end - p ? static_cast<unsigned char>(p[i]) : 0u; };
  auto follows = [&](std::ptrdiff_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned lead = byte(0);
  if (lead >= 0xC2 && lead <= 0xDF) return follows(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F)) return 0;
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if ((lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

}  // namespace sdk

/// `text` with every byte that is not UTF-8 replaced by U+FFFD: for texts that must get out whatever they hold, such as
/// the message of an exception.
inline std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const char* end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    std::size_t length = static_cast<unsigned char>(*p) < 0x80 ? 1 : sdk::utf8_length(p, end);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      ++p;
    } else {
      out.append(p, length);
      p += length;
    }
  }
  return out;
}

namespace sdk {

/// Writes one value behind what `out` holds already. Single use.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  /// Throws NotJson; `root` is what the message calls the value itself ("output").
  void write(const Json& value, std::string_view root) {
    if (!put(value, 0)) throw NotJson(std::string(root) + path_ + reason_);
  }

  /// A text as a JSON string; false where it is not UTF-8.
  bool put_string(std::string_view text) {
    const char* p = text.data();
    const char* const end = p + text.size();
    const char* start = p;
    out_.push_back('"');
    for (;;) {
      p = skip_plain(p, end);
      if (p == end) break;
      if (static_cast<unsigned char>(*p) >= 0x80) {
        const std::size_t length = utf8_length(p, end);
        if (length == 0) return false;
        p += length;
        continue;
      }
      out_.append(start, p);
      put_escaped(*p);
      start = ++p;
    }
    out_.append(start, p);
    out_.push_back('"');
    return true;
  }

 private:
  /// Past bytes that need no attention, eight at a time: large strings (images in base64) are what outputs are made of.
  static const char* skip_plain(const char* p, const char* end) {
    constexpr std::uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
    while (end - p >= 8) {
      std::uint64_t x;
      std::memcpy(&x, p, 8);
      const std::uint64_t quote = x ^ (kOnes * '"'), backslash = x ^ (kOnes * '\\');
      const std::uint64_t special = x | (x - kOnes * 0x20) | (quote - kOnes) | (backslash - kOnes);
      if (special & kHigh) break;
      p += 8;
    }
    while (p != end && static_cast<unsigned char>(*p) >= 0x20 && static_cast<unsigned char>(*p) < 0x80 && *p != '"' &&
           *p != '\\')
      ++p;
    return p;
  }

  void put_escaped(char c) {
    constexpr char kHex[] = "0123456789abcdef";
    switch (c) {
      case '"': out_ += "\\\""; return;
      case '\\': out_ += "\\\\"; return;
      case '\n': out_ += "\\n"; return;
      case '\r': out_ += "\\r"; return;
      case '\t': out_ += "\\t"; return;
      default: break;
    }
    out_ += "\\u00";
    out_.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
    out_.push_back(kHex[c & 15]);
  }

  template <class Number>
  void put_number(Number number) {
    std::array<char, 32> text;
    const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), number);
    out_.append(text.data(), end);
    // 1.0 stays a number with a fraction: some clients tell it from 1.
    if constexpr (std::is_floating_point_v<Number>)
      if (std::string_view(text.data(), end).find_first_of(".e") == std::string_view::npos) out_ += ".0";
  }

  bool fail(const char* reason) {
    reason_ = reason;
    return false;
  }

  bool put(const Json& value, std::size_t depth) {
    if (depth > kMaxDepth) return fail(" is nested more than 1000 levels deep");
    switch (value.kind()) {
      case boost::json::kind::null: out_ += "null"; return true;
      case boost::json::kind::bool_: out_ += value.get_bool() ? "true" : "false"; return true;
      case boost::json::kind::int64: put_number(value.get_int64()); return true;
      case boost::json::kind::uint64: put_number(value.get_uint64()); return true;
      case boost::json::kind::double_:
        if (std::isnan(value.get_double())) return fail(" is NaN, which JSON cannot express");
        if (std::isinf(value.get_double())) return fail(" is infinite, which JSON cannot express");
        put_number(value.get_double());
        return true;
      case boost::json::kind::string:
        return put_string(value.get_string()) || fail(" is not UTF-8 text, which JSON needs (base64 carries bytes)");
      case boost::json::kind::array: return put_array(value.get_array(), depth);
      case boost::json::kind::object: return put_object(value.get_object(), depth);
    }
    return fail(" is of no kind");
  }

  bool put_array(const boost::json::array& array, std::size_t depth) {
    out_.push_back('[');
    for (std::size_t i = 0; i < array.size(); ++i) {
      if (i != 0) out_.push_back(',');
      if (!put(array[i], depth + 1)) {
        path_.insert(0, '[' + std::to_string(i) + ']');
        return false;
      }
    }
    out_.push_back(']');
    return true;
  }

  bool put_object(const boost::json::object& object, std::size_t depth) {
    out_.push_back('{');
    bool first = true;
    for (const auto& member : object) {
      if (!first) out_.push_back(',');
      first = false;
      if (!put_string(member.key())) return fail(" has a key that is not UTF-8 text");
      out_.push_back(':');
      if (!put(member.value(), depth + 1)) {
        path_.insert(0, '.' + std::string(member.key()));
        return false;
      }
    }
    out_.push_back('}');
    return true;
  }

  std::string& out_;
  std::string path_;  // filled on the way out of a failure, innermost step last
  const char* reason_ = "";
};

/// One value as text. Throws NotJson, in whose message the value itself is called `root`.
inline std::string to_text(const Json& value, std::string_view root) {
  std::string out;
  Writer(out).write(value, root);
  return out;
}

/// A text as a JSON string, whatever bytes it holds.
inline std::string to_string_literal(std::string_view text) {
  std::string out;
  if (Writer writer(out); !writer.put_string(text)) {
    out.clear();
    writer.put_string(valid_utf8(text));
  }
  return out;
}

/// Parses one JSON value. Throws NotJson naming the position; `what` is what the message calls it ("input").
inline Json parse(std::string_view text, std::string_view what) {
  boost::json::parse_options options;
  options.max_depth = kMaxDepth;
  boost::json::stream_parser parser({}, options);
  boost::system::error_code error;
  const std::size_t read = parser.write_some(text.data(), text.size(), error);
  if (!error) parser.finish(error);
  if (!error && read != text.size() && text.find_first_not_of(" \t\r\n", read) != std::string_view::npos)
    error = boost::json::error::extra_data;
  if (error) throw NotJson(std::string(what) + " is not JSON: " + error.message() + " at byte " + std::to_string(read));
  return parser.release();
}

/// What a handler may return: has a JSON form.
template <class T>
concept JsonLike = !std::is_void_v<T> && (std::same_as<std::remove_cvref_t<T>, RawJson> ||
                                          boost::json::has_value_from<std::remove_cvref_t<T>>::value);

/// Has a JSON form, but does not turn into a Json by itself, as std::string and containers do not.
template <class T>
concept ConvertedJson = JsonLike<T> && !std::same_as<std::remove_cvref_t<T>, RawJson> && !std::convertible_to<T, Json>;

template <class T>
Json to_json(T&& value) {
  if constexpr (std::same_as<std::remove_cvref_t<T>, Json>)
    return std::forward<T>(value);
  else
    return boost::json::value_from(std::forward<T>(value));
}

}  // namespace sdk
}  // namespace bulkhead
