// Bytes that many hold and nobody copies.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace bulkhead {

/// A view of immutable bytes together with what keeps them alive: a request body, a ZeroMQ frame, a string. Copying a
/// Payload copies a pointer. An empty Payload means "none" (JSON has no empty value).
class Payload {
 public:
  Payload() = default;
  Payload(std::shared_ptr<const void> owner, std::string_view bytes) : owner_(std::move(owner)), bytes_(bytes) {}

  /// Takes the string over.
  static Payload of(std::string text) {
    auto owner = std::make_shared<const std::string>(std::move(text));
    std::string_view bytes = *owner;
    return {std::move(owner), bytes};
  }

  /// A part of these bytes with the same owner; `part` must lie inside bytes().
  Payload slice(std::string_view part) const { return {owner_, part}; }

  std::string_view bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view bytes_;
};

}  // namespace bulkhead
