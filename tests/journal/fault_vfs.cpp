#include "tests/journal/fault_vfs.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <utility>

namespace bulkhead::journal::testing {
namespace {

constexpr std::int64_t kSector = 512;

std::vector<char> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_at(std::vector<char>& file, std::int64_t offset, const char* bytes, std::int64_t size) {
  auto end = static_cast<std::size_t>(offset + size);
  if (file.size() < end) file.resize(end);
  std::memcpy(file.data() + offset, bytes, static_cast<std::size_t>(size));
}

}  // namespace

struct FaultVfs::File {
  sqlite3_file base;
  FaultVfs* vfs;
  std::string* path;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

/// The C functions that SQLite calls.
struct Methods {
  using File = FaultVfs::File;
  using Mode = FaultVfs::Mode;

  static File* file(sqlite3_file* f) { return reinterpret_cast<File*>(f); }
  static sqlite3_file* real(sqlite3_file* f) { return file(f)->real(); }
  static FaultVfs* self(sqlite3_vfs* vfs) { return static_cast<FaultVfs*>(vfs->pAppData); }

  static int close(sqlite3_file* f) {
    int code = real(f)->pMethods->xClose(real(f));
    delete file(f)->path;
    return code;
  }
  static int read(sqlite3_file* f, void* to, int size, sqlite3_int64 offset) {
    if (file(f)->vfs->mode_ == Mode::Dead) return SQLITE_IOERR_READ;
    return real(f)->pMethods->xRead(real(f), to, size, offset);
  }
  static int write(sqlite3_file* f, const void* from, int size, sqlite3_int64 offset) {
    FaultVfs::Pending pending;
    pending.offset = offset;
    auto* bytes = static_cast<const char*>(from);
    if (file(f)->vfs->tracking_) pending.bytes.assign(bytes, bytes + size);
    if (int code = file(f)->vfs->change(*file(f)->path, std::move(pending)); code != SQLITE_OK) return code;
    return real(f)->pMethods->xWrite(real(f), from, size, offset);
  }
  static int truncate(sqlite3_file* f, sqlite3_int64 size) {
    FaultVfs::Pending pending;
    pending.truncate = size;
    if (int code = file(f)->vfs->change(*file(f)->path, std::move(pending)); code != SQLITE_OK) return code;
    return real(f)->pMethods->xTruncate(real(f), size);
  }
  static int sync(sqlite3_file* f, int) {
    // The files live as long as the test does: what a sync would do to the real disk is of no interest.
    return file(f)->vfs->synced(*file(f)->path);
  }
  static int size(sqlite3_file* f, sqlite3_int64* size) { return real(f)->pMethods->xFileSize(real(f), size); }
  static int lock(sqlite3_file* f, int level) { return real(f)->pMethods->xLock(real(f), level); }
  static int unlock(sqlite3_file* f, int level) { return real(f)->pMethods->xUnlock(real(f), level); }
  static int check_lock(sqlite3_file* f, int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); }
  static int control(sqlite3_file* f, int op, void* arg) { return real(f)->pMethods->xFileControl(real(f), op, arg); }
  static int sector(sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); }
  static int traits(sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); }
  static int shm_map(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
    return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
  }
  static int shm_lock(sqlite3_file* f, int offset, int n, int flags) {
    return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
  }
  static void shm_barrier(sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); }
  static int shm_unmap(sqlite3_file* f, int remove) { return real(f)->pMethods->xShmUnmap(real(f), remove); }

  static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* f, int flags, int* out) {
    static const sqlite3_io_methods methods = {2,        close,       read,       write,   truncate, sync,   size,
                                               lock,     unlock,      check_lock, control, sector,   traits, shm_map,
                                               shm_lock, shm_barrier, shm_unmap,  nullptr, nullptr};
    File* opened = file(f);
    opened->base.pMethods = nullptr;
    opened->vfs = self(vfs);
    if (self(vfs)->mode_ == Mode::Dead) return SQLITE_CANTOPEN;
    int code = self(vfs)->real_->xOpen(self(vfs)->real_, path, opened->real(), flags, out);
    if (code != SQLITE_OK) return code;
    opened->path = new std::string(path != nullptr ? path : "");
    opened->base.pMethods = &methods;
    self(vfs)->opened(*opened->path);
    return SQLITE_OK;
  }
  static int remove(sqlite3_vfs* vfs, const char* path, int sync_directory) {
    FaultVfs* fault = self(vfs);
    if (fault->mode_ == Mode::Dead) return SQLITE_IOERR_DELETE;
    {
      std::lock_guard lock(fault->mutex_);
      fault->images_.erase(path);
    }
    return fault->real_->xDelete(fault->real_, path, sync_directory);
  }
  static int access(sqlite3_vfs* vfs, const char* path, int flags, int* out) {
    return self(vfs)->real_->xAccess(self(vfs)->real_, path, flags, out);
  }
  static int full_path(sqlite3_vfs* vfs, const char* path, int size, char* out) {
    return self(vfs)->real_->xFullPathname(self(vfs)->real_, path, size, out);
  }
  static int random(sqlite3_vfs* vfs, int size, char* out) {
    return self(vfs)->real_->xRandomness(self(vfs)->real_, size, out);
  }
  static int sleep(sqlite3_vfs* vfs, int us) { return self(vfs)->real_->xSleep(self(vfs)->real_, us); }
  static int time(sqlite3_vfs* vfs, double* out) { return self(vfs)->real_->xCurrentTime(self(vfs)->real_, out); }
  static int last_error(sqlite3_vfs* vfs, int size, char* out) {
    return self(vfs)->real_->xGetLastError(self(vfs)->real_, size, out);
  }
};

