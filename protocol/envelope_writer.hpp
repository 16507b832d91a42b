// Writes a message's fields as msgpack. The array's size is counted first, from the same list of fields.

#pragma once

#include <cstdint>
#include <msgpack/pack.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/fields.hpp"

namespace bulkhead::protocol {

/// How many elements an array of these fields has.
class FieldCounter {
 public:
  template <class M>
  static std::uint32_t count(const M& message) {
    FieldCounter counter;
    fields(counter, message);
    return counter.count_;
  }

  void run(Run, Bounds) { ++count_; }
  template <class T>
  void number(const char*, T, Bounds) {
    ++count_;
  }
  template <class T>
  void choice(const char*, T, T, T) {
    ++count_;
  }
  void flag(const char*, bool) { ++count_; }
  void text(const char*, std::string_view, Bounds) { ++count_; }
  void job_id(std::string_view) { ++count_; }
  template <class T>
  void list(const char*, const std::vector<T>&, std::size_t) {
    ++count_;
  }
  void rest_is_foreign() {}
  static constexpr bool more() { return true; }

 private:
  std::uint32_t count_ = 0;
};

class EnvelopeWriter {
 public:
  /// Appends to `out`; allocates only what its capacity lacks.
  explicit EnvelopeWriter(std::string& out) : sink_{out}, packer_(sink_) {}

  template <class M>
  void message(const M& message) {
    packer_.pack_array(1 + FieldCounter::count(message));
    packer_.pack_unsigned_char(kAbout<M>.kind);
    fields(*this, message);
  }

  void run(Run value, Bounds) { packer_.pack_uint64(value); }
  template <class T>
  void number(const char*, T value, Bounds) {
    packer_.pack_uint64(value);
  }
  template <class T>
  void choice(const char*, T value, T, T) {
    packer_.pack_unsigned_char(static_cast<std::uint8_t>(value));
  }
  void flag(const char*, bool value) { value ? packer_.pack_true() : packer_.pack_false(); }
  void text(const char*, std::string_view value, Bounds) {
    packer_.pack_str(static_cast<std::uint32_t>(value.size()));
    packer_.pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
  }
  void job_id(std::string_view value) { text("job_id", value, Bounds{}); }
  template <class T>
  void list(const char*, const std::vector<T>& values, std::size_t) {
    packer_.pack_array(static_cast<std::uint32_t>(values.size()));
    for (const T& value : values) {
      packer_.pack_array(FieldCounter::count(value));
      fields(*this, value);
    }
  }
  void rest_is_foreign() {}
  static constexpr bool more() { return true; }

 private:
  struct Sink {
    std::string& out;
    void write(const char* data, std::size_t size) { out.append(data, size); }
  };

  Sink sink_;
  msgpack::packer<Sink> packer_;
};

}  // namespace bulkhead::protocol
