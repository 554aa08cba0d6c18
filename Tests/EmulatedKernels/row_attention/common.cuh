// Stands in for the kernels' common.cuh on the CPU: the emulation of the Hopper kernel's block, and what attention of few rows uses
// besides. Copies are done when they are given, and waiting for them does nothing.
#pragma once

#include "block.cuh"

#undef __shared__
#define __shared__ static
#define __align__(bytes)

typedef unsigned char fp8;
struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};
struct uint2 {
  unsigned x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
template <typename T> T __ldcg(const T* from) { return *from; }
inline void __threadfence() {}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
template <typename Choose> int reduced(int value, Choose choose) {
  const long long* all = emulated::exchange(value);
  for (int i = 0; i < 32; ++i) value = choose(value, (int)all[emulated::current / 32 * 32 + i]);
  return value;
}
inline int __reduce_min_sync(unsigned, int value) {
  return reduced(value, [](int a, int b) { return a < b ? a : b; });
}
inline int __reduce_max_sync(unsigned, int value) {
  return reduced(value, [](int a, int b) { return a > b ? a : b; });
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const unsigned long long bytes = (unsigned long long)b << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= (unsigned)(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}

namespace mi {

constexpr int warpSize = 32;
inline float lowFloat(unsigned pair) { return __uint_as_float(pair << 16); }
inline float highFloat(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }
inline float warpMaximum(float x) {
  for (int m = 16; m > 0; m >>= 1) x = fmaxf(x, __shfl_xor_sync(0, x, m));
  return x;
}

inline float halfToFloat(unsigned bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float size = exponent == 0 ? std::ldexp((float)fraction, -24) : std::ldexp((float)(1024 + fraction), exponent - 25);
  return bits & 0x8000 ? -size : size;
}
/// Nearest, ties to even; magnitudes below 65520.
inline unsigned floatToHalf(float x) {
  const unsigned sign = std::signbit(x) ? 0x8000 : 0;
  int exponent;
  std::frexp(x, &exponent);
  if (x == 0 || exponent < -13) return sign | (unsigned)std::nearbyint(std::ldexp(std::fabs(x), 24));
  const unsigned digits = (unsigned)std::nearbyint(std::ldexp(std::fabs(x), 11 - exponent));  // 1024 ... 2048
  return sign | ((unsigned)(exponent + 13) << 10) + digits;
}
inline unsigned toF16Pair(float low, float high) { return floatToHalf(high) << 16 | floatToHalf(low); }
inline float fp8ToFloat(unsigned bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  const float size = exponent == 0 ? std::ldexp((float)fraction, -9) : std::ldexp((float)(8 + fraction), exponent - 10);
  return bits & 0x80 ? -size : size;
}
inline void fp8ToF16Pairs(unsigned x, unsigned& low, unsigned& high) {
  low = toF16Pair(fp8ToFloat(x & 255), fp8ToFloat(x >> 8 & 255));
  high = toF16Pair(fp8ToFloat(x >> 16 & 255), fp8ToFloat(x >> 24));
}

inline void copyAsync16(unsigned shared, const void* global, bool valid = true) {
  if (valid) {
    memcpy(at(shared), global, 16);
  } else {
    memset(at(shared), 0, 16);
  }
}
inline void copyAsyncCommit() {}
template <int pending> void copyAsyncWait() {}

inline void loadMatrix4(unsigned (&r)[4], unsigned shared) {
  const int lane = emulated::current & 31;
  for (int i = 0; i < 4; ++i) {
    const unsigned row = emulated::shuffle(shared, 8 * i + (lane >> 2));
    memcpy(&r[i], at(row) + 4 * (lane & 3), 4);
  }
}
inline void loadMatrix4Transposed(unsigned (&r)[4], unsigned shared) {
  const int lane = emulated::current & 31;
  for (int i = 0; i < 4; ++i) {
    unsigned short pair[2];
    for (int j = 0; j < 2; ++j) {
      const unsigned row = emulated::shuffle(shared, 8 * i + 2 * (lane & 3) + j);
      memcpy(&pair[j], at(row) + 2 * (lane >> 2), 2);
    }
    r[i] = (unsigned)pair[1] << 16 | pair[0];
  }
}
inline void multiplyAddF16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const int lane = emulated::current & 31, g = lane >> 2, q = lane & 3;
  unsigned x[2][8], y[2][8];
  for (int i = 0; i < 4; ++i)
    for (int t = 0; t < 4; ++t) x[i & 1][(i >> 1) * 4 + t] = emulated::shuffle(a[i], 4 * g + t);
  for (int j = 0; j < 2; ++j)
    for (int t = 0; t < 4; ++t) {
      y[j][t] = emulated::shuffle(b0, 4 * (2 * q + j) + t);
      y[j][4 + t] = emulated::shuffle(b1, 4 * (2 * q + j) + t);
    }
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      for (int t = 0; t < 8; ++t)
        c[2 * i + j] += halfToFloat(x[i][t] & 0xffff) * halfToFloat(y[j][t] & 0xffff) + halfToFloat(x[i][t] >> 16) * halfToFloat(y[j][t] >> 16);
}

}  // namespace mi
