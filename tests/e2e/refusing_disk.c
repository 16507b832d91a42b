/* Preloaded into a supervisor, refuses writes to its journal's files while the file $REFUSAL exists: with the errno whose
 * number stands in it, as a full disk (ENOSPC) or one that the kernel has made read-only (EROFS) does. Where "reading"
 * follows the number, reads are what it refuses, as a disk that breaks does (EIO). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/support/journal_file.h"

static ssize_t (*real_pwrite64)(int, const void*, size_t, off64_t);
static ssize_t (*real_pread64)(int, void*, size_t, off64_t);
static char control[4096];

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("REFUSAL");
  if (path != NULL) snprintf(control, sizeof control, "%s", path);
  unsetenv("LD_PRELOAD");                                 /* the processes that the supervisor starts are left alone */
  *(void**)&real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64"); /* as POSIX writes it: C has no cast for this */
  *(void**)&real_pread64 = dlsym(RTLD_NEXT, "pread64");
}

static int refusal(int reading) {
  int number = 0;
  char what[16] = "";
  FILE* file = fopen(control, "re");
  if (file == NULL) return 0;
  if (fscanf(file, "%d %15s", &number, what) < 1) number = EIO;
  fclose(file);
  return (strcmp(what, "reading") == 0) == reading ? number : 0;
}

/* SQLite's ways to write and to read, where files may be large. */
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  const int refused = is_journal(fd) ? refusal(0) : 0;
  if (refused == 0) return real_pwrite64(fd, bytes, size, at);
  errno = refused;
  return -1;
}

ssize_t pread64(int fd, void* bytes, size_t size, off64_t at) {
  const int refused = is_journal(fd) ? refusal(1) : 0;
  if (refused == 0) return real_pread64(fd, bytes, size, at);
  errno = refused;
  return -1;
}
