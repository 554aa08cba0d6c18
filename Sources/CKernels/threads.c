// A fixed set of worker threads that take pieces of work off a shared counter.
//
// Workers sleep between runs; a run of one piece, or on one thread, costs no wake-up.

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "CKernels.h"

struct mi_pool {
  pthread_mutex_t turn;  // held by the caller whose run is going on
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_cond_t done;
  pthread_t *workers;
  int32_t threads;
  int32_t busy;
  uint64_t generation;
  bool stop;
  mi_task task;
  void *context;
  int64_t count;
  _Atomic int64_t next;
};

typedef struct {
  mi_pool *pool;
  int32_t thread;
} mi_worker;

static void take_pieces(mi_pool *pool, int32_t thread) {
  for (;;) {
    int64_t index = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (index >= pool->count) return;
    pool->task(pool->context, index, thread);
  }
}

static void *worker_main(void *argument) {
  mi_worker worker = *(mi_worker *)argument;
  free(argument);
  mi_pool *pool = worker.pool;
  uint64_t seen = 0;
  pthread_mutex_lock(&pool->lock);
  for (;;) {
    while (pool->generation == seen && !pool->stop) pthread_cond_wait(&pool->wake, &pool->lock);
    if (pool->stop) break;
    seen = pool->generation;
    pthread_mutex_unlock(&pool->lock);
    take_pieces(pool, worker.thread);
    pthread_mutex_lock(&pool->lock);
    if (--pool->busy == 0) pthread_cond_signal(&pool->done);
  }
  pthread_mutex_unlock(&pool->lock);
  return NULL;
}

// Workers have the stack that glibc gives by default, on every system: tasks call into Swift.
static int start_worker(pthread_t *thread, mi_worker *worker) {
  pthread_attr_t attributes;
  int status = pthread_attr_init(&attributes);
  if (status != 0) return status;
  status = pthread_attr_setstacksize(&attributes, 8u << 20);
  if (status == 0) status = pthread_create(thread, &attributes, worker_main, worker);
  pthread_attr_destroy(&attributes);
  return status;
}

mi_pool *mi_pool_create(int32_t threads) {
  if (threads < 1) threads = 1;
  mi_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pthread_mutex_init(&pool->turn, NULL);
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  pool->threads = 1;
  pool->workers = calloc((size_t)threads, sizeof *pool->workers);
  for (int32_t i = 1; pool->workers != NULL && i < threads; i++) {
    mi_worker *worker = malloc(sizeof *worker);
    if (worker == NULL) break;
    *worker = (mi_worker){pool, i};
    // Fewer threads than asked for still compute the same; the caller can ask how many there are.
    if (start_worker(&pool->workers[i], worker) != 0) {
      free(worker);
      break;
    }
    pool->threads = i + 1;
  }
  return pool;
}

void mi_pool_destroy(mi_pool *pool) {
  if (pool == NULL) return;
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (int32_t i = 1; i < pool->threads; i++) pthread_join(pool->workers[i], NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  pthread_mutex_destroy(&pool->turn);
  free(pool->workers);
  free(pool);
}

int32_t mi_pool_threads(const mi_pool *pool) { return pool->threads; }

void mi_pool_run(mi_pool *pool, int64_t count, mi_task task, void *context) {
  if (count <= 0) return;
  if (count == 1 || pool->threads == 1) {
    // Thread 0's scratch belongs to whoever holds the turn.
    pthread_mutex_lock(&pool->turn);
    for (int64_t i = 0; i < count; i++) task(context, i, 0);
    pthread_mutex_unlock(&pool->turn);
    return;
  }
  pthread_mutex_lock(&pool->turn);
  pthread_mutex_lock(&pool->lock);
  pool->task = task;
  pool->context = context;
  pool->count = count;
  atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
  pool->busy = pool->threads - 1;
  pool->generation++;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  take_pieces(pool, 0);
  pthread_mutex_lock(&pool->lock);
  while (pool->busy > 0) pthread_cond_wait(&pool->done, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
  pthread_mutex_unlock(&pool->turn);
}
