// msgpack, as far as an envelope needs it: unsigned integers in any of their encodings, booleans, strings, arrays. All
// other types are known well enough to be skipped, for they may stand where a later version appended something.
//
// Nothing here recurses: a value's nested elements are counted, not descended into, so depth costs no stack.

#include "protocol/envelope_reader.hpp"

#include <bit>
#include <cstring>
#include <string>

namespace bulkhead::protocol {
namespace {

template <class T>
T big_endian(const unsigned char* bytes) {
  T value = 0;
  std::memcpy(&value, bytes, sizeof value);
  if constexpr (sizeof(T) == 2) {
    return std::endian::native == std::endian::big ? value : static_cast<T>(__builtin_bswap16(value));
  } else if constexpr (sizeof(T) == 4) {
    return std::endian::native == std::endian::big ? value : static_cast<T>(__builtin_bswap32(value));
  } else if constexpr (sizeof(T) == 8) {
    return std::endian::native == std::endian::big ? value : static_cast<T>(__builtin_bswap64(value));
  } else {
    return value;
  }
}

// The first byte of a value.
constexpr unsigned char kNil = 0xc0, kNever = 0xc1, kFalse = 0xc2, kTrue = 0xc3, kBin8 = 0xc4, kExt8 = 0xc7,
                        kFloat32 = 0xca, kFloat64 = 0xcb, kUint8 = 0xcc, kUint64 = 0xcf, kInt8 = 0xd0, kInt64 = 0xd3,
                        kFixExt1 = 0xd4, kFixExt16 = 0xd8, kStr8 = 0xd9, kStr32 = 0xdb, kArray16 = 0xdc,
                        kArray32 = 0xdd, kMap16 = 0xde, kMap32 = 0xdf;

bool is_fixint(unsigned char byte) { return byte < 0x80; }
bool is_negative_fixint(unsigned char byte) { return byte >= 0xe0; }
bool is_fixmap(unsigned char byte) { return (byte & 0xf0) == 0x80; }
bool is_fixarray(unsigned char byte) { return (byte & 0xf0) == 0x90; }
bool is_fixstr(unsigned char byte) { return (byte & 0xe0) == 0xa0; }

const char* type_name(unsigned char byte) {
  if (is_fixint(byte) || (byte >= kUint8 && byte <= kUint64)) return "an unsigned integer";
  if (is_negative_fixint(byte) || (byte >= kInt8 && byte <= kInt64)) return "a signed integer";
  if (is_fixmap(byte) || byte == kMap16 || byte == kMap32) return "a map";
  if (is_fixarray(byte) || byte == kArray16 || byte == kArray32) return "an array";
  if (is_fixstr(byte) || (byte >= kStr8 && byte <= kStr32)) return "a string";
  if (byte == kNil) return "nil";
  if (byte == kFalse || byte == kTrue) return "a boolean";
  if (byte == kFloat32 || byte == kFloat64) return "a float";
  if (byte >= kBin8 && byte < kExt8) return "binary data";
  if (byte == kNever) return "the byte 0xc1, which msgpack never uses";
  return "an extension type";
}

/// A length of 1, 2 or 4 bytes.
std::uint32_t length(const unsigned char* bytes, std::size_t width) {
  if (width == 1) return *bytes;
  return width == 2 ? big_endian<std::uint16_t>(bytes) : big_endian<std::uint32_t>(bytes);
}

/// What a value is made of after its first byte: a length field of `width` bytes, then `bytes` (plus that length, where
/// `counts_bytes`), then `elements` further values (or `per_length` times the length).
struct Shape {
  std::size_t width = 0;
  std::size_t bytes = 0;
  bool counts_bytes = false;
  std::uint32_t elements = 0;
  std::uint32_t per_length = 0;
};

Shape shape(unsigned char byte) {
  if (is_fixint(byte) || is_negative_fixint(byte)) return {};
  if (is_fixmap(byte)) return {.elements = 2u * (byte & 0x0f)};
  if (is_fixarray(byte)) return {.elements = static_cast<std::uint32_t>(byte & 0x0f)};
  if (is_fixstr(byte)) return {.bytes = static_cast<std::size_t>(byte & 0x1f)};
  if (byte >= kBin8 && byte < kExt8) return {.width = std::size_t{1} << (byte - kBin8), .counts_bytes = true};
  if (byte >= kExt8 && byte < kFloat32)
    return {.width = std::size_t{1} << (byte - kExt8), .bytes = 1, .counts_bytes = true};
  if (byte == kFloat32) return {.bytes = 4};
  if (byte == kFloat64) return {.bytes = 8};
  if (byte >= kUint8 && byte <= kUint64) return {.bytes = std::size_t{1} << (byte - kUint8)};
  if (byte >= kInt8 && byte <= kInt64) return {.bytes = std::size_t{1} << (byte - kInt8)};
  if (byte >= kFixExt1 && byte <= kFixExt16) return {.bytes = 1 + (std::size_t{1} << (byte - kFixExt1))};
  if (byte >= kStr8 && byte <= kStr32) return {.width = std::size_t{1} << (byte - kStr8), .counts_bytes = true};
  if (byte == kArray16 || byte == kArray32) return {.width = byte == kArray16 ? 2u : 4u, .per_length = 1};
  if (byte == kMap16 || byte == kMap32) return {.width = byte == kMap16 ? 2u : 4u, .per_length = 2};
  return {};  // nil, false, true
}

}  // namespace

bool EnvelopeReader::open(std::uint64_t& kind) {
  if (!take_array(elements_)) return false;
  if (elements_ == 0) return fail(DecodeError::Kind::Malformed, "is an empty array, without a kind");
  if (!take_number("kind", kind, Bounds{})) return false;
  field_ = nullptr;
  return true;
}

bool EnvelopeReader::close() {
  field_ = nullptr;
  if (!ok_ || !skip(elements_)) return false;
  if (next_ == end_) return true;
  return fail(DecodeError::Kind::Malformed, "has " + std::to_string(left()) + " bytes behind its end");
}

bool EnvelopeReader::begin_field(const char* field) {
  field_ = field;
  if (!ok_) return false;
  if (elements_ == 0) return fail(DecodeError::Kind::Malformed, "is missing");
  --elements_;
  return next_ != end_ || truncated();
}

bool EnvelopeReader::take_number(const char* field, std::uint64_t& value, Bounds bounds) {
  if (!begin_field(field)) return false;
  const unsigned char byte = *next_;
  std::uint64_t read = byte;
  std::size_t width = 0;
  if (!is_fixint(byte)) {
    if (byte < kUint8 || byte > kInt64) return wrong_type("an unsigned integer");
    width = std::size_t{1} << ((byte - kUint8) & 3);
    if (left() <= width) return truncated();
    const unsigned char* bytes = next_ + 1;
    // A writer may give a positive number in a signed encoding; a negative one has its highest bit set.
    if (byte >= kInt8 && (*bytes & 0x80) != 0) return wrong_type("an unsigned integer");
    read = width == 8 ? big_endian<std::uint64_t>(bytes) : length(bytes, width);
  }
  if (read < bounds.least || read > bounds.most) return out_of_bounds(read, bounds);
  next_ += 1 + width;
  value = read;
  return true;
}

void EnvelopeReader::flag(const char* field, bool& value) {
  if (!begin_field(field)) return;
  if (*next_ != kFalse && *next_ != kTrue) {
    wrong_type("a boolean");
    return;
  }
  value = *next_++ == kTrue;
}

void EnvelopeReader::text(const char* field, std::string_view& value, Bounds size) {
  if (!begin_field(field)) return;
  const unsigned char byte = *next_;
  if (!is_fixstr(byte) && (byte < kStr8 || byte > kStr32)) {
    wrong_type("a string");
    return;
  }
  const std::size_t width = is_fixstr(byte) ? 0 : std::size_t{1} << (byte - kStr8);
  if (left() <= width) {
    truncated();
    return;
  }
  const std::uint64_t bytes = width == 0 ? byte & 0x1f : length(next_ + 1, width);
  if (bytes < size.least || bytes > size.most) {
    const bool large = bytes > size.most;
    fail(large ? DecodeError::Kind::TooLarge : DecodeError::Kind::Malformed,
         "has " + std::to_string(bytes) + " bytes, " +
             (large ? "more than " + std::to_string(size.most) : "fewer than " + std::to_string(size.least)));
    return;
  }
  if (left() - 1 - width < bytes) {
    truncated();
    return;
  }
  next_ += 1 + width;
  value = std::string_view(reinterpret_cast<const char*>(next_), static_cast<std::size_t>(bytes));
  next_ += bytes;
}

void EnvelopeReader::job_id(std::string_view& value) {
  text("job_id", value, Bounds{1, kMaxJobId});
  // Handlers get the id as a C string.
  if (ok_ && value.find('\0') != std::string_view::npos) fail(DecodeError::Kind::Malformed, "contains a zero byte");
}

bool EnvelopeReader::take_list(const char* field, std::size_t most, std::uint32_t& count) {
  if (!begin_field(field) || !take_array(count)) return false;
  if (count > most) {
    return fail(DecodeError::Kind::TooLarge,
                "has " + std::to_string(count) + " elements, more than " + std::to_string(most));
  }
  return count <= left() || truncated();  // every element has a byte at least
}

bool EnvelopeReader::take_array(std::uint32_t& count) {
  if (next_ == end_) return truncated();
  const unsigned char byte = *next_;
  if (is_fixarray(byte)) {
    count = byte & 0x0f;
    ++next_;
    return true;
  }
  if (byte != kArray16 && byte != kArray32) return wrong_type("an array");
  const std::size_t width = byte == kArray16 ? 2 : 4;
  if (left() <= width) return truncated();
  count = length(next_ + 1, width);
  next_ += 1 + width;
  return true;
}

bool EnvelopeReader::skip(std::uint64_t elements) {
  // At most 64 KiB / 5 headers of 2 * (2^32 - 1) elements each: no overflow.
  while (elements != 0) {
    if (elements > left()) return truncated();
    const unsigned char byte = *next_;
    if (byte == kNever) return wrong_type("a value");
    const Shape value = shape(byte);
    if (left() <= value.width) return truncated();
    const std::uint64_t counted = value.width == 0 ? 0 : length(next_ + 1, value.width);
    const std::uint64_t bytes = value.bytes + (value.counts_bytes ? counted : 0);
    next_ += 1 + value.width;
    if (left() < bytes) return truncated();
    next_ += bytes;
    elements += value.elements + value.per_length * counted - 1;
  }
  return true;
}

bool EnvelopeReader::truncated() {
  return fail(DecodeError::Kind::Truncated, field_ == nullptr ? "ends in the middle" : "is cut off");
}

bool EnvelopeReader::wrong_type(const char* expected) {
  return fail(DecodeError::Kind::Malformed, std::string("should be ") + expected + ", not " + type_name(*next_));
}

bool EnvelopeReader::out_of_bounds(std::uint64_t value, Bounds bounds) {
  std::string what = "is " + std::to_string(value) + ", ";
  what +=
      value < bounds.least ? "less than " + std::to_string(bounds.least) : "more than " + std::to_string(bounds.most);
  return fail(DecodeError::Kind::Malformed, what);
}

bool EnvelopeReader::fail(DecodeError::Kind kind, std::string_view what) {
  ok_ = false;
  error_.kind = kind;
  error_.text = message_ == nullptr ? "envelope" : message_;
  if (list_ != nullptr) error_.text.append(".").append(list_).append("[").append(std::to_string(index_)).append("]");
  if (field_ != nullptr) error_.text.append(".").append(field_);
  error_.text.append(" ").append(what);
  return false;
}

}  // namespace bulkhead::protocol
