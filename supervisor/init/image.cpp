#include "supervisor/init/image.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace bulkhead::init {

void Image::open(const char* path) {
  close();
  if (std::strchr(path, '/') != nullptr) fd_ = ::open(path, O_PATH | O_CLOEXEC);
}

void Image::take(Image& other) {
  close();
  fd_ = other.fd_;
  other.fd_ = -1;
}

void Image::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Image::execute(char** argv) const {
  struct stat held {};
  struct stat named {};
  const bool same = fd_ < 0 || fstat(fd_, &held) != 0 ||
                    (stat(argv[0], &named) == 0 && held.st_dev == named.st_dev && held.st_ino == named.st_ino);
  if (same)
    execvp(argv[0], argv);
  else
    syscall(SYS_execveat, fd_, "", argv, environ, AT_EMPTY_PATH);
}

}  // namespace bulkhead::init
