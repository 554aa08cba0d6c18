// Files that are being written under a name of their own. A signal handler that ends the process
// removes them: nothing but atomics and unlink() may be used there, hence a fixed table.

#include "CSystemCalls.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DRAFT_CAPACITY = 16, DRAFT_PATH_CAPACITY = 4096 };

enum { DRAFT_FREE, DRAFT_CHANGING, DRAFT_READY };

static struct {
  _Atomic int state;
  char path[DRAFT_PATH_CAPACITY];
} drafts[DRAFT_CAPACITY];

int csystem_guard_draft(const char *path) {
  size_t length = strlen(path);
  if (length >= DRAFT_PATH_CAPACITY) return -1;
  for (int i = 0; i < DRAFT_CAPACITY; i++) {
    int expected = DRAFT_FREE;
    if (!atomic_compare_exchange_strong(&drafts[i].state, &expected, DRAFT_CHANGING)) continue;
    memcpy(drafts[i].path, path, length + 1);
    atomic_store(&drafts[i].state, DRAFT_READY);
    return i;
  }
  return -1;
}

void csystem_unguard_draft(int draft) {
  if (draft >= 0 && draft < DRAFT_CAPACITY) atomic_store(&drafts[draft].state, DRAFT_FREE);
}

static void remove_draft(int i) {
  if (atomic_load(&drafts[i].state) == DRAFT_READY) unlink(drafts[i].path);
}

void csystem_remove_drafts(void) {
  for (int i = 0; i < DRAFT_CAPACITY; i++) remove_draft(i);
}

int csystem_testing_remove_draft_in_child(int draft) {
  pid_t child = fork();
  if (child < 0 || draft < 0 || draft >= DRAFT_CAPACITY) return -1;
  if (child == 0) {
    // Other tests' drafts stay.
    remove_draft(draft);
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
