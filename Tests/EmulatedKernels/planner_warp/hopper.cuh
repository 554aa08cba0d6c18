// Stands in for the kernels' hopper.cuh on the CPU: a warp is 32 threads that meet at every exchange; a transaction barrier never
// blocks, and arriving at one calls `onArrive`.
#pragma once

#include <barrier>

#define __device__
#define __forceinline__ inline
#include "common.cuh"

struct alignas(64) TensorMap {
  unsigned long long opaque[16];
};

struct ThreadIndex {
  int x;
};
inline thread_local ThreadIndex threadIdx;
inline std::barrier<> warpMeets(32);
inline long long exchanged[32];

template <typename T> T __shfl_sync(unsigned, T value, int from) {
  exchanged[threadIdx.x & 31] = (long long)value;
  warpMeets.arrive_and_wait();
  const T result = (T)exchanged[from & 31];
  warpMeets.arrive_and_wait();
  return result;
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  exchanged[threadIdx.x & 31] = vote;
  warpMeets.arrive_and_wait();
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) result |= (unsigned)(exchanged[i] != 0) << i;
  warpMeets.arrive_and_wait();
  return result;
}
inline bool __any_sync(unsigned mask, bool vote) { return __ballot_sync(mask, vote) != 0; }
inline int __ffs(unsigned x) { return __builtin_ffs((int)x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }

namespace mi {
inline void (*onArrive)(unsigned barrier);
inline void barrierWait(unsigned, unsigned) {}
inline void barrierArrive(unsigned barrier) { onArrive(barrier); }
}  // namespace mi
