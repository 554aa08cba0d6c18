// Joining attentions of the same rows over disjoint keys, by their log-sum-exps.

#include "common.cuh"

using namespace mi;

// o = attention over the keys of both, sums likewise: with w = e^(partSums - s) and s = ln(e^sums +
// e^partSums), o = (1 - w) * o + w * part. A side without keys (log-sum-exp -infinity) counts for
// nothing, whatever its output holds. part, o: [vectors][headDim] bf16; sums: [vectors] fp32.
// Grid: ceil(vectors / 8). Block: 256, a warp a vector. Parameters: part, partSums, o, sums,
// long long vectors, int headDim.
extern "C" __global__ void __launch_bounds__(256) merge_attention(
    const bf16* part, const float* partSums, bf16* o, float* sums, long long vectors, int headDim) {
  const long long vector = (long long)blockIdx.x * 8 + (threadIdx.x >> 5);
  if (vector >= vectors) return;
  const int lane = threadIdx.x & 31;
  const float a = sums[vector];
  const float b = partSums[vector];
  if (b == -infinity()) {
    // Without keys on either side there is nothing to show.
    if (a == -infinity())
      for (int d = lane; d < headDim; d += 32) o[vector * headDim + d] = 0;
    return;
  }
  const float most = fmaxf(a, b);
  const float both = most + logf(expf(a - most) + expf(b - most));
  const float keep = expf(a - both);
  const float take = expf(b - both);
  for (int d = lane; d < headDim; d += 32) {
    const long long place = vector * headDim + d;
    const float mine = keep > 0 ? keep * toFloat(o[place]) : 0.0f;
    o[place] = toBF16(mine + take * toFloat(part[place]));
  }
  __syncwarp();
  if (lane == 0) sums[vector] = both;
}
