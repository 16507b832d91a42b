// Where a local test keeps its state.

#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace bulkhead {

/// A state directory for a local test: nothing of it is kept.
class PassingState {
 public:
  PassingState() {
    std::string path = (std::filesystem::temp_directory_path() / "bulkhead-test-XXXXXX").string();
    if (!mkdtemp(path.data())) throw std::system_error(errno, std::generic_category(), "mkdtemp " + path);
    path_ = path;
  }
  ~PassingState() {
    std::error_code ignored;  // a leftover in the temporary directory is all that can come of it
    std::filesystem::remove_all(path_, ignored);
  }
  PassingState(const PassingState&) = delete;
  PassingState& operator=(const PassingState&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace bulkhead
