// Kernels for AVX2 with FMA: 16 registers of 8 floats.
#include "tables.h"

#if defined(__x86_64__)

#define MI_VL 8
#define MI_NV 2
#define MI_B 6
#define MI_NAME "avx2"
#define MI_TABLE mi_kernels_avx2

#include <math.h>
#include <string.h>

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "templates/table.h"
#pragma clang attribute pop

#endif
