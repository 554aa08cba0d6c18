// Shares of key blocks by means: what the mean of a block of 128 queries makes of the means of blocks of 128 keys.
//
// With query block b and key block c, score(b, c) = scale * mean(q of b) . mean(k of c), c <= b; the share is the softmax
// of b's scores. Rows of scores are left as antidiagonal_scores leaves them, with one group a block: relative to the
// maximum of each tile of 128 key blocks, and the maximum. select_shares goes on from there.
//
// The products are 1 / 32768 of dense attention's, so plain float32 is fast enough and exact enough. Means come from
// mean_blocks (pooling.cu).
//
// Means of smaller groups are bf16, and scored on the tensor cores (antidiagonal.cu).

#include "mean_products.cuh"
#include "numbers.cuh"
#include "shares.cuh"

using namespace mi;

namespace {

static_assert(MeanProducts::keys == scoreTile, "a thread block makes the scores of one tile");

/// Parameters by value; 80 bytes.
struct PooledScoreParameters {
  /// [heads][partBlocks][headDim] fp32: means of the part's query blocks.
  const float* queries;
  /// [kvHeads][keyBlocks][headDim] fp32; those up to the part's last block are read.
  const float* keys;
  /// [slots].
  const ShareHead* heads;
  /// [slots][partBlocks][sumStride] and [slots][partBlocks][maximumStride] fp32, as for ShareParameters.
  float* sums;
  float* maxima;
  /// The number of the part's first query block, and its query blocks.
  int partBlock, partBlocks;
  int keyBlocks, sumStride, maximumStride, headDim, groupSize;
  /// INT_MAX: none.
  int window;
  /// scale * log2(e).
  float scaleLog2;
};
MI_CHECK_LAYOUT(PooledScoreParameters);

/// Maximum over the 16 lanes that hold one row.
__device__ __forceinline__ float rowMaximum(float x) {
#pragma unroll
  for (int lanes = 8; lanes > 0; lanes >>= 1) x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, lanes));
  return x;
}

}  // namespace

// Grid: (tiles of 128 key blocks up to the part's last, tiles of 64 query blocks, slots). Block: 256. No dynamic shared
// memory. Parameters: PooledScoreParameters, by value. headDim: a multiple of 16.
extern "C" __global__ void __launch_bounds__(256) pooled_scores(const PooledScoreParameters p) {
  __shared__ __align__(16) MeanProducts tile;
  const int slot = blockIdx.z;
  const int head = p.heads[slot].head;
  const int firstRow = blockIdx.y * MeanProducts::queries;
  const int firstKey = blockIdx.x * MeanProducts::keys;
  // All key blocks of this tile lie after the last query's own.
  if (firstKey > p.partBlock + firstRow + MeanProducts::queries - 1) return;
  const float* const q = p.queries + (long long)head * p.partBlocks * p.headDim;
  const float* const k = p.keys + (long long)(head / p.groupSize) * p.keyBlocks * p.headDim;
  const int x = threadIdx.x % 16;
  float scores[4][8] = {};
  tile.add(q, firstRow, p.partBlocks, k, firstKey, p.keyBlocks, p.headDim, scores);
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int row = firstRow + MeanProducts::row(r);
    float most = lowestScore;
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      const int distance = p.partBlock + row - (firstKey + MeanProducts::column(c));
      const bool isVisible = distance >= 0 && (long long)distance * shareBlock - (shareBlock - 1) < p.window;
      scores[r][c] = isVisible ? scores[r][c] * p.scaleLog2 : -infinity();
      most = fmaxf(most, scores[r][c]);
    }
    const float maximum = rowMaximum(most);
    if (row >= p.partBlocks) continue;
    const long long at = (long long)slot * p.partBlocks + row;
    float4 low, high;
    low.x = exp2Approximate(scores[r][0] - maximum), low.y = exp2Approximate(scores[r][1] - maximum);
    low.z = exp2Approximate(scores[r][2] - maximum), low.w = exp2Approximate(scores[r][3] - maximum);
    high.x = exp2Approximate(scores[r][4] - maximum), high.y = exp2Approximate(scores[r][5] - maximum);
    high.z = exp2Approximate(scores[r][6] - maximum), high.w = exp2Approximate(scores[r][7] - maximum);
    float* const sums = p.sums + at * p.sumStride + firstKey;
    *(float4*)(sums + 4 * x) = low;
    *(float4*)(sums + 64 + 4 * x) = high;
    if (x == 0) p.maxima[at * p.maximumStride + blockIdx.x] = maximum;
  }
}

// Means of groups, in bf16. Group g, firstGroup <= g < firstGroup + groups, is the positions size * g and on; row r of x
// stands at firstPosition + r, and the mean is over the rows that there are; zeros where there is none. x: element (r, h, d) at
// r * rowStride + h * headStride + d. means: element (g, h, d) at (g - firstGroup) * meanStride + h * meanHeadStride + d.
// Grid: any; a thread takes eight elements at a time. Block: 256. headDim: a multiple of 8.
extern "C" __global__ void __launch_bounds__(256) group_means(
    const bf16* x, bf16* means, int rows, int firstPosition, int headDim, int heads, int size, int firstGroup,
    int groups, long long rowStride, long long headStride, long long meanStride, long long meanHeadStride) {
  const int pieces = headDim / 8;
  const long long all = (long long)groups * heads * pieces;
  for (long long i = (long long)blockIdx.x * 256 + threadIdx.x; i < all; i += (long long)gridDim.x * 256) {
    const int piece = (int)(i % pieces) * 8;
    const int head = (int)(i / pieces % heads);
    const int group = (int)(i / pieces / heads);
    const int start = (firstGroup + group) * size;
    const int from = max(start, firstPosition) - firstPosition;
    const int to = min(start + size, firstPosition + rows) - firstPosition;
    float sum[8] = {};
    const bf16* source = x + from * rowStride + head * headStride + piece;
#pragma unroll 4
    for (int row = from; row < to; ++row, source += rowStride) {
      float values[8];
      AsBf16::load8(source, values);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum[j] += values[j];
    }
    const float factor = to > from ? 1 / (float)(to - from) : 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) sum[j] *= factor;
    AsBf16::store8(means + group * meanStride + head * meanHeadStride + piece, sum);
  }
}
