// Stands in for the kernels' numbers.cuh on the CPU.
#pragma once

#include <cstdint>

#include "common.cuh"

namespace mi {

inline float halfToFloat(unsigned bits) {
  const float sign = bits & 0x8000 ? -1.f : 1.f;
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 0) return sign * ldexpf((float)fraction, -24);
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  return sign * ldexpf((float)(1024 + fraction), exponent - 25);
}

inline void unpackFp16(unsigned packed, float& low, float& high) {
  low = halfToFloat(packed & 0xFFFF);
  high = halfToFloat(packed >> 16);
}

inline float warpSum(float x) {
  for (int m = 16; m > 0; m >>= 1) x += __shfl_xor_sync(0xffffffffu, x, m);
  return x;
}

struct AsBf16 {
  static float load(const bf16* source) { return __uint_as_float((unsigned)*source << 16); }
  static void store(bf16* target, float value) {
    const unsigned bits = __float_as_uint(value);
    *target = (bf16)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
  }
  static void load8(const bf16* source, float (&values)[8]) {
    if ((uintptr_t)source % 16) {
      printf("a load of sixteen bytes that are not aligned\n");
      exit(1);
    }
    for (int i = 0; i < 8; ++i) values[i] = load(source + i);
  }
  static void store8(bf16* target, const float (&values)[8]) {
    if ((uintptr_t)target % 16) {
      printf("a store of sixteen bytes that are not aligned\n");
      exit(1);
    }
    for (int i = 0; i < 8; ++i) store(target + i, values[i]);
  }
};

}  // namespace mi
