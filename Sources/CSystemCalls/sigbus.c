// A file that shrinks while it is mapped reads as SIGBUS. The handler here finds the file by the
// address in a fixed table, because nothing but atomics and write() may be used inside a handler.

#define _GNU_SOURCE
#include "CSystemCalls.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAPPING_CAPACITY = 1024, PATH_CAPACITY = 1024, EXIT_INPUT_OUTPUT = 74 };

enum { MAPPING_FREE, MAPPING_CHANGING, MAPPING_READY };

struct mapping {
  _Atomic int state;
  _Atomic uintptr_t address;
  _Atomic size_t length;
  char path[PATH_CAPACITY];
};

// Zero pages until used. Mappings are few (a shard each), so looking through all of them is cheap.
static struct mapping mappings[MAPPING_CAPACITY];
static struct sigaction previous_action;

bool csystem_guard_mapping(const void *address, size_t length, const char *path) {
  for (int i = 0; i < MAPPING_CAPACITY; i++) {
    struct mapping *mapping = &mappings[i];
    int expected = MAPPING_FREE;
    if (!atomic_compare_exchange_strong(&mapping->state, &expected, MAPPING_CHANGING)) continue;
    // The end of a path says more than its beginning.
    size_t path_length = strlen(path);
    const char *kept = path_length < PATH_CAPACITY ? path : path + path_length - PATH_CAPACITY + 1;
    size_t j = 0;
    for (; kept[j] && j < PATH_CAPACITY - 1; j++) {
      unsigned char byte = (unsigned char)kept[j];
      mapping->path[j] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    mapping->path[j] = 0;
    atomic_store(&mapping->address, (uintptr_t)address);
    atomic_store(&mapping->length, length);
    atomic_store(&mapping->state, MAPPING_READY);
    return true;
  }
  return false;
}

void csystem_unguard_mapping(const void *address) {
  for (int i = 0; i < MAPPING_CAPACITY; i++) {
    struct mapping *mapping = &mappings[i];
    if (atomic_load(&mapping->state) != MAPPING_READY) continue;
    if (atomic_load(&mapping->address) != (uintptr_t)address) continue;
    atomic_store(&mapping->state, MAPPING_FREE);
    return;
  }
}

static size_t append(char *line, size_t used, size_t capacity, const char *text) {
  while (*text && used < capacity) line[used++] = *text++;
  return used;
}

static void handle_sigbus(int number, siginfo_t *info, void *context) {
  uintptr_t address = (uintptr_t)info->si_addr;
  for (int i = 0; i < MAPPING_CAPACITY; i++) {
    struct mapping *mapping = &mappings[i];
    if (atomic_load(&mapping->state) != MAPPING_READY) continue;
    uintptr_t begin = atomic_load(&mapping->address);
    if (address < begin || address - begin >= atomic_load(&mapping->length)) continue;
    char line[PATH_CAPACITY + 128];
    size_t used = append(line, 0, sizeof line, "minference: ");
    used = append(line, used, sizeof line, mapping->path);
    used = append(line, used, sizeof line,
                  " became shorter while it was read: restore the file and run again\n");
    ssize_t written = write(2, line, used);
    (void)written;
    csystem_remove_drafts();
    _exit(EXIT_INPUT_OUTPUT);
  }
  if ((previous_action.sa_flags & SA_SIGINFO) && previous_action.sa_sigaction) {
    previous_action.sa_sigaction(number, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(number);
  } else {
    // The faulting instruction runs again on return and takes the default action.
    signal(SIGBUS, SIG_DFL);
  }
}

bool csystem_install_sigbus_handler(void) {
  struct sigaction current, action;
  if (sigaction(SIGBUS, NULL, &current) != 0) return false;
  if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == handle_sigbus) return true;
  previous_action = current;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handle_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  return sigaction(SIGBUS, &action, NULL) == 0;
}

int csystem_testing_read_in_child(const void *address, size_t length, char *message,
                                  size_t capacity) {
  int ends[2];
  if (capacity == 0 || pipe(ends) != 0) return -1;
  pid_t child = fork();
  if (child < 0) {
    close(ends[0]);
    close(ends[1]);
    return -1;
  }
  if (child == 0) {
    // Only async-signal-safe calls here: the parent may have had other threads.
    dup2(ends[1], 2);
    signal(SIGBUS, SIG_DFL);
    csystem_install_sigbus_handler();
    const volatile unsigned char *bytes = address;
    unsigned sum = 0;
    for (size_t i = 0; i < length; i += 512) sum += bytes[i];
    (void)sum;
    _exit(0);
  }
  close(ends[1]);
  size_t used = 0;
  while (used + 1 < capacity) {
    ssize_t count = read(ends[0], message + used, capacity - 1 - used);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    used += (size_t)count;
  }
  message[used] = 0;
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return status;
}
