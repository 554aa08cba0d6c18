// Inputs for measuring speed without a trained model: random weights, and queries and keys whose
// attention concentrates on given offsets and columns.
//
// blocks(n) = (n + 255) / 256 blocks of 256 threads; no dynamic shared memory.

#include "common.cuh"

using namespace mi;

namespace {

/// 32 well-mixed bits of a counter (the finaliser of SplitMix64).
__device__ __forceinline__ unsigned mixed(unsigned long long x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return (unsigned)((x ^ (x >> 31)) >> 32);
}

/// About normal, deviation 1: the sum of four uniform numbers.
__device__ __forceinline__ float normal(unsigned long long seed, long long i) {
  const unsigned a = mixed(seed + 2 * (unsigned long long)i);
  const unsigned b = mixed(seed + 2 * (unsigned long long)i + 1);
  const float sum = (float)((a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16)) / 65536.0f;
  return (sum - 2.0f) * 1.7320508f;
}

}  // namespace

// x[i] = deviation * a normal number of (seed, i). Grid: blocks(count). Parameters: x bf16, long long
// count, unsigned long long seed, float deviation.
extern "C" __global__ void __launch_bounds__(256) fill_normal(
    bf16* x, long long count, unsigned long long seed, float deviation) {
  const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
  if (i < count) x[i] = toBF16(deviation * normal(seed, i));
}

// q[row][head][d] = magnitude where d is the row's place among the last 64 of its 64 (position - origin
// modulo 64), else 0: row r of the estimate reads dimension r of the keys. Grid: blocks(rows * heads *
// headDim). Parameters: q, int rows, int heads, int headDim, int firstPosition, int origin, float magnitude.
extern "C" __global__ void __launch_bounds__(256) inject_queries(
    bf16* q, int rows, int heads, int headDim, int firstPosition, int origin, float magnitude) {
  const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
  if (i >= (long long)rows * heads * headDim) return;
  const int d = (int)(i % headDim);
  const int row = (int)(i / ((long long)heads * headDim));
  const int place = (firstPosition + row - origin) & 63;
  q[i] = toBF16(d == place ? magnitude : 0.0f);
}

// k[row][head][d], d < 64: the score that query row d of the last 64 (at position keys - 64 + d) shall
// have with this key: offsetScores[head][offset] plus columnScores[head][position], and a little noise;
// 0 for d >= 64. Of a negative offset score the larger one of its magnitude and the column's score stands
// alone. Both tables are [heads][keys] fp32; an offset below zero scores 0. Grid: blocks(rows *
// heads * headDim). Parameters: k, offsetScores, columnScores, int rows, int heads, int headDim,
// int firstPosition, int keys, unsigned long long seed.
extern "C" __global__ void __launch_bounds__(256) inject_keys(
    bf16* k, const float* offsetScores, const float* columnScores, int rows, int heads, int headDim,
    int firstPosition, int keys, unsigned long long seed) {
  const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
  if (i >= (long long)rows * heads * headDim) return;
  const int d = (int)(i % headDim);
  const int head = (int)(i / headDim % heads);
  const int position = firstPosition + (int)(i / ((long long)heads * headDim));
  float score = 0;
  if (d < 64) {
    const int offset = keys - 64 + d - position;
    score = columnScores[(long long)head * keys + position];
    const float own = offset >= 0 ? offsetScores[(long long)head * keys + offset] : 0.0f;
    score = own < 0 ? fmaxf(score, -own) : score + own;
    score += 0.1f * normal(seed, ((long long)position * heads + head) * 64 + d);
  }
  k[i] = toBF16(score);
}
