// Memory that lies at several addresses.

#define _GNU_SOURCE
#include "CSystemCalls.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

size_t csystem_page_bytes(void) {
  const long bytes = sysconf(_SC_PAGESIZE);
  return bytes > 0 ? (size_t)bytes : 4096;
}

int csystem_most_mappings(void) {
  // What Linux allows where nobody changed it.
  int count = 65530;
  FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
  if (file) {
    if (fscanf(file, "%d", &count) != 1 || count < 0) count = 65530;
    fclose(file);
  }
  return count;
}

#if defined(__linux__)

// Some sandboxes map shared pages once only, or do not give them back.
static bool try_sharing(void) {
  const size_t bytes = csystem_page_bytes();
  volatile char *first = csystem_map_pages(bytes), *second = csystem_map_pages(bytes);
  bool shares = first && second;
  if (shares) {
    first[0] = 1;
    shares = csystem_map_pages_again((void *)second, (void *)first, bytes) && second[0] == 1;
  }
  if (shares) {
    second[0] = 2;
    shares = first[0] == 2;
  }
  if (shares) {
    // Gone from both addresses.
    shares = madvise((void *)second, bytes, MADV_REMOVE) == 0 && first[0] == 0;
  }
  if (first) csystem_unmap_pages((void *)first, bytes);
  if (second) csystem_unmap_pages((void *)second, bytes);
  return shares;
}

bool csystem_can_share_pages(void) {
  // 0: not tried; 1: yes; 2: no.
  static _Atomic int known;
  if (known == 0) known = try_sharing() ? 1 : 2;
  return known == 1;
}

void *csystem_map_pages(size_t bytes) {
  void *address =
    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return address == MAP_FAILED ? NULL : address;
}

bool csystem_map_pages_again(void *address, void *pages, size_t bytes) {
  // An old size of zero makes a second mapping of shared pages and leaves the first (mremap(2)).
  return mremap(pages, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, address) == address;
}

void csystem_drop_pages(void *address, size_t bytes) { madvise(address, bytes, MADV_REMOVE); }

#else

bool csystem_can_share_pages(void) { return false; }

void *csystem_map_pages(size_t bytes) {
  (void)bytes;
  return NULL;
}

bool csystem_map_pages_again(void *address, void *pages, size_t bytes) {
  (void)address, (void)pages, (void)bytes;
  return false;
}

void csystem_drop_pages(void *address, size_t bytes) { (void)address, (void)bytes; }

#endif

void csystem_unmap_pages(void *address, size_t bytes) { munmap(address, bytes); }
