// Products with matrices in blocks for AVX-512 with VNNI: unsigned by signed bytes, four at a time.
#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define MI_VL 16
#define MI_NV 2
#define MI_B 1
#define MI_ROWS 6
#define MI_UNSIGNED_BYTES 1
#define MI_NAME "avx512vnni"
#define MI_TABLE mi_block_products_avx512

#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c"))), \
  apply_to = function)
#include "templates/vector.h"
#include "templates/byte_vectors.h"

MI_INLINE vi dot4(vi sum, vi w, vi x, const bool is_signed) {
  (void)is_signed;
  return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x);
}

#include "templates/x86_bytes.h"

MI_INLINE mi_b32 bits_times_16(uint32_t bits) {
  return (mi_b32)_mm256_maskz_set1_epi8((__mmask32)bits, 16);
}

#include "templates/block_products.h"
#pragma clang attribute pop

#endif
