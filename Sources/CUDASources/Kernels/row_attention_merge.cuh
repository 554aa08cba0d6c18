// Merging of the partial results that the splits of attention of a few rows leave in the workspace:
// within the launch that makes them, or in a launch of its own.

#pragma once

#include "row_attention_tile.cuh"

namespace mi {

// MARK: Within the first launch

/// Whether this block is the last of a kv head's to come here; what the others wrote can be read
/// then. Leaves the counter at 0.
__device__ __forceinline__ bool isLastOfHead(unsigned* counter, int splits) {
  __shared__ unsigned before;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    before = atomicAdd(counter, 1u);
    if (before == splits - 1u) *counter = 0;
    __threadfence();
  }
  __syncthreads();
  return before == splits - 1u;
}

/// Combines the partial results of one kv head's packed rows from row `rowBase` on: teams of D / 4 threads take a row each, four
/// elements a thread. The time of this is latency: every block but one is gone, so loads are under
/// way before anything is done with one. `parts`: shared memory for [packed row][split].
template <int D>
__device__ __forceinline__ void combineHead(
    const RowAttentionParameters& a, int rowBase, int packedRows, int kvHead, float2* parts) {
  constexpr int threads = 128, team = D / 4, teams = threads / team, batch = 16;
  const int thread = threadIdx.x;
  const long long count = (long long)a.rows * a.queryHeads;
  auto indexOf = [&](int packed) {
    return (long long)(rowBase + packed / a.groupSize) * a.queryHeads + kvHead * a.groupSize +
        packed % a.groupSize;
  };
  const float4* partials = (const float4*)a.workspace;
  const float2* statistics = (const float2*)(a.workspace + a.splits * count * D);

  const int member = thread % team;
  // Threads that make no whole team take no row.
  int packed = thread / team < teams ? thread / team : packedRows;
  float4 x[batch];
  auto load = [&](int first) {
    const long long index = indexOf(packed);
#pragma unroll
    for (int i = 0; i < batch; i++)
      if (first + i < a.splits)
        x[i] = __ldcg(partials + ((first + i) * count + index) * team + member);
  };
  if (packed < packedRows) load(0);
  for (int i = thread; i < packedRows * a.splits; i += threads)
    parts[i] = __ldcg(statistics + i % a.splits * count + indexOf(i / a.splits));
  __syncthreads();

  for (; packed < packedRows; packed += teams) {
    const float2* own = parts + packed * a.splits;
    if (packed >= teams) load(0);
    float top = -infinity();
    for (int s = 0; s < a.splits; s++) top = fmaxf(top, own[s].x);
    const float reference = top == -infinity() ? 0.0f : top;
    float4 r = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float total = 0.0f;
    for (int first = 0;;) {
#pragma unroll
      for (int i = 0; i < batch; i++) {
        if (first + i >= a.splits) break;
        const float weight = exp2Approximate(own[first + i].x - reference);
        total += weight * own[first + i].y;
        r.x += weight * x[i].x, r.y += weight * x[i].y, r.z += weight * x[i].z,
            r.w += weight * x[i].w;
      }
      first += batch;
      if (first >= a.splits) break;
      load(first);
    }
    const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
    const int row = rowBase + packed / a.groupSize, head = kvHead * a.groupSize + packed % a.groupSize;
    *(uint2*)(a.o + (long long)row * a.oStride + head * D + 4 * member) = make_uint2(
        toBF16Pair(r.x * inverse, r.y * inverse), toBF16Pair(r.z * inverse, r.w * inverse));
    if (member == 0 && a.logSumExp != nullptr)
      a.logSumExp[indexOf(packed)] =
          total > 0.0f ? (top + log2Approximate(total)) * ln2 : -infinity();
  }
}

// MARK: In a launch of its own

/// One block a (row, head). Teams of D / 4 threads, four elements each, share out the splits; a
/// thread's loads are all under way before it uses one, because the time of this launch is latency.
template <int D>
struct Combine {
  static constexpr int threads = 256;
  static constexpr int team = D / 4;
  static constexpr int teams = threads / team;
  static constexpr int batch = 8;
};

template <int D>
__device__ __forceinline__ void combineRows(const RowAttentionParameters& a) {
  using C = Combine<D>;
  const int lane = threadIdx.x & 31, team = threadIdx.x / C::team, member = threadIdx.x % C::team;
  const long long index = blockIdx.x, count = (long long)a.rows * a.queryHeads;
  const float4* partials = (const float4*)a.workspace;
  const float2* statistics = (const float2*)(a.workspace + a.splits * count * D);

  float o[4] = {0.0f, 0.0f, 0.0f, 0.0f}, sum = 0.0f, top = -infinity();
  float4 x[C::batch];
  float2 part[C::batch];
  auto load = [&](int first) {
#pragma unroll
    for (int i = 0; i < C::batch; i++) {
      const int s = first + i * C::teams;
      const bool valid = team < C::teams && s < a.splits;
      part[i] = valid ? statistics[s * count + index] : make_float2(-infinity(), 0.0f);
      x[i] = valid ? partials[(s * count + index) * C::team + member]
                   : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
  };
  load(team);
  for (int s = lane; s < a.splits; s += warpSize) top = fmaxf(top, statistics[s * count + index].x);
  top = warpMaximum(top);
  const float reference = top == -infinity() ? 0.0f : top;
  for (int first = team;;) {
#pragma unroll
    for (int i = 0; i < C::batch; i++) {
      const float weight = exp2Approximate(part[i].x - reference);
      sum += weight * part[i].y;
      o[0] += weight * x[i].x, o[1] += weight * x[i].y, o[2] += weight * x[i].z,
          o[3] += weight * x[i].w;
    }
    first += C::batch * C::teams;
    if (first >= a.splits) break;
    load(first);
  }
  __shared__ float4 parts[C::teams][C::team];
  __shared__ float sums[C::teams];
  if (team < C::teams) {
    parts[team][member] = make_float4(o[0], o[1], o[2], o[3]);
    if (member == 0) sums[team] = sum;
  }
  __syncthreads();
  const int d = threadIdx.x;
  if (d < D) {
    float value = 0.0f, total = 0.0f;
#pragma unroll
    for (int i = 0; i < C::teams; i++) {
      value += ((const float*)parts[i])[d];
      total += sums[i];
    }
    const int row = (int)(index / a.queryHeads), head = (int)(index % a.queryHeads);
    a.o[(long long)row * a.oStride + head * D + d] = toBF16(total > 0.0f ? value / total : 0.0f);
    if (d == 0 && a.logSumExp != nullptr)
      a.logSumExp[index] = total > 0.0f ? (top + log2Approximate(total)) * ln2 : -infinity();
  }
}

}  // namespace mi
