#include "supervisor/http/keys.hpp"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <boost/beast/core/string.hpp>

namespace bulkhead::http {

Keys::Hash Keys::hash(std::string_view text) {
  Hash hash;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
  return hash;
}

void Keys::add(std::string name, std::string_view key) { entries_.push_back({std::move(name), hash(key)}); }

std::optional<std::string_view> Keys::check(std::string_view authorization) const {
  constexpr std::string_view kBearer = "Bearer ";
  if (boost::beast::iequals(authorization.substr(0, kBearer.size()), kBearer)) {
    authorization.remove_prefix(kBearer.size());
  }
  while (authorization.starts_with(' ')) authorization.remove_prefix(1);
  Hash shown = hash(authorization);
  const Entry* match = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.hash.data(), shown.data(), shown.size()) == 0) match = &entry;
  }
  if (match == nullptr) return {};
  return match->name;
}

}  // namespace bulkhead::http
