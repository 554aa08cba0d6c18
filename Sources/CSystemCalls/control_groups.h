#pragma once

#include <stdint.h>

enum { CSYSTEM_PATH_CAPACITY = 4096 };

/// Bytes that the memory limits of this process's control groups leave, the smallest over the group
/// and those above it; UINT64_MAX without a limit.
uint64_t csystem_control_group_memory_left(const char *root);

/// Processors that the quotas of this process's control groups allow, the smallest over the group
/// and those above it; infinity without a quota.
double csystem_control_group_cpus(const char *root);