FaultVfs::FaultVfs() : real_(sqlite3_vfs_find(nullptr)) {
  static std::atomic<int> serial{0};
  name_ = "fault-" + std::to_string(serial++);
  vfs_.iVersion = 1;
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
  vfs_.mxPathname = real_->mxPathname;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = Methods::open;
  vfs_.xDelete = Methods::remove;
  vfs_.xAccess = Methods::access;
  vfs_.xFullPathname = Methods::full_path;
  vfs_.xRandomness = Methods::random;
  vfs_.xSleep = Methods::sleep;
  vfs_.xCurrentTime = Methods::time;
  vfs_.xGetLastError = Methods::last_error;
  sqlite3_vfs_register(&vfs_, 0);
}

FaultVfs::~FaultVfs() { sqlite3_vfs_unregister(&vfs_); }

int FaultVfs::change(const std::string& path, Pending pending) {
  std::uint64_t number = ++changes_;
  if (number == die_at_) mode_ = Mode::Dead;
  if (before_change) before_change(number);
  switch (mode_) {
    case Mode::Full: return SQLITE_FULL;
    case Mode::ReadOnly: return SQLITE_READONLY;
    case Mode::BadWrite:
    case Mode::Dead: return SQLITE_IOERR_WRITE;
    default: break;
  }
  if (tracking_) {
    std::lock_guard lock(mutex_);
    images_[path].pending.push_back(std::move(pending));
  }
  return SQLITE_OK;
}

void FaultVfs::opened(const std::string& path) {
  if (!tracking_) return;
  std::lock_guard lock(mutex_);
  auto [place, fresh] = images_.try_emplace(path);
  if (!fresh) return;
  // The journal itself makes the database's name durable; SQLite does so for the log, with its first sync.
  place->second.durable_entry = !path.ends_with("-wal");
  place->second.durable = read_file(path);
}

int FaultVfs::synced(const std::string& path) {
  std::uint64_t number = ++changes_;
  if (number == die_at_) mode_ = Mode::Dead;
  if (before_change) before_change(number);
  if (mode_ == Mode::Dead || mode_ == Mode::BadSync) return SQLITE_IOERR_FSYNC;
  if (in_sync) in_sync();
  ++syncs_;
  if (!tracking_) return SQLITE_OK;
  std::lock_guard lock(mutex_);
  Image& image = images_[path];
  for (const Pending& pending : image.pending) {
    if (pending.truncate) {
      image.durable.resize(static_cast<std::size_t>(*pending.truncate));
    } else {
      write_at(image.durable, pending.offset, pending.bytes.data(), static_cast<std::int64_t>(pending.bytes.size()));
    }
  }
  image.pending.clear();
  image.durable_entry = true;
  return SQLITE_OK;
}

void FaultVfs::cut_power(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  auto chance = [&](double p) { return std::uniform_real_distribution<>(0, 1)(random) < p; };
  // Some cuts lose nearly everything, some nearly nothing, most a bit of both.
  double lost = std::uniform_real_distribution<>(0, 1)(random), torn = 0.3;
  std::lock_guard lock(mutex_);
  for (auto& [path, image] : images_) {
    if (!image.durable_entry && chance(lost)) {
      std::filesystem::remove(path);
      continue;
    }
    std::vector<char> file = image.durable;
    for (const Pending& pending : image.pending) {
      if (chance(lost)) continue;
      if (pending.truncate) {
        file.resize(static_cast<std::size_t>(*pending.truncate));
        continue;
      }
      auto size = static_cast<std::int64_t>(pending.bytes.size());
      bool tear = chance(torn);
      for (std::int64_t at = 0; at < size;) {
        std::int64_t step = std::min(size - at, kSector - (pending.offset + at) % kSector);
        if (!tear || chance(0.5)) write_at(file, pending.offset + at, pending.bytes.data() + at, step);
        at += step;
      }
    }
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(file.data(), static_cast<std::streamsize>(file.size()));
    std::filesystem::remove(path + "-shm");
  }
  images_.clear();
}

}  // namespace bulkhead::journal::testing
