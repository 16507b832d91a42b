// Names for jobs, in RunPod's form.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace bulkhead::http {

/// UUIDs of version 7 (RFC 9562): the time first, so that the journal's index grows at its end and a commit writes one
/// page of it, however many jobs it holds; then 74 bits from the kernel's generator (many names per system call), so
/// that an id cannot be guessed from another, for who knows one may read or cancel its job.
class Ids {
 public:
  /// "019ab0c1-5d3c-7a9e-9c1e-0123456789ab-u1", or "sync-" before it for a job of /runsync, that came at `wall_ms`
  /// (milliseconds since 1970). Throws std::system_error when the kernel has no randomness.
  std::string next(bool sync, std::int64_t wall_ms);

 private:
  std::array<unsigned char, 4096> random_;
  std::size_t used_ = sizeof random_;
};

}  // namespace bulkhead::http
