// Scores a text from fp32 logits: the most likely token of each row, and the log-probability of the token that followed.

#include "largest.cuh"
#include "reductions.cuh"

using namespace mi;

// For each row r: best[r] = the id of the largest logit (the lowest of several), and logProbabilities[r] = the natural
// logarithm of the probability of id next[r]. A negative next[r] gives 0; a row with NaN gives NaN.
// logits: [rows][vocabulary] fp32. Grid: rows. Block: 256. Parameters: logits, next, best, logProbabilities,
// int vocabulary.
extern "C" __global__ void __launch_bounds__(256) score_rows(
    const float* logits, const int* next, int* best, float* logProbabilities, int vocabulary) {
  __shared__ unsigned long long largest[8];
  __shared__ float sums[8];
  const float* row = logits + (long long)blockIdx.x * vocabulary;
  unsigned long long top = 0;
  for (int i = threadIdx.x; i < vocabulary; i += 256) {
    top = maximum(top, rankOf(row[i], i));
  }
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    top = maximum(top, __shfl_xor_sync(allLanes, top, step));
  }
  if ((threadIdx.x & 31) == 0) largest[threadIdx.x >> 5] = top;
  __syncthreads();
  for (int warp = 0; warp < 8; ++warp) top = maximum(top, largest[warp]);
  const int id = idOfRank(top);
  const float highest = row[id];
  float sum = 0.0f;
  for (int i = threadIdx.x; i < vocabulary; i += 256) sum += expf(row[i] - highest);
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) sum += __shfl_xor_sync(allLanes, sum, step);
  if ((threadIdx.x & 31) == 0) sums[threadIdx.x >> 5] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < 8; ++warp) sum += sums[warp];
  best[blockIdx.x] = id;
  const int wanted = next[blockIdx.x];
  logProbabilities[blockIdx.x] = wanted < 0 ? 0.0f : row[wanted] - highest - logf(sum);
}
