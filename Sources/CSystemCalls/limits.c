// What the system grants to this process, asked before something waits for it without end.

#include "CSystemCalls.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { MOST_THREADS = 64, STACK_BYTES = 64 << 10 };

struct gate {
  pthread_mutex_t mutex;
  pthread_cond_t opened;
  bool is_open;
};

static void *wait_at(void *context) {
  struct gate *gate = context;
  pthread_mutex_lock(&gate->mutex);
  while (!gate->is_open) pthread_cond_wait(&gate->opened, &gate->mutex);
  pthread_mutex_unlock(&gate->mutex);
  return NULL;
}

int csystem_try_threads(int count) {
  struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
  pthread_t threads[MOST_THREADS];
  if (count > MOST_THREADS) count = MOST_THREADS;
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error) return error;
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  int started = 0;
  while (started < count && !error) {
    error = pthread_create(&threads[started], &attributes, wait_at, &gate);
    if (!error) started++;
  }
  pthread_attr_destroy(&attributes);
  pthread_mutex_lock(&gate.mutex);
  gate.is_open = true;
  pthread_cond_broadcast(&gate.opened);
  pthread_mutex_unlock(&gate.mutex);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  return error;
}

uint64_t csystem_open_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) return UINT64_MAX;
  return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
}

bool csystem_memory_is_limited(void) {
  struct rlimit limit;
  if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY) return true;
  return !getrlimit(RLIMIT_DATA, &limit) && limit.rlim_cur != RLIM_INFINITY;
}

bool csystem_can_map(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  munmap(memory, bytes);
  return true;
}
