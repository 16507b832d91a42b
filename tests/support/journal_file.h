/* For libraries preloaded into a supervisor: which of its writes go to the journal. */

#pragma once

#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Whether `fd` is the journal's database or its log. */
static inline int is_journal(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = '\0';
  const char* name = strrchr(path, '/');
  return name != NULL && (strcmp(name, "/journal.db-wal") == 0 || strcmp(name, "/journal.db") == 0);
}
