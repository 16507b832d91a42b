#include "supervisor/http/ids.hpp"

#include <sys/random.h>
#include <cerrno>
#include <system_error>

namespace bulkhead::http {

std::string Ids::next(bool sync, std::int64_t wall_ms) {
  constexpr std::size_t kBytes = 16;
  if (used_ + kBytes > random_.size()) {
    // Up to 256 bytes never come short; more may, when a signal interrupts.
    for (std::size_t have = 0; have < random_.size();) {
      ssize_t got = getrandom(random_.data() + have, random_.size() - have, 0);
      if (got < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "getrandom");
      if (got > 0) have += static_cast<std::size_t>(got);
    }
    used_ = 0;
  }
  unsigned char* bytes = random_.data() + used_;
  used_ += kBytes;
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<unsigned char>(wall_ms >> (40 - 8 * i));
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0F) | 0x70);  // a version 7 UUID
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3F) | 0x80);

  static constexpr char kHex[] = "0123456789abcdef";
  std::string id(sync ? "sync-" : "");
  id.reserve(id.size() + 39);
  for (std::size_t i = 0; i < kBytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) id += '-';
    id += kHex[bytes[i] >> 4];
    id += kHex[bytes[i] & 15];
    bytes[i] = 0;
  }
  id += "-u1";
  return id;
}

}  // namespace bulkhead::http
