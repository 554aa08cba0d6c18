// Which instruction sets this build has and this processor runs.

#include "tables.h"

const mi_kernels *mi_kernels_for(mi_isa isa) {
  switch (isa) {
    case MI_PORTABLE:
      return &mi_kernels_portable;
#if defined(__aarch64__)
    case MI_NEON:
      return &mi_kernels_neon;
#endif
#if defined(__x86_64__)
    case MI_AVX2:
      if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &mi_kernels_avx2;
      return NULL;
    case MI_AVX512:
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
          && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return &mi_kernels_avx512;
      }
      return NULL;
#endif
    default:
      return NULL;
  }
}
