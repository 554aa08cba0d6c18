// Choosing the next token from fp32 logits where no chance is involved: the largest.

#include "largest.cuh"

using namespace mi;

namespace {

struct Sampling {
  static constexpr int threads = 1024;
};

/// Orders logits, equal ones by the lower id.
__device__ __forceinline__ unsigned long long rank(float logit, int id) {
  // -0 and 0 are one logit.
  return (unsigned long long)orderedBits(logit + 0.0f) << 32 | (unsigned)~id;
}

}  // namespace

// ids[r] = the id of the largest logit of row r, the lowest of several; -1 for a row that a sampler refuses:
// with NaN or infinity in it, or with nothing above -infinity. logits: [rows][vocabulary] fp32 with a row
// stride. Grid: rows. Block: 1024. Parameters: logits, ids, int vocabulary, long long stride.
extern "C" __global__ void __launch_bounds__(1024) argmax(
    const float* logits, int* ids, int vocabulary, long long stride) {
  __shared__ unsigned long long largest[32];
  logits += blockIdx.x * stride;
  unsigned long long best = 0;
  int refused = 0;
  for (int i = threadIdx.x; i < vocabulary; i += Sampling::threads) {
    const float logit = logits[i];
    if (!(logit < infinity())) refused = 1;
    best = max(best, rank(logit, i));
  }
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    best = max(best, __shfl_xor_sync(allLanes, best, step));
  }
  if ((threadIdx.x & 31) == 0) largest[threadIdx.x >> 5] = best;
  refused = __syncthreads_or(refused);
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < Sampling::threads / 32; ++warp) best = max(best, largest[warp]);
    if (best >> 32 <= orderedBits(-infinity())) refused = 1;
    ids[blockIdx.x] = refused ? -1 : (int)~(unsigned)best;
  }
}
