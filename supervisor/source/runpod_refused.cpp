#include "supervisor/source/runpod_refused.hpp"

#include <algorithm>
#include <fstream>
#include <system_error>
#include <utility>

namespace bulkhead {
namespace {

constexpr std::size_t kNameMax = 120;

/// An id is the platform's word: as a file's name it leads nowhere else.
std::string name_of(std::string_view job_id) {
  std::string name;
  for (char c : job_id.substr(0, kNameMax)) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
    name += plain ? c : '_';
  }
  return name.empty() ? "job" : name;
}

}  // namespace

std::filesystem::path RunPodRefused::keep(std::string_view job_id, std::string_view reason,
                                          const std::vector<Payload>& body) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::create_directories(directory_, error); error) return {};
  fs::permissions(directory_, fs::perms::owner_all, error);
  make_room();
  fs::path path = directory_ / (name_of(job_id) + ".json");
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (const Payload& part : body) file.write(part.bytes().data(), static_cast<std::streamsize>(part.size()));
  file.close();
  std::ofstream(directory_ / (name_of(job_id) + ".reason"), std::ios::trunc) << reason << '\n';
  return file.fail() ? fs::path() : path;
}

void RunPodRefused::make_room() {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, fs::path>> kept;
  for (const auto& entry : fs::directory_iterator(directory_, error))
    if (entry.path().extension() == ".json") kept.emplace_back(entry.last_write_time(error), entry.path());
  if (kept.size() < kFilesMax) return;
  std::sort(kept.begin(), kept.end());
  for (std::size_t i = 0; i + kFilesMax <= kept.size(); ++i) {
    fs::remove(kept[i].second, error);
    fs::remove(kept[i].second.replace_extension(".reason"), error);
  }
}

}  // namespace bulkhead
