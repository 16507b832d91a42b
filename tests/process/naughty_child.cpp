// A child that does on request what children should not: the tests of process/ are about living with it.
//
//     naughty_child WHAT [argument…]        see the table at the end

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

using Arguments = std::vector<std::string>;

void say(const std::string& line) {
  std::string text = line + "\n";
  if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) ::_exit(90);
}

[[noreturn]] void wait_for_ever() {
  for (;;) ::pause();
}

long number(const Arguments& arguments, std::size_t i, long otherwise = 0) {
  return i < arguments.size() ? std::stol(arguments[i]) : otherwise;
}

// Runs `work` in a process that is nobody's child any more, as daemons do, and comes back when it is.
void as_daemon(bool new_session, const std::function<void()>& work) {
  int ready[2];
  if (::pipe(ready) < 0) ::_exit(91);
  pid_t first = ::fork();
  if (first == 0) {
    if (new_session) ::setsid();
    if (::fork() != 0) ::_exit(0);
    while (::getppid() == first) std::this_thread::yield();
    ::close(ready[0]);
    ::close(ready[1]);
    work();
    ::_exit(0);
  }
  ::close(ready[1]);
  ::waitpid(first, nullptr, 0);
  char end;
  while (::read(ready[0], &end, 1) > 0) {
  }
  ::close(ready[0]);
}

void leave_stdio() {
  int nothing = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(nothing, fd);
}

int exit_with(const Arguments& arguments) { return static_cast<int>(number(arguments, 0)); }

int die_by(const Arguments& arguments) {
  rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  std::signal(static_cast<int>(number(arguments, 0)), SIG_DFL);  // a sanitizer has handlers of its own
  ::raise(static_cast<int>(number(arguments, 0)));
  return 92;
}

// Everything a launch promises about a child's state, a fact a line.
int report(const Arguments&) {
  if (std::ifstream status("/proc/self/status"); status)
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("SigBlk") || line.starts_with("SigIgn") || line.starts_with("SigCgt")) say(line);
  std::string descriptors;
  DIR* directory = ::opendir("/proc/self/fd");
  std::vector<int> numbers;
  while (const dirent* entry = ::readdir(directory))
    if (int fd = std::atoi(entry->d_name); entry->d_name[0] != '.' && fd != ::dirfd(directory)) numbers.push_back(fd);
  ::closedir(directory);
  std::sort(numbers.begin(), numbers.end());
  for (int fd : numbers) descriptors += " " + std::to_string(fd);
  say("descriptors" + descriptors);
  say("session " + std::string(::getsid(0) == ::getpid() ? "own" : "inherited"));
  say("group " + std::string(::getpgid(0) == ::getpid() ? "own" : "inherited"));
  char cwd[4096];
  say("cwd " + std::string(::getcwd(cwd, sizeof cwd)));
  char byte;
  say("stdin " + std::string(::read(STDIN_FILENO, &byte, 1) == 0 ? "empty" : "not empty"));
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  say("files " + std::to_string(files.rlim_cur));
  say("nice " + std::to_string(::getpriority(PRIO_PROCESS, 0)));
  int death_signal = 0;
  ::prctl(PR_GET_PDEATHSIG, &death_signal);
  say("death signal " + std::to_string(death_signal));
  std::ifstream score("/proc/self/oom_score_adj");
  std::string value;
  score >> value;
  say("oom " + value);
  for (char** entry = ::environ; *entry != nullptr; ++entry) say(std::string("env ") + *entry);
  return 0;
}

int ignore_term(const Arguments&) {
  std::signal(SIGTERM, SIG_IGN);
  say("ready");
  wait_for_ever();
}

int wait(const Arguments&) {
  say("ready");
  wait_for_ever();
}

int stop(const Arguments&) {
  say("ready");
  ::raise(SIGSTOP);
  wait_for_ever();
}

// So many processes in its own group, then its own end.
int leave_in_group(const Arguments& arguments) {
  for (long i = number(arguments, 0, 1); i > 0; --i) {
    if (::fork() != 0) continue;
    std::signal(SIGTERM, SIG_IGN);
    leave_stdio();
    wait_for_ever();
  }
  return 0;
}

int leave_daemons(const Arguments& arguments) {
  for (long i = number(arguments, 0, 1); i > 0; --i)
    as_daemon(true, [] {
      leave_stdio();
      wait_for_ever();
    });
  return 0;
}

// A daemon that keeps the cookie, and has a child in another session that does not.
int leave_disguised(const Arguments&) {
  as_daemon(true, [] {
    int ready[2];
    if (::pipe(ready) < 0) ::_exit(93);
    if (::fork() == 0) {
      ::setsid();
      leave_stdio();
      ::fcntl(ready[1], F_SETFD, FD_CLOEXEC);
      char name[] = "sleep", time[] = "1000";
      char *argv[] = {name, time, nullptr}, *envp[] = {nullptr};
      ::execve("/bin/sleep", argv, envp);
      ::_exit(94);
    }
    ::close(ready[1]);
    char end;
    while (::read(ready[0], &end, 1) > 0) {
    }
    say("ready");
    leave_stdio();
    wait_for_ever();
  });
  return 0;
}

void* wait_in_thread(void*) { wait_for_ever(); }

