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

// Sum over a block of 256 threads, in thread 0. `shared`: eight elements, free for use.
static __device__ __forceinline__ double scoringSum(double value, double* shared) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(allLanes, value, step);
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = value;
  __syncthreads();
  double total = shared[0];
  for (int warp = 1; warp < 8; ++warp) total += shared[warp];
  __syncthreads();
  return total;
}

// The largest number over a block of 256 threads, in every thread; NaN does not count. `shared` likewise.
static __device__ __forceinline__ float scoringMaximum(float value, float* shared) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    value = fmaxf(value, __shfl_xor_sync(allLanes, value, step));
  }
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = value;
  __syncthreads();
  float largest = shared[0];
  for (int warp = 1; warp < 8; ++warp) largest = fmaxf(largest, shared[warp]);
  __syncthreads();
  return largest;
}

// For each row r: divergences[r] = sum over ids of p (ln p - ln q), p = softmax(reference[r]), q = softmax(logits[r]); at least
// 0; NaN for a row with NaN or positive infinity. The sums are in fp64: the divergence of near rows is small beside its terms.
// logits, reference: [rows][vocabulary] fp32. Grid: rows. Block: 256. Parameters: logits, reference, divergences,
// int vocabulary.
extern "C" __global__ void __launch_bounds__(256) diverge_rows(
    const float* logits, const float* reference, float* divergences, int vocabulary) {
  __shared__ float maxima[8];
  __shared__ double sums[8];
  const float* q = logits + (long long)blockIdx.x * vocabulary;
  const float* p = reference + (long long)blockIdx.x * vocabulary;
  float largestQ = q[0], largestP = p[0];
  for (int i = threadIdx.x; i < vocabulary; i += 256) {
    largestQ = fmaxf(largestQ, q[i]);
    largestP = fmaxf(largestP, p[i]);
  }
  largestQ = scoringMaximum(largestQ, maxima);
  largestP = scoringMaximum(largestP, maxima);
  double sumQ = 0.0, sumP = 0.0, weighted = 0.0;
  for (int i = threadIdx.x; i < vocabulary; i += 256) {
    const float x = p[i] - largestP, y = q[i] - largestQ;
    const float weight = expf(x);
    sumP += weight;
    sumQ += expf(y);
    if (weight != 0.0f) weighted += weight * (x - y);
  }
  sumQ = scoringSum(sumQ, sums);
  sumP = scoringSum(sumP, sums);
  weighted = scoringSum(weighted, sums);
  if (threadIdx.x > 0) return;
  const double divergence = weighted / sumP + log(sumQ) - log(sumP);
  divergences[blockIdx.x] = divergence < 0.0 ? 0.0f : (float)divergence;
}
