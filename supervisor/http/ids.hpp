// Names for jobs, in RunPod's form.

#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace bulkhead::http {

/// Draws from the kernel's generator, many names per system call: an id cannot be guessed from another, for who knows
/// one may read or cancel its job.
class Ids {
 public:
  /// "8d2ae1d8-5d3c-4a9e-9c1e-0123456789ab-u1", or "sync-" before it for a job of /runsync. Throws std::system_error
  /// when the kernel has no randomness.
  std::string next(bool sync);

 private:
  std::array<unsigned char, 4096> random_;
  std::size_t used_ = sizeof random_;
};

}  // namespace bulkhead::http
