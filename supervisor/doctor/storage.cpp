// The journal promises that what was accepted is on the disk. What that costs is measured with the same calls: appends to
// one file, each followed by fdatasync.

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "supervisor/doctor/files.hpp"
#include "supervisor/doctor/resources.hpp"

namespace bulkhead::doctor {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr int kSyncs = 64;
constexpr auto kLongest = std::chrono::seconds(2);

/// The directory, or the one above it that is there.
std::string nearest_there(std::filesystem::path path) {
  std::error_code error;
  path = std::filesystem::absolute(path, error);
  while (!std::filesystem::is_directory(path, error) && path.has_parent_path() && path != path.parent_path())
    path = path.parent_path();
  return path.string();
}

Finding file_system(const std::string& directory) {
  Finding finding{.subject = "file system"};
  struct statfs status {};
  if (statfs(directory.c_str(), &status) != 0) {
    finding.verdict = Verdict::Broken;
    finding.found = directory + ": " + std::strerror(errno);
    return finding;
  }
  finding.verdict = Verdict::Limited;
  finding.way_out = "--state-dir on a local disk: a volume, in a container";
  switch (static_cast<unsigned long>(status.f_type)) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
      finding.found = "memory (tmpfs)";
      finding.cost = "jobs outlive the supervisor but not the machine, nor the container";
      break;
    case OVERLAYFS_SUPER_MAGIC:
      finding.found = "the container's own layer (overlay)";
      finding.cost = "jobs are gone with the container";
      break;
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case 0xFF534D42UL:  // CIFS
    case FUSE_SUPER_MAGIC:
    case V9FS_MAGIC:
      finding.found = "a network's, or somebody else's program (" + directory + ")";
      finding.cost = "the journal's lock and its shared memory may not hold there";
      break;
    default:
      finding.verdict = Verdict::Ok;
      finding.way_out.clear();
      finding.found = "a disk's";
  }
  return finding;
}

Finding room(const std::string& directory) {
  Finding finding{.subject = "room"};
  struct statvfs status {};
  if (statvfs(directory.c_str(), &status) != 0)
    return {.subject = "room", .verdict = Verdict::Broken, .found = std::strerror(errno), .cost = "", .way_out = ""};
  std::uint64_t free = std::uint64_t{status.f_bavail} * status.f_frsize;
  finding.found = in_bytes(free) + " free";
  if (status.f_files != 0 && status.f_favail < 1000)
    finding.found += ", " + std::to_string(status.f_favail) + " inodes";
  if (free >= std::uint64_t{1} << 30 && (status.f_files == 0 || status.f_favail >= 1000)) return finding;
  finding.verdict = Verdict::Limited;
  finding.cost = "when it is full new jobs are refused with 503; those that run end as usual";
  finding.way_out = "--keep-async and --keep-sync bound how long results are kept";
  return finding;
}

Finding syncs(const std::string& directory, const std::string& state_dir) {
  Finding finding{.subject = "disk syncs"};
  std::string path = directory + "/.bulkhead-doctor-XXXXXX";
  int file = mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) {
    finding.verdict = Verdict::Broken;
    finding.found = directory + " cannot be written: " + std::strerror(errno);
    finding.cost = "serve does not start with --state-dir " + state_dir;
    finding.way_out = "make it this user's, or choose another --state-dir";
    return finding;
  }
  unlink(path.c_str());
  std::array<char, 4096> page{};
  std::vector<double> took;
  const auto begin = Clock::now();
  while (took.size() < kSyncs && Clock::now() - begin < kLongest) {
    const auto before = Clock::now();
    if (write(file, page.data(), page.size()) != static_cast<ssize_t>(page.size()) || fdatasync(file) != 0) {
      finding.verdict = Verdict::Broken;
      finding.found = "a write or its fdatasync failed: " + std::string(std::strerror(errno));
      finding.cost = "no job can be accepted durably";
      break;
    }
    took.push_back(Milliseconds(Clock::now() - before).count());
  }
  close(file);
  if (finding.verdict == Verdict::Broken || took.empty()) return finding;
  std::sort(took.begin(), took.end());
  double half = took[took.size() / 2];
  double worst = took.back();
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), "one takes %.2f ms, the slowest of %zu %.2f ms", half, took.size(), worst);
  finding.found = text.data();
  if (half <= 10) return finding;
  finding.verdict = Verdict::Limited;
  finding.cost = "a job alone waits for two of them; many at once share them";
  finding.way_out = "a faster disk, or --durability memory where losing jobs with the machine is fine";
  return finding;
}

}  // namespace

Section storage(const std::string& state_dir) {
  const std::string directory = nearest_there(state_dir);
  Section section{"State in " + state_dir, {}};
  section.findings = {file_system(directory), room(directory), syncs(directory, state_dir)};
  return section;
}

}  // namespace bulkhead::doctor
