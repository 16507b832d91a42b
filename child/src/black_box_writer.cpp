#include "child/src/black_box_writer.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace bulkhead::child {
namespace {

using protocol::BlackBox;

[[noreturn]] void fail(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

BlackBox* map(int fd) {
  const int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* page = mmap(nullptr, sizeof(BlackBox), PROT_READ | PROT_WRITE, kind, fd, 0);
  if (page == MAP_FAILED) fail("mapping the black box");
  return static_cast<BlackBox*>(page);
}

BlackBox* map_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) fail("opening the black box " + path);
  struct stat facts {};
  const bool large_enough = fstat(fd, &facts) == 0 && facts.st_size >= static_cast<off_t>(sizeof(BlackBox));
  BlackBox* page = nullptr;
  try {
    if (large_enough) page = map(fd);
  } catch (...) {
    close(fd);
    throw;
  }
  close(fd);
  if (page == nullptr || page->magic.load(std::memory_order_acquire) != BlackBox::kMagic) {
    if (page != nullptr) munmap(page, sizeof(BlackBox));
    throw std::runtime_error(path + " is no black box of this version");
  }
  return page;
}

}  // namespace

BlackBoxWriter::BlackBoxWriter(const std::string& path) : page_(path.empty() ? map(-1) : map_file(path)) {
  free_.reserve(BlackBox::kEntries);
  for (std::size_t i = BlackBox::kEntries; i > 0; --i) free_.push_back(static_cast<Entry>(i - 1));
  page_->pid.store(static_cast<std::uint64_t>(getpid()), std::memory_order_release);
  phase(Phase::SettingUp);
  sign();
}

std::optional<BlackBoxWriter::Entry> BlackBoxWriter::enter(std::uint64_t run) {
  if (free_.empty()) return std::nullopt;
  const Entry entry = free_.back();
  free_.pop_back();
  page_->entry[entry].run.store(run, std::memory_order_relaxed);
  page_->entry[entry].state.store(BlackBox::State::Entered, std::memory_order_release);
  return entry;
}

void BlackBoxWriter::leave(Entry entry) {
  page_->entry[entry].state.store(BlackBox::State::Left, std::memory_order_release);
}

void BlackBoxWriter::release(Entry entry) {
  page_->entry[entry].state.store(BlackBox::State::Free, std::memory_order_release);
  free_.push_back(entry);
}

void BlackBoxWriter::phase(Phase phase) { page_->phase.store(phase, std::memory_order_release); }

void BlackBoxWriter::sign() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  page_->last_sign_ns.store(now.tv_sec * 1'000'000'000LL + now.tv_nsec, std::memory_order_relaxed);
}

}  // namespace bulkhead::child
