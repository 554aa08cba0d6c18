// Stands in for the kernels' common.cuh on the CPU, with what products with experts need beside the rest: asynchronous copies,
// fragments and tensor core steps.
#pragma once

#include "fibers.cuh"

#define __grid_constant__

struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) float2 {
  float x, y;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline unsigned __ballot_sync(unsigned, bool vote) {
  unsigned result = 0;
  for (int lane = 0; lane < 32; ++lane) result |= (unsigned)emulated::exchange((int)vote, lane) << lane;
  return result;
}
inline int __ffs(unsigned x) { return __builtin_ffs((int)x); }
inline float __expf(float x) { return expf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline void __trap() {
  printf("a trap\n");
  exit(1);
}

namespace emulated {
/// A block's dynamic shared memory.
alignas(1024) inline unsigned char memory[13 * 128 * 128];
struct Fragments {
  unsigned a[4], b[2];
};
inline Fragments fragments[1024];
inline float bf16(unsigned bits) { return __uint_as_float(bits << 16); }
}  // namespace emulated

namespace mi {

inline float toFloat(::bf16 x) { return __uint_as_float((unsigned)x << 16); }
inline float lowFloat(unsigned pair) { return __uint_as_float(pair << 16); }
inline float highFloat(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }
inline unsigned roundedBF16(float x) {
  const unsigned bits = __float_as_uint(x);
  return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
inline unsigned toBF16Pair(float low, float high) { return roundedBF16(low) | roundedBF16(high) << 16; }
inline float fp8ToFloat(unsigned bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  const float size = exponent ? ldexpf(1 + fraction / 8.f, exponent - 7) : ldexpf(fraction / 8.f, -6);
  return bits & 0x80 ? -size : size;
}
inline unsigned fp8HighBytesToBF16Pair(unsigned x) {
  return toBF16Pair(fp8ToFloat(x >> 8 & 255), fp8ToFloat(x >> 24));
}
inline float warpMaximum(float x) {
  for (int m = 16; m > 0; m >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, m));
  return x;
}

inline unsigned sharedAddress(const void* p) { return (unsigned)((const unsigned char*)p - emulated::memory); }
inline void copyAsync16(unsigned shared, const void* global, bool valid) {
  if (shared % 16 || (uintptr_t)global % 16 || shared + 16 > sizeof emulated::memory) {
    printf("a copy of sixteen bytes that are not aligned, or beyond shared memory\n");
    exit(1);
  }
  if (valid) memcpy(emulated::memory + shared, global, 16);
  else memset(emulated::memory + shared, 0, 16);
}
inline void copyAsyncCommit() {}
template <int pending> void copyAsyncWait() {}

inline void loadMatrix4(unsigned (&r)[4], unsigned shared) {
  const int lane = threadIdx.x & 31;
  for (int i = 0; i < 4; ++i) {
    const unsigned row = emulated::exchange(shared, 8 * i + lane / 4);
    memcpy(&r[i], emulated::memory + row + 4 * (lane % 4), 4);
  }
}

/// c += a * b of m16n8k16, from the fragments of a warp's threads.
inline void multiplyAdd(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const int lane = threadIdx.x & 31, first = threadIdx.x - lane;
  emulated::fragments[threadIdx.x] = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  emulated::exchange(0, 0);
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
    for (int k = 0; k < 16; ++k) {
      const unsigned pairA = emulated::fragments[first + row % 8 * 4 + k % 8 / 2].a[row / 8 + 2 * (k / 8)];
      const unsigned pairB = emulated::fragments[first + column * 4 + k % 8 / 2].b[k / 8];
      c[i] += emulated::bf16(pairA >> 16 * (k % 2) & 0xffff) * emulated::bf16(pairB >> 16 * (k % 2) & 0xffff);
    }
  }
  emulated::exchange(0, 0);
}

}  // namespace mi
