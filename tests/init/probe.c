// What the tests of init run below it: one program, told by its first argument what to be.
//
//   setup [ignore SIG|block SIG|close FD|stdin PATH|raise SIG|nosubreaper|nopidfd|nofork]… -- COMMAND…    changes what COMMAND inherits
//   codes pid1|plain LIST INIT…        for each N from 0 to 255: INIT… probe exit N gives N, or 0 where ",N," is in LIST
//   exit CODE          die SIG           facts              watch
//   orphans N          burst N           flood N            zombie             leader
//   leader_ignores     as leader, whose first thread has ended, and deaf to SIGTERM
//   leave HOW FILE CODE        HOW: group, setsid, daemon; the one left cleans up on SIGTERM and writes FILE
//   stubborn FILE      ignores SIGTERM, and so does its child
//   family             a parent and its child in one group, each saying what it gets
//   kill_all SIG       kill(-1, SIG)
//
// Words go to standard output, a line each, unbuffered.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char* format, ...) {
  char line[256];
  __builtin_va_list values;
  __builtin_va_start(values, format);
  int size = vsnprintf(line, sizeof line - 1, format, values);
  __builtin_va_end(values);
  line[size++] = '\n';
  if (write(1, line, (size_t)size) < 0) _exit(99);
}

static void block_all(void) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
}

static int next(void) {
  sigset_t all;
  sigfillset(&all);
  for (;;) {
    int signal = sigwaitinfo(&all, NULL);
    if (signal > 0) return signal;
  }
}

static void install(struct sock_filter* code, size_t count) {
  struct sock_fprog program = {(unsigned short)count, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    exit(98);
}

// The kernel then has no process to give, as when there are too many.
static void refuse_fork(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 2, 0),
#ifdef SYS_vfork
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_vfork, 1, 0),
#else
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
#endif
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
  };
  install(code, sizeof code / sizeof *code);
}

// The kernel then says EPERM to a process that wants to be a subreaper.
static void refuse_subreaper(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_CHILD_SUBREAPER, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  install(code, sizeof code / sizeof *code);
}

// As container engines do whose filter is older than the call.
static void refuse_pidfd(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  install(code, sizeof code / sizeof *code);
}

// It waits for whoever unblocks it or takes it: exec does not drop it.
static void raise_blocked(int number) {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  sigprocmask(SIG_BLOCK, &one, NULL);
  kill(getpid(), number);
}

static int setup(char** argument) {
  sigset_t blocked;
  sigemptyset(&blocked);
  for (; strcmp(*argument, "--") != 0; ++argument) {
    const char* word = *argument;
    if (strcmp(word, "nosubreaper") == 0) {
      refuse_subreaper();
      continue;
    }
    if (strcmp(word, "nopidfd") == 0) {
      refuse_pidfd();
      continue;
    }
    if (strcmp(word, "nofork") == 0) {
      refuse_fork();
      continue;
    }
    const char* value = *++argument;
    if (strcmp(word, "raise") == 0) raise_blocked(atoi(value));
    if (strcmp(word, "ignore") == 0) signal(atoi(value), SIG_IGN);
    if (strcmp(word, "block") == 0) sigaddset(&blocked, atoi(value));
    if (strcmp(word, "close") == 0) close(atoi(value));
    if (strcmp(word, "stdin") == 0) dup2(open(value, O_RDWR | O_NOCTTY), 0);
    if (strcmp(word, "listen_pid") == 0) {
      char text[16];
      snprintf(text, sizeof text, "%d", getpid());
      setenv("LISTEN_PID", text, 1);
      setenv("LISTEN_FDS", value, 1);
    }
  }
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  execvp(argument[1], argument + 1);
  return 97;
}

static int die(int number) {
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  signal(number, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  sigprocmask(SIG_UNBLOCK, &one, NULL);
  kill(getpid(), number);
  return 96;
}

static int facts(void) {
  char line[256];
  FILE* status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status))
    if (strncmp(line, "SigBlk", 6) == 0 || strncmp(line, "SigIgn", 6) == 0) {
      line[strcspn(line, "\n")] = 0;
      say("%s", line);
    }
  const char* listen_pid = getenv("LISTEN_PID");
  say("listen_pid %s", listen_pid && atoi(listen_pid) == getpid() ? "mine" : "other");
  for (int fd = 3; fd < 20; ++fd)
    if (fcntl(fd, F_GETFD) >= 0 && (status == NULL || fd != fileno(status))) say("fd %d", fd);
  char cwd[200];
  if (getcwd(cwd, sizeof cwd)) say("cwd %s", cwd);
  return 0;
}

static _Noreturn void watch(void) {
  block_all();
  say("ready");
  for (;;) say("%d", next());
}

// Each one's parent dies at once; they end together when the pipe closes.
static int orphans(int count, int wait_for_them) {
  int ends[2];
  if (pipe(ends) != 0) return 95;
  for (int i = 0; i < count; ++i) {
    pid_t parent = fork();
    if (parent == 0) {
      if (fork() == 0) {
        close(ends[1]);
        char byte;
        while (read(ends[0], &byte, 1) < 0) {
        }
        _exit(i & 127);
      }
      _exit(0);
    }
    waitpid(parent, NULL, 0);
  }
  close(ends[0]);
  say("ready");
  if (wait_for_them) {
    char byte;
    if (read(0, &byte, 1) < 0) return 94;
  }
  close(ends[1]);
  if (!wait_for_them) return 5;
  say("released");
  block_all();
  for (;;) next();
}

