// Joining attentions of the same rows over disjoint keys, and adding sinks to their softmax, by their log-sum-exps.

#include "common.cuh"
#include "numbers.cuh"

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

// Attention over keys becomes attention over keys and a sink of its head, whose value is zero: with s = ln(e^sums + e^sink), o =
// e^(sums - s) * o and sums = s. Without keys (log-sum-exp -infinity) o is 0. o: [vectors][headDim] bf16; sums: [vectors] fp32;
// sinks: [heads] fp32; vector v is head v % heads. headDim: a multiple of 8. Grid: ceil(vectors / 8). Block: 256, a warp a vector.
// Parameters: o, sums, sinks, long long vectors, int heads, int headDim.
extern "C" __global__ void __launch_bounds__(256) add_sinks(
    bf16* o, float* sums, const float* sinks, long long vectors, int heads, int headDim) {
  const long long vector = (long long)blockIdx.x * 8 + (threadIdx.x >> 5);
  if (vector >= vectors) return;
  const int lane = threadIdx.x & 31;
  const float keys = sums[vector], sink = sinks[vector % heads];
  const float most = fmaxf(keys, sink);
  const float both = most == -infinity() ? most : most + logf(expf(keys - most) + expf(sink - most));
  const float factor = keys == -infinity() ? 0.0f : expf(keys - both);
  for (int d = lane * 8; d < headDim; d += 32 * 8) {
    float values[8];
    bf16* const place = o + vector * headDim + d;
    AsBf16::load8(place, values);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = factor > 0 ? factor * values[i] : 0.0f;
    AsBf16::store8(place, values);
  }
  __syncwarp();
  if (lane == 0) sums[vector] = both;
}
