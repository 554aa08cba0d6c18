// Stands in for the kernels' common.cuh on the CPU: the fibers of pooling/common.cuh with tensor core steps, copies and reductions of
// a warp besides. Dynamic shared memory is one array, which addresses count from.
#pragma once

#include "fibers.cuh"

alignas(128) inline unsigned char emulatedMemory[1 << 17];

namespace emulated {
/// What each lane gives is there for all of its warp until they meet again.
template <typename T> struct Together {
  static inline T values[1024];
};
template <typename T> const T* gather(const T& value) {
  const int self = threadIdx.x, warp = self / 32;
  Together<T>::values[self] = value;
  meet(warps[warp]);
  return Together<T>::values + 32 * warp;
}
inline void release() { meet(warps[threadIdx.x / 32]); }
}  // namespace emulated

template <typename T> T __reduce_add_sync(unsigned, T value) {
  const T* all = emulated::gather(value);
  T sum = 0;
  for (int i = 0; i < 32; ++i) sum += all[i];
  emulated::release();
  return sum;
}

namespace mi {
constexpr float log2e = 1.4426950408889634f;
inline float toFloat(bf16 x) { return __uint_as_float((unsigned)x << 16); }
inline float exp2Approximate(float x) { return exp2f(x); }
inline float quadMaximum(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
inline float quadSum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
inline float warpMaximum(float x) {
  for (int m = 16; m > 0; m >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, m));
  return x;
}
inline float warpSum(float x) {
  for (int m = 16; m > 0; m >>= 1) x += __shfl_xor_sync(0xffffffffu, x, m);
  return x;
}
inline unsigned sharedAddress(const void* p) { return (unsigned)((const unsigned char*)p - emulatedMemory); }
inline void copyAsync16(unsigned shared, const void* global, bool valid = true) {
  if (valid) memcpy(emulatedMemory + shared, global, 16);
  else memset(emulatedMemory + shared, 0, 16);
}
inline void copyAsyncCommit() {}
template <int> void copyAsyncWait() {}
inline void loadMatrix4(unsigned (&r)[4], unsigned shared) {
  const unsigned* addresses = emulated::gather(shared);
  const int lane = threadIdx.x & 31;
  for (int i = 0; i < 4; ++i) memcpy(&r[i], emulatedMemory + addresses[8 * i + lane / 4] + lane % 4 * 4, 4);
  emulated::release();
}
struct Operands {
  unsigned a[4], b[2];
};
inline void multiplyAdd(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const Operands* all = emulated::gather(Operands{{a[0], a[1], a[2], a[3]}, {b0, b1}});
  const int lane = threadIdx.x & 31, row = lane / 4, column = lane % 4 * 2;
  for (int i = 0; i < 4; ++i) {
    float sum = c[i];
    for (int k = 0; k < 16; ++k) {
      const Operands& left = all[row * 4 + k % 8 / 2];
      const Operands& right = all[(column + i % 2) * 4 + k % 8 / 2];
      const unsigned x = left.a[i / 2 + k / 8 * 2], y = right.b[k / 8];
      sum += toFloat((bf16)(k % 2 ? x >> 16 : x)) * toFloat((bf16)(k % 2 ? y >> 16 : y));
    }
    c[i] = sum;
  }
  emulated::release();
}
}  // namespace mi
