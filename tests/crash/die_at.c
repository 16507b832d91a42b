/* Preloaded into a supervisor, kills it with SIGKILL at one named point between two writes of its journal.
 *
 * The points of a run are numbered from 1, three to a transaction: "before the first write", "before the sync" and "after
 * the sync". DIE_AT is the number of the one to die at; its name goes to standard error first. Only writes to the journal's
 * own files count. The processes that the supervisor starts are left alone. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/support/journal_file.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long die_at, points;
static int written; /* since the last sync */

static ssize_t (*real_pwrite64)(int, const void*, size_t, off64_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

__attribute__((constructor)) static void begin(void) {
  const char* number = getenv("DIE_AT");
  die_at = number != NULL ? atol(number) : 0;
  unsetenv("LD_PRELOAD");
  *(void**)&real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64"); /* as POSIX writes it: C has no cast for this */
  *(void**)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  *(void**)&real_fsync = dlsym(RTLD_NEXT, "fsync");
}

static void point(const char* name) {
  pthread_mutex_lock(&mutex);
  if (++points == die_at) {
    dprintf(2, "dies %s\n", name);
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  pthread_mutex_unlock(&mutex);
}

static void about_to_write(int fd) {
  if (!is_journal(fd)) return;
  if (!__atomic_exchange_n(&written, 1, __ATOMIC_RELAXED)) point("before the first write");
}

/* SQLite's way to write, where files may be large. */
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  about_to_write(fd);
  return real_pwrite64(fd, bytes, size, at);
}

static int sync_by(int (*real)(int), int fd) {
  if (!is_journal(fd)) return real(fd);
  point("before the sync");
  const int result = real(fd);
  __atomic_store_n(&written, 0, __ATOMIC_RELAXED);
  point("after the sync");
  return result;
}

int fdatasync(int fd) { return sync_by(real_fdatasync, fd); }
int fsync(int fd) { return sync_by(real_fsync, fd); }
