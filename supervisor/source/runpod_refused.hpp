// Results that RunPod's platform refused for good, kept as files for the operator to read: DIRECTORY/ID.json has the body
// as it was posted, ID.reason why it was refused. Bounded: the oldest go first.

#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/job/payload.hpp"

namespace bulkhead {

class RunPodRefused {
 public:
  static constexpr std::size_t kFilesMax = 100;

  explicit RunPodRefused(std::filesystem::path directory) : directory_(std::move(directory)) {}

  /// Where the body is now, or an empty path when it could not be written.
  std::filesystem::path keep(std::string_view job_id, std::string_view reason, const std::vector<Payload>& body);

 private:
  void make_room();

  std::filesystem::path directory_;
};

}  // namespace bulkhead
