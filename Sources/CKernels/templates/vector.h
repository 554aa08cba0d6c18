// Vectors of MI_VL floats, the same source for every instruction set.
//
// The including file defines MI_VL (lanes), MI_NV (vectors of query rows in a register block) and
// MI_B (keys or output columns in a register block); MI_NV * MI_B accumulators stay in registers.

#include <math.h>
#include <string.h>

#include "../include/CKernels.h"

// A sum of products may be fused everywhere; kernels differ in the last bit between instruction sets.
#pragma clang fp contract(fast)

#define MI_INLINE static inline __attribute__((always_inline))
#define MI_UNROLL _Pragma("clang loop unroll(full)")
#define MI_ROLLED _Pragma("clang loop unroll(disable)")

typedef float vf __attribute__((vector_size(MI_VL * 4)));
typedef float vf_unaligned __attribute__((vector_size(MI_VL * 4), aligned(4)));
typedef int32_t vi __attribute__((vector_size(MI_VL * 4)));
typedef int32_t vi_unaligned __attribute__((vector_size(MI_VL * 4), aligned(4)));
typedef uint32_t vu __attribute__((vector_size(MI_VL * 4)));
typedef uint8_t vc_unaligned __attribute__((vector_size(MI_VL), aligned(1)));
typedef uint16_t vh __attribute__((vector_size(MI_VL * 2)));
typedef uint16_t vh_unaligned __attribute__((vector_size(MI_VL * 2), aligned(2)));

// A maximum that no score reaches, and yet finite: a row that has seen no key keeps it.
#define MI_NO_MAXIMUM (-1e30f)
#define MI_LOG2E 1.44269504088896340736f
#define MI_LN2 0.69314718055994530942f

MI_INLINE vf splat(float x) { return x - (vf){}; }
MI_INLINE vi splat_int(int32_t x) { return x - (vi){}; }
MI_INLINE vf load(const float *p) { return *(const vf_unaligned *)p; }
MI_INLINE void store(float *p, vf x) { *(vf_unaligned *)p = x; }

MI_INLINE vf select_lanes(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

// The larger; `b` where a lane of `a` is not a number.
MI_INLINE vf maximum(vf a, vf b) { return select_lanes(a > b, a, b); }

MI_INLINE float sum_lanes(vf x) {
  float sum[MI_VL];
  memcpy(sum, &x, sizeof sum);
  MI_UNROLL
  for (int width = MI_VL / 2; width > 0; width /= 2) {
    MI_UNROLL
    for (int i = 0; i < width; i++) sum[i] += sum[i + width];
  }
  return sum[0];
}

// 2^t for t <= 0 to 2 units in the last place; exactly 0 below 2^-126 (and for -infinity), NaN for
// NaN. 2^f on [-1/2, 1/2] by a minimax polynomial of degree 5 with value 1
// at 0 (relative error 9.2e-8 before rounding).
MI_INLINE vf exp2_nonpositive(vf t) {
  const vf limit = splat(-126.0f);
  const vf magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  vi in_range = ~(t < limit);
  vf clamped = select_lanes(t < limit, limit, t);
  vf shifted = clamped + magic;
  vi exponent = (vi)((vu)shifted << 23);
  vf f = clamped - (shifted - magic);
  vf p = splat(1.3264726e-3f);
  p = p * f + splat(9.6715130e-3f);
  p = p * f + splat(5.5507336e-2f);
  p = p * f + splat(2.4022242e-1f);
  p = p * f + splat(6.9314700e-1f);
  p = p * f + splat(1.0f);
  return (vf)(((vi)p + exponent) & in_range);
}

MI_INLINE vf from_bfloat16(vh x) { return (vf)(__builtin_convertvector(x, vu) << 16); }

// Every half is exact in float32: the exponent is moved by a multiplication, which also normalises
// subnormals; infinities and NaN get the largest exponent back.
MI_INLINE vf from_float16(vh x) {
  vu bits = __builtin_convertvector(x, vu);
  vu sign = (bits & 0x8000u) << 16;
  vu magnitude = (bits & 0x7fffu) << 13;
  vf scaled = (vf)magnitude * splat(0x1p112f);
  vu special = (vu)(magnitude >= (0x7c00u << 13));
  return (vf)(((vu)scaled | (special & 0x7f800000u)) | sign);
}

MI_INLINE vf load_as_float32(const void *base, mi_type type, int64_t index) {
  switch (type) {
    case MI_FLOAT32: return load((const float *)base + index);
    case MI_BFLOAT16: return from_bfloat16(*(const vh_unaligned *)((const uint16_t *)base + index));
    case MI_FLOAT16: return from_float16(*(const vh_unaligned *)((const uint16_t *)base + index));
  }
  return (vf){};
}

// One element, for the ends of rows that no vector fills.
MI_INLINE float element_as_float32(const void *base, mi_type type, int64_t index) {
  if (type == MI_FLOAT32) return ((const float *)base)[index];
  vh one = {((const uint16_t *)base)[index]};
  return type == MI_BFLOAT16 ? from_bfloat16(one)[0] : from_float16(one)[0];
}
