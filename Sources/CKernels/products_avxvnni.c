// Products with matrices in blocks for AVX-VNNI: processors with VNNI and without AVX-512.
#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define MI_VL 8
#define MI_NV 2
#define MI_B 1
#define MI_ROWS 5
#define MI_UNSIGNED_BYTES 1
#define MI_NAME "avxvnni"
#define MI_TABLE mi_block_products_avxvnni

#pragma clang attribute push(__attribute__((target("avx2,avxvnni,fma,f16c"))), apply_to = function)
#include "templates/vector.h"
#include "templates/byte_vectors.h"
#include "templates/x86_bytes.h"

MI_INLINE vi dot4(vi sum, vi w, vi x, const bool is_signed) {
  (void)is_signed;
  return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)w, (__m256i)x);
}

MI_INLINE mi_b32 bits_times_16(uint32_t bits) { return spread_bits(bits) & 16; }

#include "templates/block_products.h"
#pragma clang attribute pop

#endif
