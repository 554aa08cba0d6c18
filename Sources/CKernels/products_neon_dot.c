// Products with matrices in blocks for NEON with the dot product instructions of Armv8.2.
#include "tables.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define MI_VL 4
#define MI_NV 2
#define MI_B 1
#define MI_ROWS 6
#define MI_UNSIGNED_BYTES 0
#define MI_NAME "neon dot product"
#define MI_TABLE mi_block_products_neon_dot

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#include "templates/vector.h"
#include "templates/byte_vectors.h"
#include "templates/neon_bytes.h"

MI_INLINE vi dot4(vi sum, vi w, vi x, const bool is_signed) {
  (void)is_signed;
  return (vi)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
}

#include "templates/block_products.h"
#pragma clang attribute pop

#endif
