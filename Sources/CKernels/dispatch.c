// Which instruction sets this build has and this processor runs.

#include "tables.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

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
      if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          && __builtin_cpu_supports("f16c")) {
        return &mi_kernels_avx2;
      }
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

#if defined(__aarch64__)
static bool has_dot_products(void) {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & 1u << 20) != 0;  // HWCAP_ASIMDDP
#else
  return true;  // every Apple processor that macOS 15 runs on
#endif
}
#endif

const mi_block_products *mi_block_products_for(mi_isa isa) {
  if (mi_kernels_for(isa) == NULL) return NULL;
  switch (isa) {
#if defined(__aarch64__)
    case MI_NEON:
      return has_dot_products() ? &mi_block_products_neon_dot : &mi_block_products_neon;
#endif
#if defined(__x86_64__)
    case MI_AVX512:
      if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("f16c")) {
        return &mi_block_products_avx512;
      }
      return &mi_block_products_avx2;
    case MI_AVX2:
      // A processor with both has them for AVX-512: there this set is the plain one, to compare with.
      if (__builtin_cpu_supports("avxvnni") && !__builtin_cpu_supports("avx512f")) {
        return &mi_block_products_avxvnni;
      }
      return &mi_block_products_avx2;
#endif
    default:
      return &mi_block_products_portable;
  }
}

const mi_bfloat16_products *mi_bfloat16_products_for(mi_isa isa) {
#if defined(__x86_64__)
  if (isa == MI_AVX512 && mi_kernels_for(isa) != NULL && __builtin_cpu_supports("avx512bf16")) {
    return &mi_bfloat16_products_avx512;
  }
#endif
  (void)isa;
  return NULL;
}
