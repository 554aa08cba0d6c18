// fp8 e4m3: 1 sign, 4 exponent (bias 7) and 3 fraction bits; 448 is the largest; no infinities.
#ifndef MI_FP8_CUH
#define MI_FP8_CUH

#include "numbers.cuh"

namespace mi {

constexpr float largestFp8 = 448.0f;

/// Two fp8 in one half word, the first in the low byte; nearest, ties to even; saturating.
__device__ __forceinline__ unsigned packFp8(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  unsigned short packed;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(high), "f"(low));
  return packed;
#else
  unsigned packed = 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float value = i == 0 ? low : high;
    const unsigned sign = __float_as_uint(value) >> 24 & 0x80u;
    const float magnitude = fabsf(value);
    unsigned bits;
    if (!(magnitude < largestFp8)) {
      bits = magnitude != magnitude ? 0x7Fu : 0x7Eu;
    } else if (magnitude < 0.015625f) {
      // Subnormal: multiples of 2^-9. A result of 8 is the smallest normal number.
      bits = (unsigned)__float2int_rn(magnitude * 512.0f);
    } else {
      const unsigned word = __float_as_uint(magnitude);
      const unsigned rounded = word + 0x7FFFFu + (word >> 20 & 1u);
      bits = min((rounded >> 20) - (120u << 3), 0x7Eu);
    }
    packed |= (sign | bits) << 8 * i;
  }
  return packed;
#endif
}

/// The values of two fp8 in the low half of a word.
__device__ __forceinline__ void unpackFp8(unsigned packed, float& low, float& high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  unsigned halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"((unsigned short)packed));
  unpackFp16(halves, low, high);
#else
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const unsigned byte = packed >> 8 * i & 0xFFu;
    const unsigned exponent = byte >> 3 & 15u;
    const unsigned fraction = byte & 7u;
    float value = exponent == 0 ? (float)fraction * 0.001953125f
                                : __uint_as_float((exponent + 120u) << 23 | fraction << 20);
    if ((byte & 0x7Fu) == 0x7Fu) value = __uint_as_float(0x7FC00000u);
    if (byte & 0x80u) value = -value;
    if (i == 0) low = value;
    else high = value;
  }
#endif
}

}  // namespace mi

#endif
