// Usable processors, and the monotonic clock.

#define _GNU_SOURCE
#include "CSystemCalls.h"
#include "control_groups.h"

#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#include <stdlib.h>
#endif

static int affinity_count(void) {
#if defined(__linux__)
  // The kernel refuses a mask smaller than its own, so grow until it fits.
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 2) {
    cpu_set_t *set = CPU_ALLOC(capacity);
    if (!set) break;
    size_t size = CPU_ALLOC_SIZE(capacity);
    int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
#endif
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (int)online : 1;
}

int csystem_cpu_count_under(const char *root, int count) {
#if defined(__linux__)
  double allowed = csystem_control_group_cpus(root);
  if (allowed < (double)count) {
    int whole = (int)allowed;
    count = (double)whole < allowed ? whole + 1 : whole;
  }
#else
  (void)root;
#endif
  return count < 1 ? 1 : count;
}

int csystem_cpu_count(void) { return csystem_cpu_count_under("", affinity_count()); }

double csystem_monotonic_seconds(void) {
  struct timespec now;
#if defined(__APPLE__)
  clock_gettime(CLOCK_UPTIME_RAW, &now);
#else
  clock_gettime(CLOCK_MONOTONIC, &now);
#endif
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