// A daemon whose main thread is gone, so that it looks like a zombie.
int leave_headless(const Arguments&) {
  as_daemon(true, [] {
    leave_stdio();
    pthread_t thread;
    ::pthread_create(&thread, nullptr, wait_in_thread, nullptr);
    ::pthread_exit(nullptr);
  });
  return 0;
}

// Processes of its group that go on forking for as long as they live.
int leave_breeders(const Arguments&) {
  for (int i = 0; i < 4; ++i) {
    if (::fork() != 0) continue;
    leave_stdio();
    for (;;) {
      if (::fork() != 0) ::_exit(0);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  return 0;
}

// Becomes another program again and again. While it does, its environment cannot be read.
int keep_becoming(const Arguments&) {
  ::execl("/proc/self/exe", "naughty_child", "keep-becoming", nullptr);
  return 96;
}

int leave_becoming(const Arguments&) {
  as_daemon(true, [] {
    leave_stdio();
    keep_becoming({});
  });
  return 0;
}

// Says two lines, one of them without an end, and leaves somebody who holds its stdout.
int leave_pipe_holder(const Arguments&) {
  say("first");
  if (::write(STDOUT_FILENO, "last", 4) < 0) return 95;
  if (::fork() == 0) wait_for_ever();
  return 0;
}

int close_stdout(const Arguments&) {
  say("ready");
  ::close(STDOUT_FILENO);
  ::close(STDERR_FILENO);
  wait_for_ever();
}

// So many bytes in lines of 100, numbered, then a last word.
int flood(const Arguments& arguments) {
  std::string block;
  long line = 0;
  for (long left = number(arguments, 0); left > 0; left -= 100) {
    std::string text = std::to_string(++line);
    block += text + std::string(99 - text.size(), 'x') + "\n";
    if (block.size() < 64 * 1024 && left > 100) continue;
    for (std::string_view rest = block; !rest.empty();) {
      ssize_t wrote = ::write(STDOUT_FILENO, rest.data(), rest.size());
      if (wrote < 0) return 96;
      rest.remove_prefix(static_cast<std::size_t>(wrote));
    }
    block.clear();
  }
  say("the last word");
  return 0;
}

int write_raw(const Arguments& arguments) {
  for (const std::string& text : arguments)
    if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) return 97;
  return 0;
}

int to_both(const Arguments&) {
  say("to stdout");
  std::cerr << "to stderr" << std::endl;
  return 0;
}

int take_memory(const Arguments& arguments) {
  auto size = static_cast<std::size_t>(number(arguments, 0)) << 20;
  std::vector<char> memory(size);
  for (std::size_t i = 0; i < size; i += 4096) memory[i] = 1;
  return memory[size / 2] == 2 ? 98 : 0;
}

void* exit_after_a_byte(void*) {
  char byte;
  bool got = ::read(STDIN_FILENO, &byte, 1) == 1;
  std::exit(got ? 7 : 8);
}

// The main thread goes first; the process lives on until it gets a byte.
int lose_leader(const Arguments&) {
  pthread_t thread;
  ::pthread_create(&thread, nullptr, exit_after_a_byte, nullptr);
  say("ready");
  ::pthread_exit(nullptr);
}

// The shape of a stack that the symboliser is asked about.
__attribute__((noinline)) void write_crash_file(const char* path) {
  void* frames[32];
  int count = ::backtrace(frames, 32);
  std::ofstream file(path);
  file << "signal 11 code 1 addr 0x0 tid " << ::getpid() << "\n";
  for (int i = 0; i < count; ++i) file << "frame " << frames[i] << "\n";
  std::ifstream maps("/proc/self/maps");
  file << "maps\n" << maps.rdbuf() << "end\n";
}
inline __attribute__((always_inline)) void somebody_inlined(const char* path) { write_crash_file(path); }
__attribute__((noinline)) void the_one_to_blame(const char* path) {
  somebody_inlined(path);
  asm volatile("" ::: "memory");  // not a tail call
}

int leave_crash_file(const Arguments& arguments) {
  the_one_to_blame(arguments.at(0).c_str());
  return 0;
}

const std::map<std::string, int (*)(const Arguments&)> kDeeds{
    {"exit", exit_with},
    {"signal", die_by},
    {"report", report},
    {"ignore-term", ignore_term},
    {"wait", wait},
    {"stop", stop},
    {"leave-in-group", leave_in_group},
    {"leave-daemons", leave_daemons},
    {"leave-disguised", leave_disguised},
    {"leave-headless", leave_headless},
    {"leave-breeders", leave_breeders},
    {"keep-becoming", keep_becoming},
    {"leave-becoming", leave_becoming},
    {"leave-pipe-holder", leave_pipe_holder},
    {"close-stdout", close_stdout},
    {"flood", flood},
    {"write", write_raw},
    {"to-both", to_both},
    {"take-memory", take_memory},
    {"lose-leader", lose_leader},
    {"leave-crash-file", leave_crash_file},
};

}  // namespace

int main(int argc, char** argv) {
  auto deed = argc > 1 ? kDeeds.find(argv[1]) : kDeeds.end();
  if (deed == kDeeds.end()) {
    std::cerr << "naughty_child: what?" << std::endl;
    return 99;
  }
  return deed->second(Arguments(argv + 2, argv + argc));
}
