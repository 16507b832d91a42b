#include "supervisor/doctor/trial.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace bulkhead::doctor {

int try_in_child(const std::function<int()>& attempt) {
  pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) _exit(attempt() & 0xff);  // errno values are below 134
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
}

}  // namespace bulkhead::doctor
