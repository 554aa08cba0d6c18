// What the control groups of Linux (version 1 and 2) leave to this process. Files under `root`
// stand in for those of the system in tests; the real root is "".

#define _GNU_SOURCE
#include "control_groups.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// Reads the two first words of a file as numbers; "max" is UINT64_MAX. Returns how many there were.
static int read_numbers(const char *folder, const char *name, uint64_t numbers[2]) {
  char path[CSYSTEM_PATH_CAPACITY];
  if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return 0;
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  char words[2][32];
  int count = fscanf(file, "%31s %31s", words[0], words[1]);
  fclose(file);
  for (int i = 0; i < count; i++) {
    // Version 1 writes "no quota" as -1, which is UINT64_MAX here too.
    numbers[i] = strcmp(words[i], "max") == 0 ? UINT64_MAX : strtoull(words[i], NULL, 10);
  }
  return count < 0 ? 0 : count;
}

/// The value of `key` in a file of "key value" lines; 0 without one.
static uint64_t read_keyed(const char *folder, const char *name, const char *key) {
  char path[CSYSTEM_PATH_CAPACITY];
  if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return 0;
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  char word[64];
  unsigned long long value = 0;
  uint64_t found = 0;
  while (fscanf(file, "%63s %llu", word, &value) == 2) {
    if (strcmp(word, key) != 0) continue;
    found = value;
    break;
  }
  fclose(file);
  return found;
}

/// Calls `visit` with the folder of the process's group for `controller` (NULL: version 2) and with
/// every folder above it, up to the mount. Inside a container the path may not exist below the
/// mount; then only those folders that do are of use, and the mount itself is the container's group.
static void visit_groups(const char *root, const char *controller,
                         void (*visit)(const char *folder, void *state), void *state) {
  char path[CSYSTEM_PATH_CAPACITY], line[CSYSTEM_PATH_CAPACITY];
  snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
  FILE *file = fopen(path, "re");
  if (!file) return;
  while (fgets(line, sizeof line, file)) {
    // Each line is "number:controller,controller:/path"; version 2 has number 0 and no controllers.
    char *first = strchr(line, ':');
    char *second = first ? strchr(first + 1, ':') : NULL;
    if (!second) continue;
    *second = 0;
    char *group = second + 1;
    group[strcspn(group, "\n")] = 0;
    bool matches = false;
    if (!controller) {
      matches = first[1] == 0;
    } else {
      char *rest = NULL;
      for (char *name = strtok_r(first + 1, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        if (strcmp(name, controller) == 0) matches = true;
      }
    }
    if (!matches) continue;
    int mount = snprintf(path, sizeof path, "%s/sys/fs/cgroup%s%s", root, controller ? "/" : "",
                         controller ? controller : "");
    if (mount < 0 || (size_t)mount + strlen(group) >= sizeof path) break;
    strcpy(path + mount, group);
    for (;;) {
      visit(path, state);
      char *slash = strrchr(path + mount, '/');
      if (!slash) break;
      *slash = 0;
    }
    break;
  }
  fclose(file);
}

static void lower_memory(uint64_t *left, uint64_t limit, uint64_t used, uint64_t reclaimable) {
  // Version 1 writes "no limit" as the largest multiple of a page below 2^63.
  if (limit >= (UINT64_C(1) << 60)) return;
  uint64_t held = used > reclaimable ? used - reclaimable : 0;
  uint64_t rest = limit > held ? limit - held : 0;
  if (rest < *left) *left = rest;
}

static void visit_memory_v2(const char *folder, void *state) {
  uint64_t limit[2], used[2];
  if (!read_numbers(folder, "memory.max", limit) || !read_numbers(folder, "memory.current", used)) {
    return;
  }
  lower_memory(state, limit[0], used[0], read_keyed(folder, "memory.stat", "inactive_file"));
}

static void visit_memory_v1(const char *folder, void *state) {
  uint64_t limit[2], used[2];
  if (!read_numbers(folder, "memory.limit_in_bytes", limit)) return;
  if (!read_numbers(folder, "memory.usage_in_bytes", used)) return;
  lower_memory(state, limit[0], used[0], read_keyed(folder, "memory.stat", "total_inactive_file"));
}

uint64_t csystem_control_group_memory_left(const char *root) {
  uint64_t left = UINT64_MAX;
  visit_groups(root, NULL, visit_memory_v2, &left);
  visit_groups(root, "memory", visit_memory_v1, &left);
  return left;
}

static void lower_cpus(double *cpus, uint64_t quota, uint64_t period) {
  if (quota == UINT64_MAX || quota == 0 || period == 0) return;
  double allowed = (double)quota / (double)period;
  if (allowed < *cpus) *cpus = allowed;
}

static void visit_cpus_v2(const char *folder, void *state) {
  uint64_t numbers[2];
  if (read_numbers(folder, "cpu.max", numbers) == 2) lower_cpus(state, numbers[0], numbers[1]);
}

static void visit_cpus_v1(const char *folder, void *state) {
  uint64_t quota[2], period[2];
  if (!read_numbers(folder, "cpu.cfs_quota_us", quota)) return;
  if (!read_numbers(folder, "cpu.cfs_period_us", period)) return;
  lower_cpus(state, quota[0], period[0]);
}

double csystem_control_group_cpus(const char *root) {
  double cpus = INFINITY;
  visit_groups(root, NULL, visit_cpus_v2, &cpus);
  visit_groups(root, "cpu", visit_cpus_v1, &cpus);
  return cpus;
}
