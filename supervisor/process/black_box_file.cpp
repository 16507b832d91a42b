#include "supervisor/process/black_box_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>
#include <utility>

namespace bulkhead::process {
namespace {

using protocol::BlackBox;

std::system_error failed(const char* operation, const std::filesystem::path& path) {
  return std::system_error(errno, std::generic_category(), std::string(operation) + " " + path.string());
}

/// The box as bytes: atomics cannot be copied as what they are.
class Image {
 public:
  bool read_from(int fd) {
    std::size_t have = 0;
    while (have < sizeof bytes_) {
      ssize_t got = ::pread(fd, bytes_ + have, sizeof bytes_ - have, static_cast<off_t>(have));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      have += static_cast<std::size_t>(got);
    }
    return get<std::uint64_t>(offsetof(BlackBox, magic)) == BlackBox::kMagic;
  }
  template <typename Value>
  Value get(std::size_t offset) const {
    Value value;
    std::memcpy(&value, bytes_ + offset, sizeof value);
    return value;
  }

 private:
  unsigned char bytes_[sizeof(BlackBox)];
};

}  // namespace

bool BlackBoxSnapshot::was_entered(std::uint64_t run) const {
  return std::any_of(runs.begin(), runs.end(), [&](const Run& entry) { return entry.run == run; });
}

bool BlackBoxSnapshot::was_left(std::uint64_t run) const {
  return std::any_of(runs.begin(), runs.end(), [&](const Run& entry) { return entry.run == run && entry.left; });
}

BlackBoxFile BlackBoxFile::create(const std::filesystem::path& path) {
  ::unlink(path.c_str());
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) throw failed("create", path);
  if (::ftruncate(fd.get(), sizeof(BlackBox)) < 0) throw failed("size", path);
  constexpr std::uint64_t magic = BlackBox::kMagic;
  if (::pwrite(fd.get(), &magic, sizeof magic, offsetof(BlackBox, magic)) != sizeof magic) throw failed("write", path);
  return BlackBoxFile(path, std::move(fd));
}

std::optional<BlackBoxFile> BlackBoxFile::open(const std::filesystem::path& path) {
  // Its handler may have put anything in its place: to open a pipe would wait for a writer.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (fd) return BlackBoxFile(path, std::move(fd));
  if (errno == ENOENT) return std::nullopt;
  throw failed("open", path);
}

std::optional<BlackBoxSnapshot> BlackBoxFile::read() const {
  Image image;
  if (!image.read_from(fd_.get())) return std::nullopt;
  BlackBoxSnapshot snapshot;
  snapshot.pid = image.get<std::uint64_t>(offsetof(BlackBox, pid));
  snapshot.phase = image.get<BlackBox::Phase>(offsetof(BlackBox, phase));
  snapshot.crash_signal = static_cast<int>(image.get<std::uint32_t>(offsetof(BlackBox, crash_signal)));
  snapshot.last_sign = std::chrono::nanoseconds(image.get<std::int64_t>(offsetof(BlackBox, last_sign_ns)));
  for (std::size_t i = 0; i < BlackBox::kEntries; ++i) {
    std::size_t entry = offsetof(BlackBox, entry) + i * sizeof(BlackBox::Entry);
    auto state = image.get<BlackBox::State>(entry + offsetof(BlackBox::Entry, state));
    if (state == BlackBox::State::Free) continue;
    auto run = image.get<std::uint64_t>(entry + offsetof(BlackBox::Entry, run));
    snapshot.runs.push_back({run, state == BlackBox::State::Left});
  }
  return snapshot;
}

std::chrono::nanoseconds BlackBoxFile::last_sign() const {
  std::int64_t value = 0;
  if (::pread(fd_.get(), &value, sizeof value, offsetof(BlackBox, last_sign_ns)) != sizeof value) value = 0;
  return std::chrono::nanoseconds(value);
}

void BlackBoxFile::remove() noexcept { ::unlink(path_.c_str()); }

}  // namespace bulkhead::process
