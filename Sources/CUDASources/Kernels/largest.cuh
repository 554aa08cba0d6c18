// The k-th largest of many scores, by radix selection within one block.
//
// The rule is that of LargestScores.swift: scores that are not numbers come last; with T the k-th
// largest, all scores above T + 5e-6 are taken, and those within 5e-6 of T fill the remaining places,
// lowest index first.
#ifndef MI_LARGEST_CUH
#define MI_LARGEST_CUH

#include "reductions.cuh"

namespace mi {

/// A score's bits as an unsigned integer in the order of the floats; NaN as -infinity.
__device__ __forceinline__ unsigned orderedBits(float score) {
  const unsigned bits = score != score ? 0xFF800000u : __float_as_uint(score);
  return bits >> 31 == 0 ? bits | 0x80000000u : ~bits;
}

__device__ __forceinline__ float scoreOfOrderedBits(unsigned bits) {
  return __uint_as_float(bits >> 31 == 1 ? bits & 0x7FFFFFFFu : ~bits);
}

/// Ordered bits with an id, so that of equal scores the lower id comes above.
__device__ __forceinline__ unsigned long long rankOfBits(unsigned bits, int id) {
  return (unsigned long long)bits << 32 | (unsigned)~id;
}

/// The same of a score; -0 and 0 are one.
__device__ __forceinline__ unsigned long long rankOf(float score, int id) {
  return rankOfBits(orderedBits(score + 0.0f), id);
}

__device__ __forceinline__ int idOfRank(unsigned long long rank) { return (int)~(unsigned)rank; }

/// Counters of radix selection: digits of 11, 11 and 10 bits. Copies keep lanes that count the same
/// digit (most scores are tiny) from waiting for one another.
template <int copies>
struct DigitCounts {
  static constexpr int digits = 2048;
  int counts[copies][digits + 4];
  int sums[32];
  int digit, rank;
};

/// This thread's share of `count` scores; -0 counts as 0.
struct StridedScores {
  const float* scores;
  int count;

  template <typename Visit>
  __device__ __forceinline__ void operator()(Visit visit) const {
    for (int i = threadIdx.x; i < count; i += blockDim.x) visit(scores[i] + 0.0f);
  }
};

/// The k-th largest, as ordered bits; k in 1 ... the number of scores. All threads of the block call
/// it. forEach(visit) calls visit(score) for this thread's share of the scores, the same each time.
template <int copies, typename ForEach>
__device__ __forceinline__ unsigned kthLargest(
    int k, DigitCounts<copies>& shared, ForEach forEach) {
  typedef DigitCounts<copies> Counts;
  unsigned prefix = 0;
  int unresolved = 32;
#pragma unroll 1
  for (int step = 0; step < 3; ++step) {
    const int width = step < 2 ? 11 : 10;
    const int shift = unresolved - width;
    for (int i = threadIdx.x; i < Counts::digits; i += blockDim.x) {
#pragma unroll
      for (int copy = 0; copy < copies; ++copy) shared.counts[copy][i] = 0;
    }
    __syncthreads();
    int* counts = shared.counts[threadIdx.x % copies];
    const unsigned mask = (1u << width) - 1;
    if (step == 0) {
      forEach([&](float score) { atomicAdd(counts + (orderedBits(score) >> shift), 1); });
    } else {
      forEach([&](float score) {
        const unsigned bits = orderedBits(score);
        if (bits >> unresolved == prefix) atomicAdd(counts + (bits >> shift & mask), 1);
      });
    }
    __syncthreads();
    // Thread 0 holds the highest digits, so that sums before a thread are counts of higher digits.
    const int share = Counts::digits / blockDim.x;
    const int top = Counts::digits - 1 - threadIdx.x * share;
    int own = 0;
    for (int i = 0; i < share; ++i) {
#pragma unroll
      for (int copy = 0; copy < copies; ++copy) own += shared.counts[copy][top - i];
    }
    int higher = blockExclusiveSum(own, shared.sums);
    if (higher < k && k <= higher + own) {
      for (int i = 0; i < share; ++i) {
        int count = 0;
#pragma unroll
        for (int copy = 0; copy < copies; ++copy) count += shared.counts[copy][top - i];
        if (higher + count >= k) {
          shared.digit = top - i;
          shared.rank = k - higher;
          break;
        }
        higher += count;
      }
    }
    __syncthreads();
    prefix = prefix << width | (unsigned)shared.digit;
    k = shared.rank;
    unresolved = shift;
  }
  return prefix;
}

/// Bounds of the tie around a cut T, as floats: score >= above exactly if score > T + 5e-6, and
/// score >= below exactly if score >= T - 5e-6, both evaluated in double. NaN scores must be made
/// -infinity before they are compared.
struct TieBounds {
  float above, below;
};

__device__ __forceinline__ float nextUp(float x) {
  const int bits = __float_as_int(x);
  if (x == 0) return __int_as_float(1);
  return __int_as_float(bits > 0 ? bits + 1 : bits - 1);
}

__device__ __forceinline__ TieBounds tieBounds(float cut) {
  const double above = (double)cut + 5e-6;
  const double below = (double)cut - 5e-6;
  // The float at or below a bound and the next one enclose it. After infinity comes NaN, which no score
  // reaches.
  const TieBounds bounds = {nextUp(__double2float_rd(above)), __double2float_ru(below)};
  return bounds;
}

__device__ __forceinline__ float comparable(float score) {
  return score != score ? -infinity() : score;
}

}  // namespace mi

#endif
