/* Preloaded into a supervisor, refuses writes to its journal's files while the file $REFUSAL exists: with the errno whose
 * number stands in it, as a full disk (ENOSPC) or one that the kernel has made read-only (EROFS) does. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/support/journal_file.h"

static ssize_t (*real_pwrite64)(int, const void*, size_t, off64_t);
static char control[4096];

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("REFUSAL");
  if (path != NULL) snprintf(control, sizeof control, "%s", path);
  unsetenv("LD_PRELOAD");                                 /* the processes that the supervisor starts are left alone */
  *(void**)&real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64"); /* as POSIX writes it: C has no cast for this */
}

static int refusal(void) {
  int number = 0;
  FILE* file = fopen(control, "re");
  if (file == NULL) return 0;
  if (fscanf(file, "%d", &number) != 1) number = EIO;
  fclose(file);
  return number;
}

/* SQLite's way to write, where files may be large. */
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  const int refused = is_journal(fd) ? refusal() : 0;
  if (refused == 0) return real_pwrite64(fd, bytes, size, at);
  errno = refused;
  return -1;
}
