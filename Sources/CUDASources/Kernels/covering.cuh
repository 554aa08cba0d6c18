// How many of the largest masses hold a share of all of it, by radix selection within one block.
//
// The rule is that of LargestScores.swift: masses are rounded to whole numbers, so that sums are exact and do not depend on
// their order.
#ifndef MI_COVERING_CUH
#define MI_COVERING_CUH

#include "largest.cuh"

namespace mi {

/// A mass as a whole number; those that are no numbers are 0.
__device__ __forceinline__ unsigned wholeMass(float mass, float unit) {
  return mass > 0 ? (unsigned)(fminf(mass * unit, 1073741824.0f) + 0.5f) : 0;
}

/// The number of the largest masses that together are at least `needed`, of those that forEach(visit) visits: this thread's
/// share, the same each time. Their sum is at least `needed`, which is at least 1, and below 2^31. All threads of the block
/// call it.
template <int copies, typename ForEach>
__device__ __forceinline__ int coveringCount(
    unsigned needed, float unit, DigitCounts<copies>& shared, ForEach forEach) {
  typedef DigitCounts<copies> Counts;
  static_assert(copies >= 2, "counts and masses");
  int* const counts = shared.counts[0];
  unsigned* const masses = (unsigned*)shared.counts[1];
  unsigned prefix = 0;
  int unresolved = 31, above = 0;
#pragma unroll 1
  for (int step = 0; step < 3; ++step) {
    const int width = step == 0 ? 11 : 10;
    const int shift = unresolved - width;
    const unsigned mask = (1u << width) - 1;
    for (int i = threadIdx.x; i < Counts::digits; i += blockDim.x) counts[i] = 0, masses[i] = 0;
    __syncthreads();
    // Most masses are tiny and have the lowest digit: those are added up apart.
    int lowCount = 0;
    unsigned lowMass = 0;
    forEach([&](float score) {
      const unsigned mass = wholeMass(score, unit);
      if (mass == 0 || (step > 0 && mass >> unresolved != prefix)) return;
      const unsigned digit = mass >> shift & mask;
      if (digit == 0) {
        ++lowCount;
        lowMass += mass;
      } else {
        atomicAdd(counts + digit, 1);
        atomicAdd(masses + digit, mass);
      }
    });
    lowCount = __reduce_add_sync(allLanes, lowCount);
    lowMass = __reduce_add_sync(allLanes, lowMass);
    if ((threadIdx.x & 31) == 0 && lowCount > 0) {
      atomicAdd(counts, lowCount);
      atomicAdd(masses, lowMass);
    }
    __syncthreads();
    // Thread 0 holds the highest digits, so that sums before a thread are those of higher digits.
    const int share = Counts::digits / blockDim.x;
    const int top = Counts::digits - 1 - threadIdx.x * share;
    int ownCount = 0;
    unsigned ownMass = 0;
    for (int i = 0; i < share; ++i) ownCount += counts[top - i], ownMass += masses[top - i];
    int higher = blockExclusiveSum(ownCount, shared.sums);
    unsigned higherMass = (unsigned)blockExclusiveSum((int)ownMass, shared.sums);
    __syncthreads();
    if (higherMass < needed && needed <= higherMass + ownMass) {
      for (int i = 0; i < share; ++i) {
        const unsigned mass = masses[top - i];
        if (higherMass + mass >= needed) {
          shared.digit = top - i;
          shared.rank = (int)(needed - higherMass);
          shared.sums[0] = higher;
          break;
        }
        higher += counts[top - i];
        higherMass += mass;
      }
    }
    __syncthreads();
    prefix = prefix << width | (unsigned)shared.digit;
    needed = (unsigned)shared.rank;
    above += shared.sums[0];
    unresolved = shift;
    __syncthreads();
  }
  // Equal masses remain, of which the last one may be needed in part.
  return above + (int)((needed + prefix - 1) / prefix);
}

}  // namespace mi

#endif
