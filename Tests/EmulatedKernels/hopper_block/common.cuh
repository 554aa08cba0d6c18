// Stands in for the kernels' common.cuh on the CPU: fibers are threads, and a warp's exchanges wait for all 32.
#pragma once

#include <cmath>
#include <cstring>

#include "fibers.h"

#define __device__
#define __global__
#define __shared__
#define __grid_constant__
#define __forceinline__ inline
#define __launch_bounds__(...)

typedef unsigned short bf16;
struct Index {
  int x, y, z;
};
struct ThreadIndex {
  struct {
    operator int() const { return emulated::current; }
  } x;
};
inline ThreadIndex threadIdx;
inline Index blockIdx{0, 0, 0}, gridDim{1, 1, 1};
struct uint4 {
  unsigned x, y, z, w;
};
struct int4 {
  int x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emulated {

/// Threads that meet: whoever comes last lets all go on.
struct Meeting {
  int size, arrived = 0;
  long round = 0;
  void arrive() {
    ++progress;
    if (++arrived == size) arrived = 0, ++round;
  }
  void meet() {
    const long mine = round;
    arrive();
    waitUntil([&] { return round != mine; });
  }
};
inline std::vector<Meeting> warps(threads / 32, Meeting{32}), blocks(1, Meeting{threads});
inline long long exchanged[2][threads];
inline int turn[threads];

/// Everyone's value, by thread of the block, once all of the warp have given theirs.
inline const long long* exchange(long long value) {
  long long* values = exchanged[turn[current]++ & 1];
  values[current] = value;
  warps[current / 32].meet();
  return values;
}
template <typename T> T shuffle(T value, int from) {
  long long bits = 0;
  memcpy(&bits, &value, sizeof value);
  const long long* all = exchange(bits);
  T result;
  memcpy(&result, &all[current / 32 * 32 + from], sizeof result);
  return result;
}

}  // namespace emulated

template <typename T> T __shfl_sync(unsigned, T value, int from) { return emulated::shuffle(value, from); }
template <typename T> T __shfl_xor_sync(unsigned, T value, int mask) { return emulated::shuffle(value, (emulated::current & 31) ^ mask); }
inline unsigned __ballot_sync(unsigned, bool vote) {
  const long long* all = emulated::exchange(vote);
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) result |= (unsigned)(all[emulated::current / 32 * 32 + i] != 0) << i;
  return result;
}
inline bool __any_sync(unsigned mask, bool vote) { return __ballot_sync(mask, vote) != 0; }
inline bool __all_sync(unsigned mask, bool vote) { return __ballot_sync(mask, vote) == 0xffffffffu; }
inline void __syncwarp() { emulated::exchange(0); }
inline void __syncthreads() { emulated::blocks[0].meet(); }
inline int __ffs(unsigned x) { return __builtin_ffs((int)x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline unsigned atomicAdd(unsigned* to, unsigned value) {
  const unsigned before = *to;
  *to += value;
  return before;
}

namespace mi {

constexpr float log2e = 1.4426950408889634f, ln2 = 0.6931471805599453f;
inline float infinity() { return INFINITY; }
template <typename T> inline T minimum(T a, T b) { return a < b ? a : b; }
template <typename T> inline T maximum(T a, T b) { return a > b ? a : b; }
inline float toFloat(bf16 x) {
  const unsigned bits = (unsigned)x << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
inline bf16 toBF16(float x) {
  unsigned bits;
  memcpy(&bits, &x, 4);
  if (x != x) return 0x7fff;
  return (bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline unsigned toBF16Pair(float low, float high) { return (unsigned)toBF16(high) << 16 | toBF16(low); }
inline float exp2Approximate(float x) { return std::exp2(x); }
inline float log2Approximate(float x) { return std::log2(x); }
inline float quadMaximum(float x) {
  x = fmaxf(x, __shfl_xor_sync(0, x, 1));
  return fmaxf(x, __shfl_xor_sync(0, x, 2));
}
inline float quadSum(float x) {
  x += __shfl_xor_sync(0, x, 1);
  return x + __shfl_xor_sync(0, x, 2);
}

/// Shared memory, at the addresses from `sharedBase` on.
constexpr unsigned sharedBase = 1 << 10;
alignas(1024) inline unsigned char memory[232448];
inline unsigned sharedAddress(const void* p) { return (unsigned)((const unsigned char*)p - memory) + sharedBase; }
inline unsigned char* at(unsigned shared) {
  if (shared < sharedBase || shared - sharedBase >= sizeof memory) abort();
  return memory + (shared - sharedBase);
}

inline long recomputed = 0;  // products of a warp by itself
inline void multiplyAdd(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  ++recomputed;
  const int lane = emulated::current & 31, g = lane >> 2, q = lane & 3;
  unsigned x[2][8], y[2][8];  // [row or column][pair of elements]
  auto low = [](unsigned pair) { return toFloat((bf16)pair); };
  auto high = [](unsigned pair) { return toFloat((bf16)(pair >> 16)); };
  for (int i = 0; i < 4; ++i)
    for (int t = 0; t < 4; ++t) x[i & 1][(i >> 1) * 4 + t] = emulated::shuffle(a[i], 4 * g + t);
  for (int j = 0; j < 2; ++j)
    for (int t = 0; t < 4; ++t) {
      const int column = 2 * q + j;
      y[j][t] = emulated::shuffle(b0, 4 * column + t);
      y[j][4 + t] = emulated::shuffle(b1, 4 * column + t);
    }
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 2; ++j)
      for (int t = 0; t < 8; ++t) c[2 * i + j] += low(x[i][t]) * low(y[j][t]) + high(x[i][t]) * high(y[j][t]);
}

}  // namespace mi
