// Sums and prefix sums over a warp and over a block, beside those of common.cuh.
#ifndef MI_REDUCTIONS_CUH
#define MI_REDUCTIONS_CUH

#include "common.cuh"

namespace mi {

constexpr unsigned allLanes = 0xFFFFFFFFu;

__device__ __forceinline__ long long warpSum(long long value) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(allLanes, value, step);
  return value;
}

__device__ __forceinline__ double warpSum(double value) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(allLanes, value, step);
  return value;
}

/// Sum over the lanes at or before this one.
template <typename T>
__device__ __forceinline__ T warpInclusiveSum(T value) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int step = 1; step < 32; step <<= 1) {
    const T before = __shfl_up_sync(allLanes, value, step);
    if (lane >= step) value += before;
  }
  return value;
}

/// Sum over the block, in every thread. `shared`: one element a warp. All threads call it.
template <typename T>
__device__ __forceinline__ T blockSum(T value, T* shared) {
  value = warpSum(value);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = value;
  __syncthreads();
  T total = shared[0];
  for (int warp = 1; warp < (int)blockDim.x >> 5; ++warp) total += shared[warp];
  return total;
}

/// Sum over the threads before this one. `shared`: one element a warp; blockDim.x <= 1024, a multiple
/// of 32. All threads call it.
template <typename T>
__device__ __forceinline__ T blockExclusiveSum(T value, T* shared) {
  const T inclusive = warpInclusiveSum(value);
  const int warp = threadIdx.x >> 5;
  __syncthreads();
  if ((threadIdx.x & 31) == 31) shared[warp] = inclusive;
  __syncthreads();
  if (warp == 0) {
    const int lane = threadIdx.x & 31;
    const T sum = lane < (int)blockDim.x >> 5 ? shared[lane] : 0;
    const T scanned = warpInclusiveSum(sum);
    if (lane < (int)blockDim.x >> 5) shared[lane] = scanned - sum;
  }
  __syncthreads();
  return shared[warp] + inclusive - value;
}

}  // namespace mi

#endif
