// JSON being put together: text written here, and payloads that stay where they are.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/payload.hpp"

namespace bulkhead {

/// How many bytes the well-formed UTF-8 sequence at p has (its first byte not ASCII), 0 if there is none.
int utf8_length(const char* p, const char* end);

/// Appends `text` (any bytes) as a JSON string with its quotes; what is not UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);

/// Whoever writes says what is JSON: nothing is checked, and no comma is set.
class JsonText {
 public:
  /// JSON text as it is. Keep it short: it is copied.
  JsonText& raw(std::string_view text) {
    text_ += text;
    return *this;
  }
  JsonText& number(std::int64_t value);
  JsonText& string(std::string_view value);
  /// A payload, by reference.
  JsonText& payload(const Payload& payload);

  struct Splice {
    std::size_t at;  ///< position in text() before which it stands
    Payload payload;
  };
  const std::string& text() const { return text_; }
  const std::vector<Splice>& splices() const { return splices_; }
  /// Bytes, payloads included.
  std::size_t size() const { return text_.size() + spliced_bytes_; }

  /// Back to nothing; keeps its memory.
  void clear();

 private:
  std::string text_;
  std::vector<Splice> splices_;
  std::size_t spliced_bytes_ = 0;
};

}  // namespace bulkhead
