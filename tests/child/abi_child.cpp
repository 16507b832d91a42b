// A handler that does what its job's input says: crash, hang, fork, print. Started by abi_process_test.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "bulkhead/bulkhead.h"

namespace {

[[noreturn]] void hang() {
  for (;;) pause();
}

// A sanitizer is not to catch what is done on purpose, before the handlers under test do.
#define DELIBERATE __attribute__((noinline, no_sanitize("undefined"), no_sanitize("address")))

// A frame of its own at every level of optimisation.
DELIBERATE void segfault() {
  volatile int* volatile nowhere = nullptr;
  *nowhere = 1;  // NOLINT: that is what it is for
}

// Named, not inlined, and with something left to do after the call: to be seen in the stack.
DELIBERATE int recurse(int depth) {
  volatile char room[4096];
  room[0] = static_cast<char>(depth);
  return (room[0] == static_cast<char>(depth) ? recurse(depth + 1) : 0) + room[0];
}

void complain() { throw std::runtime_error("no\nmodel"); }
void end_badly() noexcept { complain(); }

void finish(bh_job* job, std::string_view output) { bh_job_done(job, output.data(), output.size(), 0); }

/// Runs `body` in a forked process; its wait status as JSON.
template <class Body>
std::string forked(Body body) {
  const pid_t pid = fork();
  if (pid == 0) std::exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return std::to_string(status);
}

/// How many descriptors a program started from here would inherit.
int leaky_descriptors() {
  int leaky = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) ++leaky;
  }
  return leaky;
}
int leaky_from_the_start = 0;

void handle(bh_child* child, bh_job* job) {
  std::size_t size = 0;
  const char* text = bh_job_input(job, &size);
  const std::string_view order(text, size);
  if (order == "segv") segfault();
  if (order == "segv in a thread") {
    std::thread([job] {
      bh_job_log(job, BH_INFO, "here", 4);
      segfault();
    }).join();
  }
  if (order == "overflow") recurse(0);
  if (order == "overflow in a thread") {
    std::thread([job] {
      bh_job_log(job, BH_INFO, "here", 4);
      recurse(0);
    }).join();
  }
  if (order == "abort") std::abort();
  if (order == "throw") end_badly();
  if (order == "trap") raise(SIGTRAP);
  if (order == "hang") hang();
  if (order == "finish and hang") {
    finish(job, "1");
    hang();
  }
  if (order == "finish large and die") {
    const std::string large(20 << 20, 'x');
    finish(job, large);
    bh_close(child, -1);
    kill(getpid(), SIGKILL);
  }
  if (order == "fork") {
    return finish(job, forked([&] {
                    bh_event event{};
                    const bool refused =
                        bh_next(child, 0, &event) == BH_INVALID && bh_job_done(job, "2", 1, 0) == BH_INVALID &&
                        bh_close(child, 1000) == BH_INVALID && bh_connect(nullptr, nullptr, 0) == nullptr;
                    return refused ? 0 : 1;
                  }));
  }
  if (order == "fork a crash") {
    return finish(job, forked([] {
                    segfault();
                    return 0;
                  }));
  }
  if (order == "descriptors") return finish(job, std::to_string(leaky_descriptors() - leaky_from_the_start));
  if (order == "print") {
    std::fputs("printed", stdout);
    finish(job, "1");
    hang();
  }
  finish(job, order);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "chained") {
    struct sigaction action {};
    action.sa_handler = [](int) {
      if (write(STDOUT_FILENO, "chained", 7) < 0) _exit(1);
    };
    sigaction(SIGSEGV, &action, nullptr);
  }
  leaky_from_the_start = leaky_descriptors();
  char error[256];
  bh_child* child = bh_connect(nullptr, error, sizeof error);
  if (child == nullptr) {
    std::fprintf(stderr, "%s\n", error);
    return 1;
  }
  if (mode == "never ready") {
    bh_log(child, BH_INFO, "connected", 9);
    hang();
  }
  bh_ready(child, 2);
  bh_event event{};
  int status = BH_OK;
  while ((status = bh_next(child, -1, &event)) == BH_OK && event.kind != BH_EVENT_STOP) {
    if (event.kind == BH_EVENT_JOB) handle(child, event.job);
  }
  bh_close(child, 5000);
  return status == BH_OK ? 0 : 3;
}
