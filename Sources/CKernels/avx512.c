// Kernels for AVX-512: 32 registers of 16 floats.
#include "tables.h"

#if defined(__x86_64__)

#define MI_VL 16
#define MI_NV 2
#define MI_B 12
#define MI_NAME "avx512"
#define MI_TABLE mi_kernels_avx512

#include <math.h>
#include <string.h>

#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#include "templates/table.h"
#pragma clang attribute pop

#endif
