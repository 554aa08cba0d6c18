// Threads with a stack of a known size.

#define _GNU_SOURCE
#include "CSystemCalls.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

// What glibc gives a thread. musl gives 128 KiB, macOS 512 KiB: less than a model's layers take.
static const size_t stack_bytes = 8u << 20;

static int create(pthread_t *thread, void *(*routine)(void *), void *argument) {
  pthread_attr_t attributes;
  int status = pthread_attr_init(&attributes);
  if (status != 0) return status;
  status = pthread_attr_setstacksize(&attributes, stack_bytes);
  if (status == 0) status = pthread_create(thread, &attributes, routine, argument);
  pthread_attr_destroy(&attributes);
  return status;
}

typedef struct {
  void (*body)(void *);
  void *context;
} detached_job;

static void *run_detached(void *argument) {
  detached_job job = *(detached_job *)argument;
  free(argument);
  job.body(job.context);
  return NULL;
}

int csystem_start_thread(void (*body)(void *context), void *context) {
  detached_job *job = malloc(sizeof *job);
  if (job == NULL) return ENOMEM;
  *job = (detached_job){body, context};
  pthread_t thread;
  int status = create(&thread, run_detached, job);
  if (status != 0) {
    free(job);
    return status;
  }
  pthread_detach(thread);
  return 0;
}

typedef struct {
  int64_t count;
  void (*body)(void *, int64_t);
  void *context;
  _Atomic int64_t next;
} shared_loop;

static void *run_loop(void *argument) {
  shared_loop *loop = argument;
  for (;;) {
    int64_t index = atomic_fetch_add_explicit(&loop->next, 1, memory_order_relaxed);
    if (index >= loop->count) return NULL;
    loop->body(loop->context, index);
  }
}

void csystem_for_each(int64_t count, void (*body)(void *context, int64_t index), void *context) {
  enum { most_threads = 256 };
  shared_loop loop = {count, body, context, 0};
  pthread_t threads[most_threads];
  int wanted = csystem_cpu_count() - 1;
  if (wanted > most_threads) wanted = most_threads;
  if (wanted > count - 1) wanted = (int)(count - 1);
  int started = 0;
  // Where no thread can be had, the others do its work.
  while (started < wanted && create(&threads[started], run_loop, &loop) == 0) started++;
  run_loop(&loop);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
}
