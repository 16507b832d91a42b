#include "supervisor/init/terminal.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace bulkhead::init {

bool give_terminal(pid_t from, pid_t group) {
  // By its name, not as standard input, which may be closed or another file. Not kept open: an init holds no files.
  int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return false;
  // A group of an outer PID namespace is 0 here, as ours is then too.
  bool given = tcgetpgrp(fd) == from && tcsetpgrp(fd, group) == 0;
  close(fd);
  return given;
}

}  // namespace bulkhead::init
