// Peak and available memory.

#define _GNU_SOURCE
#include "CSystemCalls.h"
#include "control_groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#if defined(__APPLE__)
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif

#if defined(__linux__)
/// The kilobytes that the line beginning with `key` gives, as bytes; 0 without such a line.
static uint64_t kilobytes_line(const char *path, const char *key) {
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  char line[256];
  uint64_t bytes = 0;
  size_t key_length = strlen(key);
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, key, key_length) != 0) continue;
    bytes = strtoull(line + key_length, NULL, 10) * 1024;
    break;
  }
  fclose(file);
  return bytes;
}
#endif

uint64_t csystem_peak_memory_bytes(void) {
#if defined(__linux__)
  // ru_maxrss survives exec and would report a parent's peak; VmHWM is of this image alone.
  uint64_t high_water = kilobytes_line("/proc/self/status", "VmHWM:");
  if (high_water) return high_water;
#endif
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#if defined(__APPLE__)
  return (uint64_t)usage.ru_maxrss;
#else
  return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

uint64_t csystem_available_memory_bytes_under(const char *root) {
#if defined(__linux__)
  char path[CSYSTEM_PATH_CAPACITY];
  snprintf(path, sizeof path, "%s/proc/meminfo", root);
  uint64_t available = kilobytes_line(path, "MemAvailable:");
  uint64_t left = csystem_control_group_memory_left(root);
  if (available == 0) return left == UINT64_MAX ? 0 : left;
  return left < available ? left : available;
#else
  (void)root;
  return csystem_available_memory_bytes();
#endif
}

uint64_t csystem_available_memory_bytes(void) {
#if defined(__APPLE__)
  vm_statistics64_data_t statistics;
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  uint64_t page = 0;
  size_t size = sizeof page;
  if (sysctlbyname("hw.pagesize", &page, &size, NULL, 0) != 0) return 0;
  if (size == 4) page = (uint32_t)page;
  mach_port_t host = mach_host_self();
  kern_return_t result =
      host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&statistics, &count);
  mach_port_deallocate(mach_task_self(), host);
  if (result != KERN_SUCCESS) return 0;
  // Free pages include the speculative ones; inactive pages are given up under pressure.
  return ((uint64_t)statistics.free_count + statistics.inactive_count) * page;
#elif defined(__linux__)
  return csystem_available_memory_bytes_under("");
#else
  return 0;
#endif
}
