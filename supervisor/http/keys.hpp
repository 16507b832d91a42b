// Who may come in: API keys, kept as hashes only.

#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::http {

class Keys {
 public:
  /// Keeps the key's SHA-256 and the name.
  void add(std::string name, std::string_view key);

  /// No keys: everybody may come in (the address is this machine's own then; the configuration sees to it).
  bool open() const { return entries_.empty(); }

  /// The name of the key in an Authorization field ("Bearer KEY", or the bare key, as RunPod's clients send both), or
  /// none. Takes the same time whichever key it is, or how much of it is right.
  std::optional<std::string_view> check(std::string_view authorization) const;

 private:
  using Hash = std::array<unsigned char, 32>;
  static Hash hash(std::string_view text);

  struct Entry {
    std::string name;
    Hash hash;
  };
  std::vector<Entry> entries_;
};

}  // namespace bulkhead::http