// As many orphans as the machine can make; each ends at once.
static int flood(int count) {
  for (int i = 0; i < count; ++i) {
    pid_t parent = fork();
    if (parent == 0) {
      if (fork() == 0) _exit(1);
      _exit(0);
    }
    if (parent < 0) return 95;
    waitpid(parent, NULL, 0);
  }
  say("done");
  block_all();
  for (;;) next();
}

static int zombie(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t info;
  waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
  say("%d", child);
  char byte;
  if (read(0, &byte, 1) < 0) return 94;
  return 0;
}

static void* outlive(void* unused) {
  (void)unused;
  // The first thread is gone when the kernel shows it as a zombie.
  for (char state = 0; state != 'Z';) {
    char text[256];
    int fd = open("/proc/self/stat", O_RDONLY);
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size > 0 ? size : 0] = 0;
    state = strrchr(text, ')')[2];
    usleep(1000);
  }
  say("ready");
  char byte;
  if (read(0, &byte, 1) < 0) exit(94);
  exit(7);
}

static int leader(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, outlive, NULL);
  pthread_exit(NULL);
}

// On SIGTERM it needs a moment, as a database does, and then writes what it has.
static void clean_up_on_term(const char* path) {
  block_all();
  say("left");
  while (next() != SIGTERM) {
  }
  usleep(300 * 1000);
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  if (write(fd, "clean\n", 6) != 6) _exit(93);
  _exit(0);
}

static int leave(const char* how, const char* path, int code) {
  int ready[2];
  if (pipe(ready) != 0) return 95;
  pid_t child = fork();
  if (child == 0) {
    if (strcmp(how, "group") != 0) setsid();
    if (strcmp(how, "daemon") == 0 && fork() != 0) _exit(0);
    block_all();
    close(ready[0]);
    close(ready[1]);
    clean_up_on_term(path);
  }
  close(ready[1]);
  char byte;
  if (read(ready[0], &byte, 1) < 0) return 94;  // ends when it has blocked what it waits for
  return code;
}

static _Noreturn void stubborn(const char* path) {
  signal(SIGTERM, SIG_IGN);
  if (path[0] != '-') {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    close(fd);
  }
  pid_t child = fork();
  if (child == 0) {
    setsid();
    say("child %d", getpid());
    for (;;) pause();
  }
  say("ready");
  for (;;) pause();
}

static int family(void) {
  block_all();
  pid_t child = fork();
  const char* name = child == 0 ? "child" : "parent";
  say("%s ready", name);
  for (;;) {
    int signal = next();
    if (signal != SIGCHLD) say("%s %d", name, signal);
    if (signal == SIGUSR1 && child == 0) _exit(0);
    if (signal == SIGUSR2) _exit(9);
    if (signal == SIGCHLD && waitpid(child, NULL, WNOHANG) == child) _exit(0);
  }
}

// One init for each exit code there is, each as the first process of a namespace of its own if it is to be PID 1.
static int codes(int pid1, const char* zeros, char** init) {
  char* words[64];
  char code[8], mark[16];
  int count = 0, wrong = 0;
  for (; init[count] && count < 60; ++count) words[count] = init[count];
  char self[] = "/proc/self/exe", path[512] = "", deed[] = "exit";
  if (readlink(self, path, sizeof path - 1) < 0) return 95;
  words[count++] = path, words[count++] = deed, words[count++] = code, words[count] = NULL;
  for (int n = 0; n < 256; ++n) {
    snprintf(code, sizeof code, "%d", n);
    snprintf(mark, sizeof mark, ",%d,", n);
    long child = syscall(SYS_clone, SIGCHLD | (pid1 ? CLONE_NEWPID | CLONE_NEWNS : 0), 0, 0, 0, 0);
    if (child < 0) return 94;
    if (child == 0) {
      if (pid1 &&
          (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0))
        _exit(93);
      execvp(words[0], words);
      _exit(92);
    }
    int status = 0, expected = strstr(zeros, mark) ? 0 : n;
    if (waitpid((pid_t)child, &status, 0) != child) return 91;
    if (WIFEXITED(status) && WEXITSTATUS(status) == expected) continue;
    say("%d became %s %d", n, WIFEXITED(status) ? "code" : "signal",
        WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    ++wrong;
  }
  say("256 codes, %d wrong", wrong);
  return wrong != 0;
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "setup") == 0) return setup(argv + 2);
  if (strcmp(what, "exit") == 0) return atoi(argv[2]);
  if (strcmp(what, "codes") == 0) return codes(strcmp(argv[2], "pid1") == 0, argv[3], argv + 4);
  if (strcmp(what, "die") == 0) return die(atoi(argv[2]));
  if (strcmp(what, "facts") == 0) return facts();
  if (strcmp(what, "watch") == 0) watch();
  if (strcmp(what, "orphans") == 0) return orphans(atoi(argv[2]), 1);
  if (strcmp(what, "burst") == 0) return orphans(atoi(argv[2]), 0);
  if (strcmp(what, "flood") == 0) return flood(atoi(argv[2]));
  if (strcmp(what, "zombie") == 0) return zombie();
  if (strcmp(what, "leader") == 0) return leader();
  if (strcmp(what, "leader_ignores") == 0) {
    signal(SIGTERM, SIG_IGN);
    return leader();
  }
  if (strcmp(what, "leave") == 0) return leave(argv[2], argv[3], atoi(argv[4]));
  if (strcmp(what, "stubborn") == 0) stubborn(argv[2]);
  if (strcmp(what, "family") == 0) return family();
  if (strcmp(what, "kill_all") == 0) return kill(-1, atoi(argv[2])) == 0 ? 0 : errno;
  return 92;
}
