// Stands in for the kernels' common.cuh on the CPU: the threads of a block are fibers of one thread, which run until they have to
// wait for others; shared memory is poisoned before each block.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared")))
#define __align__(n) __attribute__((aligned(n)))
extern char __start_shared[], __stop_shared[];

typedef unsigned short bf16;
struct Extents {
  unsigned x, y, z;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline Extents threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {
constexpr int stackBytes = 64 << 10;
struct Barrier {
  int wanted = 0, arrived = 0;
  long phase = 0;
};
inline ucontext_t scheduler, contexts[1024];
inline std::unique_ptr<char[]> stacks[1024];
inline bool ended[1024];
inline Barrier block, warps[32];
inline unsigned long long exchanged[1024];
inline const std::function<void()>* body;

inline void release(Barrier& barrier) {
  if (barrier.wanted == 0 || barrier.arrived < barrier.wanted) return;
  barrier.arrived = 0;
  ++barrier.phase;
}
inline void meet(Barrier& barrier) {
  const int self = threadIdx.x;
  const long phase = barrier.phase;
  ++barrier.arrived;
  release(barrier);
  while (barrier.phase == phase) {
    swapcontext(&contexts[self], &scheduler);
    threadIdx.x = self;
  }
}
inline void start() {
  const int self = threadIdx.x;
  (*body)();
  ended[self] = true;
  // Threads that return are not waited for.
  --block.wanted, --warps[self / 32].wanted;
  release(block), release(warps[self / 32]);
  swapcontext(&contexts[self], &scheduler);
}

inline void launch(unsigned x, unsigned y, unsigned z, int threads, const std::function<void()>& work) {
  body = &work;
  gridDim = {x, y, z}, blockDim = {(unsigned)threads, 1, 1};
  for (blockIdx.z = 0; blockIdx.z < z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < x; ++blockIdx.x) {
        memset(__start_shared, 0xff, __stop_shared - __start_shared);
        block = {threads, 0, 0};
        for (int w = 0; w < threads / 32; ++w) warps[w] = {32, 0, 0};
        for (int i = 0; i < threads; ++i) {
          if (!stacks[i]) stacks[i].reset(new char[stackBytes]);
          ended[i] = false;
          getcontext(&contexts[i]);
          contexts[i].uc_stack.ss_sp = stacks[i].get();
          contexts[i].uc_stack.ss_size = stackBytes;
          contexts[i].uc_link = &scheduler;
          makecontext(&contexts[i], start, 0);
        }
        for (bool all = false; !all;) {
          all = true;
          for (int i = 0; i < threads; ++i) {
            if (ended[i]) continue;
            all = false;
            threadIdx = {(unsigned)i, 0, 0};
            swapcontext(&scheduler, &contexts[i]);
          }
        }
      }
}

template <typename T> T exchange(T value, int from) {
  const int self = threadIdx.x, warp = self / 32;
  exchanged[self] = 0;
  memcpy(&exchanged[self], &value, sizeof value);
  meet(warps[warp]);
  T result;
  memcpy(&result, &exchanged[32 * warp + from], sizeof result);
  meet(warps[warp]);
  return result;
}
template <typename To, typename From> To bits(From from) {
  To to;
  static_assert(sizeof to == sizeof from);
  memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace emulated

inline void __syncwarp() { emulated::meet(emulated::warps[threadIdx.x / 32]); }
inline void __syncthreads() { emulated::meet(emulated::block); }
inline int __syncthreads_count(int vote) {
  static int count;
  __syncthreads();
  count = 0;
  __syncthreads();
  count += vote != 0;
  __syncthreads();
  return count;
}
template <typename T> T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulated::exchange(value, (int)(threadIdx.x & 31) ^ mask);
}
template <typename T> T __shfl_up_sync(unsigned, T value, int step) {
  const int lane = threadIdx.x & 31;
  return emulated::exchange(value, lane < step ? lane : lane - step);
}
template <typename T> T __shfl_sync(unsigned, T value, int from) { return emulated::exchange(value, from & 31); }
inline bool __any_sync(unsigned, int vote) {
  for (int mask = 1; mask < 32; mask <<= 1) vote |= __shfl_xor_sync(0xffffffffu, vote, mask);
  return vote != 0;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(unsigned x) { return x ? __builtin_clz(x) : 32; }
inline float __int_as_float(int x) { return emulated::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return emulated::bits<float>(x); }
inline int __float_as_int(float x) { return emulated::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return emulated::bits<unsigned>(x); }
inline float __double2float_rd(double x) {
  const float y = (float)x;
  return (double)y > x ? nextafterf(y, -INFINITY) : y;
}
inline float __double2float_ru(double x) {
  const float y = (float)x;
  return (double)y < x ? nextafterf(y, INFINITY) : y;
}
inline int atomicAdd(int* place, int x) { return std::exchange(*place, *place + x); }
inline unsigned atomicAdd(unsigned* place, unsigned x) { return std::exchange(*place, *place + x); }
inline unsigned atomicOr(unsigned* place, unsigned x) { return std::exchange(*place, *place | x); }
template <typename A, typename B> std::common_type_t<A, B> min(A a, B b) {
  typedef std::common_type_t<A, B> T;
  return (T)b < (T)a ? (T)b : (T)a;
}
template <typename A, typename B> std::common_type_t<A, B> max(A a, B b) {
  typedef std::common_type_t<A, B> T;
  return (T)a < (T)b ? (T)b : (T)a;
}

namespace mi {
inline float infinity() { return INFINITY; }
}  // namespace mi
