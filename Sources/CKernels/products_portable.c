// Products with matrices in blocks for the instruction set that the build assumes.
#include "tables.h"

#define MI_VL 4
#define MI_NV 2
#define MI_B 1
#define MI_ROWS 2
#define MI_UNSIGNED_BYTES 0
#define MI_NAME "portable"
#define MI_TABLE mi_block_products_portable

#include "templates/vector.h"
#include "templates/byte_vectors.h"

typedef int8_t signed_bytes __attribute__((vector_size(16)));
typedef int16_t products __attribute__((vector_size(32)));
typedef int32_t pairs __attribute__((vector_size(32)));

MI_INLINE vi dot4(vi sum, vi w, vi x, const bool is_signed) {
  (void)is_signed;
  products product = __builtin_convertvector((signed_bytes)w, products)
    * __builtin_convertvector((signed_bytes)x, products);
  pairs both = ((pairs)product << 16 >> 16) + ((pairs)product >> 16);
  return sum + __builtin_shufflevector(both, both, 0, 2, 4, 6)
    + __builtin_shufflevector(both, both, 1, 3, 5, 7);
}

MI_INLINE mi_b16 look_up(mi_b16 table, mi_b16 index) {
  mi_b16 result = index;
  for (int i = 0; i < 16; i++) result[i] = table[index[i] & 15];
  return result;
}

MI_INLINE float half_number(const uint8_t *p) { return element_as_float32(p, MI_FLOAT16, 0); }

MI_INLINE mi_f8 half_numbers(mi_h8 bits) {
  mi_f8 numbers = {};
  for (int i = 0; i < 8; i++) {
    uint16_t half = bits[i];
    numbers[i] = element_as_float32(&half, MI_FLOAT16, 0);
  }
  return numbers;
}

MI_INLINE mi_b32 bits_times_16(uint32_t bits) { return spread_bits(bits) & 16; }

#include "templates/block_products.h"
