// Products with matrices in blocks for NEON without the dot product instructions.
#include "tables.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define MI_VL 4
#define MI_NV 2
#define MI_B 1
#define MI_ROWS 6
#define MI_UNSIGNED_BYTES 0
#define MI_NAME "neon"
#define MI_TABLE mi_block_products_neon

#include "templates/vector.h"
#include "templates/byte_vectors.h"
#include "templates/neon_bytes.h"

MI_INLINE vi dot4(vi sum, vi w, vi x, const bool is_signed) {
  (void)is_signed;
  int8x16_t bytes = (int8x16_t)w, elements = (int8x16_t)x;
  int16x8_t low = vmull_s8(vget_low_s8(bytes), vget_low_s8(elements));
  int16x8_t high = vmull_high_s8(bytes, elements);
  return sum + (vi)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}

#include "templates/block_products.h"

#endif
