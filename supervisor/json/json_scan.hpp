// Validates JSON and says where its parts lie, in one pass, without building anything.
//
// Written here because none of the libraries at hand does that: simdjson's DOM refuses numbers that do not fit (which
// must reach a handler untouched), names no position, wants a padded copy and builds a tape several times the text's
// size; its On-Demand does not validate what it skips; Boost.JSON's SAX parser does not tell where a value begins.
// Measured (bench/http/json_bench.cpp): 0.2 us for a small body, as simdjson; 10 MB of base64 at 2x its speed. What
// simdjson does alone, and 10 times faster than a loop, is to validate UTF-8: that is left to it.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/job/json_text.hpp"

namespace bulkhead {

/// Deeper nesting is refused: it would overflow somebody's stack further on.
inline constexpr int kMaxJsonDepth = 512;

/// Where the text stops being UTF-8, if it does.
std::optional<std::size_t> bad_utf8(std::string_view text);

/// A cursor over one JSON text (RFC 8259) that is known to be UTF-8. Every step returns false on the first fault, after which
/// position() and reason() tell it and nothing else may be called.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : begin_(text.data()), p_(begin_), end_(begin_ + text.size()) {}

  /// Skips white space; then the next character, or 0 at the end.
  char peek();
  /// Takes this character, after white space.
  bool take(char c);
  /// Takes one value of any kind, validated to its last byte; `value` is its text without white space around it.
  bool value(std::string_view& value);
  /// Takes a string; `text` is what stands between its quotes, escapes and all.
  bool string(std::string_view& text);
  /// Nothing but white space is left.
  bool at_end();

  /// Reports a fault of the caller's own at the byte `at` points to.
  bool fail(const char* at, const char* reason);

  std::size_t position() const { return static_cast<std::size_t>(fault_ - begin_); }
  const char* reason() const { return reason_; }

 private:
  bool skip_string();  // p_ behind the opening quote -> behind the closing one
  bool skip_escape();  // p_ at the backslash
  bool skip_number();
  bool skip_word(std::string_view word);
  bool skip_scalar();
  void skip_space();

  const char* begin_;
  const char* p_;
  const char* end_;
  const char* fault_ = nullptr;
  const char* reason_ = "";
};

/// What is wrong with a text that should be one JSON value, and where; none when it is.
std::optional<std::string> fault_of_json(std::string_view text);

/// The text a JSON string stands for. `text` is what JsonScanner::string gave. A lone surrogate becomes U+FFFD.
std::string unescape(std::string_view text);

}  // namespace bulkhead
