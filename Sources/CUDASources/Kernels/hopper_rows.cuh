// The 64 rows of a consumer warpgroup of the Hopper attention kernel: masks before the softmax,
// output after it.

#pragma once

#include "hopper_plan.cuh"
#include "hopper_quads.cuh"

namespace mi {

/// A half's rows: what one consumer warpgroup holds between stages.
template <int headDim>
struct Rows {
  float s[64];             // scores, then weights, of 64 x 128 keys
  float o[headDim / 2];    // output before division
  unsigned p[32];          // weights as A fragments
  float shift[2], sum[2];  // of rows g and g + 8: what exponents are relative to (log2; -infinity:
                           // no key yet); this thread's sum
};

/// Runs products whose sums are `c`, with nothing beside them.
template <int n, typename Products>
__device__ __forceinline__ void runProducts(float (&c)[n], Products products) {
  pin(c);
  productsBegin();
  products();
  productsCommit();
  productsWait<0>();
  pin(c);
}

/// Bits 0..<n of 64.
__device__ __forceinline__ unsigned long long lowBits(int n) {
  return n <= 0 ? 0ull : n >= 64 ? ~0ull : (1ull << n) - 1;
}

/// Writes -infinity to the scores (or 0 to the `weights`) of one block of 64 keys that its rows do
/// not see. The block's 32 numbers begin at `base`.
template <int base, bool partials, bool weights, int headDim>
__device__ __forceinline__ void maskBlock(
    Rows<headDim>& r, const Stage& stage, int block, int half, const AttentionParameters& a) {
  const int lane = threadIdx.x & 31, q = 2 * (lane & 3);
  const int firstRow = stage.row[half] + (threadIdx.x >> 5 & 3) * 16 + (lane >> 2);
  const int position = stage.position[block];
  const bool partial = partials && (stage.partial >> (Stage::blockShift * block + half) & 1);
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int row = firstRow + 8 * j;
    // Without a branch: the products around this are easily serialised.
    const bool tile = position < columnBlock;
    const int last = tile ? row - position : 63, first = tile ? last - a.window + 1 : 0;
    unsigned long long seen =
        (unsigned long long)stage.mask[block][half][1] << 32 | stage.mask[block][half][0];
    seen &= lowBits(last + 1) & ~lowBits(first);
    if (partial) {
      const int* columns = a.heads[stage.head[0]].columns + (position - columnBlock);
      for (int b = 0; b < 64; b += 8)
        for (int e = 0; e < 2; ++e)
          if ((seen >> (b + q + e) & 1) && row - columns[b + q + e] >= a.window)
            seen &= ~(1ull << (b + q + e));
    }
    seen >>= q;
    const unsigned words[2] = {(unsigned)seen, (unsigned)(seen >> 32)};
#pragma unroll
    for (int b = 0; b < 8; ++b)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (!(words[b >> 2] >> (8 * (b & 3) + e) & 1))
          r.s[base + 4 * b + 2 * j + e] = weights ? 0.0f : -infinity();
  }
}

/// Divides, and writes the rows of the chunk and their log-sum-exp. `firstRow` is the position of
/// the half's first row.
template <int headDim>
__device__ __forceinline__ void store(
    Rows<headDim>& r, const AttentionParameters& a, int firstRow, int head) {
  const int lane = threadIdx.x & 31, q = lane & 3;
  float scale[2];
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const float sum = quadSum(r.sum[j]);
    scale[j] = sum > 0.0f ? 1.0f / sum : 0.0f;
    const int row = firstRow + (threadIdx.x >> 5 & 3) * 16 + (lane >> 2) + 8 * j - a.firstPosition;
    const bool inside = row >= 0 && row < a.rows;
    if (inside && q == 0 && a.logSumExp)
      a.logSumExp[(long long)row * a.queryHeads + head] =
          sum > 0.0f ? (r.shift[j] + log2Approximate(sum)) * ln2 : -infinity();
    bf16* to = a.o + (long long)row * a.oStride + (long long)head * headDim;
    // Four threads hold a row, two columns of every eight; after the exchange each holds eight
    // columns that lie together.
#pragma unroll
    for (int group = 0; group < headDim / 32; ++group) {
      unsigned x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int b = 4 * (4 * group + i) + 2 * j;
        x[i] = toBF16Pair(r.o[b] * scale[j], r.o[b + 1] * scale[j]);
      }
      transposeQuad(x);
      if (inside) *(uint4*)(to + 32 * group + 8 * q) = make_uint4(x[0], x[1], x[2], x[3]);
    }
  }
}

}  // namespace mi
