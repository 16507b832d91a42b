// bulkhead-init: see options.cpp for what it takes. `bulkhead init`, `run` and `serve` become this program.

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "supervisor/init/init.hpp"
#include "supervisor/init/options.hpp"
#include "supervisor/init/say.hpp"

namespace {

using namespace bulkhead::init;

/// Orphans of the tree below come to us instead of to whoever is above.
void become_reaper() {
  if (getpid() == 1 || prctl(PR_SET_CHILD_SUBREAPER, 1) == 0) return;
  say("not PID 1, and the kernel refuses to make this a subreaper: orphans go unreaped, and outlive this process");
}

void follow_parent(int signal, pid_t parent) {
  if (signal == 0) return;
  if (prctl(PR_SET_PDEATHSIG, signal) != 0) say("cannot ask for a signal at the parent's death");
  // It died before we asked.
  if (getppid() != parent) kill(getpid(), signal);
}

}  // namespace

int main(int argc, char** argv) {
  // First of all: PID 1 loses a signal that it neither blocks nor handles.
  Options options;
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &options.mask);
  pid_t parent = getppid();
  if (int code = parse(argc, argv, options); code >= 0) return code;
  follow_parent(options.death_signal, parent);
  become_reaper();
  static Init init(options);
  return init.run();
}
