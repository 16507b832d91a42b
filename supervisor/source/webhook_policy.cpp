#include "supervisor/source/webhook_policy.hpp"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>

namespace bulkhead {

WebhookVerdict judge(const HttpResult& result) {
  if (result.status >= 200 && result.status < 300) return WebhookVerdict::Taken;
  if (result.status == 410 || result.hopeless) return WebhookVerdict::Hopeless;
  return WebhookVerdict::TryAgain;
}

std::string fault_of(const HttpResult& result) {
  if (result.error.empty() || result.status >= 400) return "status " + std::to_string(result.status);
  return result.error;
}

milliseconds pause_after(int tries, std::optional<std::chrono::seconds> retry_after, const WebhookRetries& retries,
                         double random) {
  int doublings = std::min(tries - 1, 30);
  milliseconds pause = std::min(retries.pause * (std::int64_t{1} << doublings), retries.pause * retries.kLongestPause);
  pause = std::chrono::duration_cast<milliseconds>(pause * (0.8 + 0.4 * random));
  if (!retry_after) return pause;
  return std::max(pause, std::min<milliseconds>(*retry_after, retries.kRetryAfterMax));
}

namespace {

/// SHA-256 of what is given piece by piece.
class Sha256 {
 public:
  using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    check(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  Sha256& add(std::string_view bytes) {
    check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
    return *this;
  }
  Digest end() {
    Digest digest;
    check(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
    return digest;
  }

 private:
  static void check(bool good) {
    if (!good) throw std::runtime_error("OpenSSL cannot compute a SHA-256");
  }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string_view view(const Sha256::Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace

// HMAC by its definition (RFC 2104): OpenSSL's own takes either the whole text in one piece, or an interface that it
// has deprecated.
std::string webhook_signature(std::string_view secret, std::int64_t unix_seconds, std::span<const Payload> body) {
  constexpr std::size_t kBlock = 64;
  std::string key(secret);
  if (key.size() > kBlock) key = view(Sha256().add(secret).end());
  key.resize(kBlock);
  std::string inner_key = key, outer_key = key;
  for (char& c : inner_key) c = static_cast<char>(c ^ 0x36);
  for (char& c : outer_key) c = static_cast<char>(c ^ 0x5C);

  std::string time = std::to_string(unix_seconds);
  Sha256 inner;
  inner.add(inner_key).add(time).add(".");
  for (const Payload& part : body) inner.add(part.bytes());
  Sha256::Digest mac = Sha256().add(outer_key).add(view(inner.end())).end();

  static constexpr char kHex[] = "0123456789abcdef";
  std::string signature = "t=" + time + ",v1=";
  for (unsigned char byte : mac) {
    signature += kHex[byte >> 4];
    signature += kHex[byte & 15];
  }
  return signature;
}

}  // namespace bulkhead
