// Products with matrices in blocks for AVX2: pairs of bytes to 16 bits, those to 32.
#include "tables.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define MI_VL 8
#define MI_NV 2
#define MI_B 1
#define MI_ROWS 4
#define MI_UNSIGNED_BYTES 0
#define MI_NAME "avx2"
#define MI_TABLE mi_block_products_avx2

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "templates/vector.h"
#include "templates/byte_vectors.h"
#include "templates/x86_bytes.h"

// No sum of two saturates: bytes of signed formats reach 128, of all others 63, and those of x 127.
MI_INLINE vi dot4(vi sum, vi w, vi x, const bool is_signed) {
  __m256i bytes = (__m256i)w, elements = (__m256i)x;
  if (is_signed) {
    elements = _mm256_sign_epi8(elements, bytes);
    bytes = _mm256_abs_epi8(bytes);
  }
  __m256i pairs = _mm256_maddubs_epi16(bytes, elements);
  return sum + (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

MI_INLINE mi_b32 bits_times_16(uint32_t bits) { return spread_bits(bits) & 16; }

#include "templates/block_products.h"
#pragma clang attribute pop

#endif
