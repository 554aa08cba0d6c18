// Choosing the next token from fp32 logits: the largest, or a short list for the host to sample from.

#include "common.cuh"
#include "largest.cuh"

using namespace mi;

namespace {

struct Sampling {
  static constexpr int threads = 1024;
  static constexpr int copies = 3;
  static constexpr int maximumCandidates = 1024;
};

/// Orders logits, equal ones by the lower id.
__device__ __forceinline__ unsigned long long rank(float logit, int id) {
  // -0 and 0 are one logit.
  return (unsigned long long)orderedBits(logit + 0.0f) << 32 | (unsigned)~id;
}

}  // namespace

// ids[r] = the id of the largest logit of row r, the lowest of several; NaN counts as -infinity.
// logits: [rows][vocabulary] fp32 with a row stride. Grid: rows. Block: 1024.
// Parameters: logits, ids, int vocabulary, long long stride.
extern "C" __global__ void __launch_bounds__(1024) argmax(
    const float* logits, int* ids, int vocabulary, long long stride) {
  __shared__ unsigned long long largest[32];
  logits += blockIdx.x * stride;
  unsigned long long best = 0;
  for (int i = threadIdx.x; i < vocabulary; i += Sampling::threads) {
    best = max(best, rank(logits[i], i));
  }
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    best = max(best, __shfl_xor_sync(allLanes, best, step));
  }
  if ((threadIdx.x & 31) == 0) largest[threadIdx.x >> 5] = best;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < Sampling::threads / 32; ++warp) best = max(best, largest[warp]);
    ids[blockIdx.x] = (int)~(unsigned)best;
  }
}

// The `count` largest logits of each row, in descending order, equal ones by ascending id.
// logits: [rows][vocabulary] fp32 with a row stride; ids, values: [rows][count]; 1 <= count <=
// min(1024, vocabulary). NaN counts as -infinity. Grid: rows. Block: 1024. No dynamic shared memory.
// Parameters: logits, ids, values, int vocabulary, int count, long long stride.
extern "C" __global__ void __launch_bounds__(1024) largest_logits(
    const float* logits, int* ids, float* values, int vocabulary, int count, long long stride) {
  __shared__ DigitCounts<Sampling::copies> digits;
  __shared__ unsigned long long candidates[Sampling::maximumCandidates];
  __shared__ int sums[32];
  __shared__ int taken;
  logits += blockIdx.x * stride;
  const int thread = threadIdx.x;
  const StridedScores all = {logits, vocabulary};
  const unsigned cut = kthLargest(count, digits, all);
  candidates[thread] = 0;
  if (thread == 0) taken = 0;
  __syncthreads();
  // Those above the cut in any order, they are sorted below; then equals from the lowest id on.
  for (int i = thread; i < vocabulary; i += Sampling::threads) {
    const float logit = logits[i];
    if (orderedBits(logit + 0.0f) > cut) candidates[atomicAdd(&taken, 1)] = rank(logit, i);
  }
  __syncthreads();
  int filled = taken;
  for (int start = 0; start < vocabulary && filled < count; start += Sampling::threads) {
    const int i = start + thread;
    const float logit = i < vocabulary ? logits[i] : 0;
    const int isEqual = i < vocabulary && orderedBits(logit + 0.0f) == cut;
    const int found = __syncthreads_count(isEqual);
    if (found == 0) continue;
    const int before = blockExclusiveSum(isEqual, sums);
    if (isEqual && filled + before < count) candidates[filled + before] = rank(logit, i);
    filled += found;
  }
  __syncthreads();
  // Bitonic sort, descending; unused places are zero and come last.
  for (int size = 2; size <= Sampling::maximumCandidates; size <<= 1) {
    for (int step = size >> 1; step > 0; step >>= 1) {
      const int other = thread ^ step;
      if (other > thread) {
        const unsigned long long a = candidates[thread], b = candidates[other];
        if ((a < b) == ((thread & size) == 0)) candidates[thread] = b, candidates[other] = a;
      }
      __syncthreads();
    }
  }
  if (thread < count) {
    const int id = (int)~(unsigned)candidates[thread];
    ids[(long long)blockIdx.x * count + thread] = id;
    values[(long long)blockIdx.x * count + thread] = logits[id];
  }
}
