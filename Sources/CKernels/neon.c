// Kernels for NEON: 32 registers of 4 floats.
#include "tables.h"

#if defined(__aarch64__)

#define MI_VL 4
#define MI_NV 4
#define MI_B 6
#define MI_NAME "neon"
#define MI_TABLE mi_kernels_neon
#include "templates/table.h"
#endif
