// Reads a message's fields from msgpack, in place: no tree, no allocation but for lists. Strings become views into the
// envelope. Everything is checked before it is believed: sizes against the bytes that are there, counts against their
// limit and against the bytes that are there, before anything is reserved.
//
// The first thing that is wrong is written down with the name of its field; what follows is not looked at any more, so
// callers ask ok() once, at the end.

#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "protocol/codec.hpp"
#include "protocol/fields.hpp"

namespace bulkhead::protocol {

class EnvelopeReader {
 public:
  /// `error` is filled when something is wrong; it must outlive the reader.
  EnvelopeReader(std::string_view envelope, DecodeError& error)
      : next_(reinterpret_cast<const unsigned char*>(envelope.data())), end_(next_ + envelope.size()), error_(error) {}

  /// The array and its first element, the kind.
  bool open(std::uint64_t& kind);

  /// The fields of one message, those of later versions behind it, and the end of the envelope.
  template <class M>
  bool message(M& message) {
    message_ = kAbout<M>.name;
    fields(*this, message);
    return close();
  }

  bool ok() const { return ok_; }
  bool fail(DecodeError::Kind kind, std::string_view what);

  void run(Run& value, Bounds bounds) {
    const bool read = take_number("run", value, bounds);
    if (read && list_ == nullptr) error_.run = value;
  }
  template <class T>
  void number(const char* field, T& value, Bounds bounds) {
    if (bounds.most > std::numeric_limits<T>::max()) bounds.most = std::numeric_limits<T>::max();
    std::uint64_t wide = 0;
    if (take_number(field, wide, bounds)) value = static_cast<T>(wide);
  }
  template <class T>
  void choice(const char* field, T& value, T least, T most) {
    std::uint64_t wide = 0;
    if (take_number(field, wide, Bounds{static_cast<std::uint64_t>(least), static_cast<std::uint64_t>(most)})) {
      value = static_cast<T>(wide);
    }
  }
  void flag(const char* field, bool& value);
  void text(const char* field, std::string_view& value, Bounds size);
  void job_id(std::string_view& value);
  template <class T>
  void list(const char* field, std::vector<T>& values, std::size_t most);
  void rest_is_foreign() {}
  bool more() const { return ok_ && elements_ > 0; }

 private:
  bool begin_field(const char* field);
  bool take_number(const char* field, std::uint64_t& value, Bounds bounds);
  bool take_list(const char* field, std::size_t most, std::uint32_t& count);
  bool take_array(std::uint32_t& count);
  bool skip(std::uint64_t elements);
  bool close();

  std::size_t left() const { return static_cast<std::size_t>(end_ - next_); }
  bool truncated();
  bool wrong_type(const char* expected);
  bool out_of_bounds(std::uint64_t value, Bounds bounds);

  const unsigned char* next_;
  const unsigned char* end_;
  DecodeError& error_;
  std::uint32_t elements_ = 0;  ///< not yet read of the array we are in
  bool ok_ = true;

  // Where we are, for the text of an error.
  const char* message_ = nullptr;
  const char* list_ = nullptr;
  std::size_t index_ = 0;
  const char* field_ = nullptr;
};

template <class T>
void EnvelopeReader::list(const char* field, std::vector<T>& values, std::size_t most) {
  std::uint32_t count = 0;
  if (!take_list(field, most, count)) return;
  const std::uint32_t outer = elements_;
  values.reserve(count);
  list_ = field;
  for (index_ = 0; index_ < count; ++index_) {
    field_ = nullptr;
    if (!take_array(elements_)) break;
    fields(*this, values.emplace_back());
    if (!ok_ || !skip(elements_)) break;
  }
  if (!ok_) return;  // the names stay as they are
  list_ = nullptr;
  elements_ = outer;
}

}  // namespace bulkhead::protocol
