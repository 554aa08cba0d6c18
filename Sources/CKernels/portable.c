// Kernels for the instruction set that the build assumes (SSE2 on x86-64).
#include "tables.h"

#define MI_VL 4
#define MI_NV 2
#define MI_B 6
#define MI_NAME "portable"
#define MI_TABLE mi_kernels_portable
#include "templates/table.h"

