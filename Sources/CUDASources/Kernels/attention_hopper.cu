// Sparse causal attention over a head's plan on Hopper (sm_90a): bulk tensor copies and warpgroup products.
//
// The same function as attention.cu (the plan's kinds, columns, denseFrom, window; o and log-sum-exp), head dimensions 64 and 128.
//
// attention_hopper_d64, attention_hopper_d128
//   (AttentionParameters, HopperParameters, TensorMap queries, keys, values, columnKeys, columnValues), all by value
//   grid   x = multiprocessors (any number works: blocks take work items from a counter), y = z = 1
//   block  x = 384
//   dynamic shared memory, bytes: 116992 (d64), 231680 (d128); CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES has to be set
//   tensor maps: CUtensorMap of bf16, rank 3, element strides 1, no interleave, 128-byte swizzle, 256-byte L2 promotion, zero
//   fill outside; sizes with the innermost first, strides in bytes of the outer two, box
//     queries            {d, queryHeads, rows}          {2 d, 2 qStride}         {64, 1, 64}   at q
//     keys, values       {d, keys, kvHeads}             {2 d, 2 kvHeadStride}    {64, 64, 1}   at k and v
//     columnKeys/Values  {d, maximumColumns, queryHeads} {2 d, 2 d maximumColumns} {64, 64, 1}  at the workspaces below
//   keys of the map is firstPosition + rows: what lies beyond is never read, so it may hold anything
//   without columns in any plan the last two maps are never used (any valid maps)
//   HopperParameters.pairHeads: 0 always works; 1 if groupSize is even and every two neighbouring heads of a group have the same
//   plan: the two warpgroups then are two heads over one tile row and share every tile
//   HopperParameters.counter: one word that is zero before the first launch; every launch leaves it zero. One launch at a time
//
// gather_columns_d64, gather_columns_d128 (AttentionParameters, bf16* columnKeys, bf16* columnValues, int maximumColumns)
//   before the kernel above on the same stream, if any plan has columns
//   grid   x = maximumColumns / 8, y = queryHeads; block x = 256; no shared memory
//   columnKeys, columnValues: workspaces [queryHeads][maximumColumns][d] of bf16, maximumColumns a multiple of 64, at least every
//   plan's columnCount
//
// One thread block a multiprocessor, three warpgroups. The first has a planner warp and a loader warp (hopper_planner.cuh,
// hopper_loader.cuh) and one for queries; the two others each own 64 of a pair's 128 rows (hopper_consumer.cuh).

#include "hopper_consumer.cuh"
#include "hopper_loader.cuh"
#include "hopper_planner.cuh"

namespace mi {

template <int headDim>
__device__ __forceinline__ void attention(const AttentionParameters& a, const HopperParameters& h, const TensorMap& queries,
    const TensorMap& keys, const TensorMap& values, const TensorMap& columnKeys, const TensorMap& columnValues) {
  constexpr int stages = HopperTile::stages, queryBuffers = HopperTile::queryBuffers;
  using Layout = SharedLayout<headDim>;
  extern __shared__ unsigned char memory[];
  const unsigned start = sharedAddress(memory), shared = (start + 1023) & ~1023u;
  Stage* info = (Stage*)(memory + (shared - start) + Layout::info);
  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; ++i) {
      barrierInitialize(shared + Layout::fullKeys + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyKeys + 8 * i, 8);
      barrierInitialize(shared + Layout::fullValues + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyValues + 8 * i, 8);
    }
    for (int i = 0; i < queryBuffers; ++i) {
      barrierInitialize(shared + Layout::fullQueries + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyQueries + 8 * i, 8);
    }
    for (int i = 0; i < Layout::queueDepth; ++i) {
      barrierInitialize(shared + Layout::fullQueue + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyQueue + 8 * i, 1);
    }
    for (int i = 0; i < HopperTile::asks; ++i) {
      barrierInitialize(shared + Layout::fullAsks + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyAsks + 8 * i, 1);
    }
    barrierInitializationFence();
  }
  __syncthreads();
  const int group = __shfl_sync(0xffffffffu, threadIdx.x >> 7, 0);
  if (group == 0) {
    releaseRegisters<HopperTile::producerRegisters>();
    Stage* queue = (Stage*)((unsigned char*)info + Layout::queue - Layout::info);
    if (threadIdx.x < 32) {
      Loader<headDim>::run(
          a, shared, (unsigned*)queue, (unsigned*)info, keys, values, columnKeys, columnValues);
    } else if (threadIdx.x < 64) {
      Planner<headDim> p{a, h, shared, queue,
          (unsigned*)((unsigned char*)info + Layout::waitingMasks - Layout::info)};
      p.slot = p.slotPhase = 0;
      Ask* asks = (Ask*)((unsigned char*)info + Layout::ask - Layout::info);
      const int lane = threadIdx.x & 31, count = workItems(a, h);
      int index = lane == 0 ? (int)atomicAdd(h.counter, 1u) : 0;
      index = __shfl_sync(0xffffffffu, index, 0);
      for (int number = 0;; ++number) {
        const int next = lane == 0 && index < count ? (int)atomicAdd(h.counter, 1u) : 0;
        const int place = number % HopperTile::asks;
        barrierWait(shared + Layout::emptyAsks + 8 * place, (number / HopperTile::asks & 1) ^ 1);
        if (lane == 0) {
          const WorkItem w = workItem(a, h, index < count ? index : 0);
          const bool more = index < count;
          asks[place] = {{64 * w.tileRow(0), 64 * w.tileRow(1)}, {more ? w.head(0) : -1, w.head(1)}};
          barrierArrive(shared + Layout::fullAsks + 8 * place);
        }
        if (index >= count) break;
        p.run(index);
        index = __shfl_sync(0xffffffffu, next, 0);
      }
      if (lane == 0 && index == count + (int)gridDim.x - 1) *h.counter = 0;  // the last one to ask
      p.emitEnd();
    } else if (threadIdx.x < 96) {
      QueryLoader<headDim>::run(a, shared, (const Ask*)((unsigned char*)info + Layout::ask - Layout::info), queries);
    }
  } else {
    claimRegisters<HopperTile::consumerRegisters>();
    Consumer<headDim>::run(a, shared, info, group - 1);
  }
}

/// Copies the columns of every head to consecutive rows, up to the next multiple of 64 with zeros.
template <int headDim>
__device__ __forceinline__ void gatherColumns(const AttentionParameters& a, bf16* columnKeys, bf16* columnValues, int maximum) {
  const int head = blockIdx.y;
  const HeadPlan& plan = a.heads[head];
  const int i = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (plan.kind == 0 || i >= (plan.columnCount + 63 & ~63)) return;
  constexpr int chunks = headDim / 8;
  const long long from = (long long)(head / a.groupSize) * a.kvHeadStride
      + (i < plan.columnCount ? (long long)plan.columns[i] * headDim : 0);
  const long long to = ((long long)head * maximum + i) * headDim;
  for (int chunk = lane; chunk < 2 * chunks; chunk += 32) {
    const int part = 8 * (chunk % chunks);
    const uint4 x = i < plan.columnCount ? *(const uint4*)((chunk < chunks ? a.k : a.v) + from + part) : make_uint4(0, 0, 0, 0);
    *(uint4*)((chunk < chunks ? columnKeys : columnValues) + to + part) = x;
  }
}

}  // namespace mi

#define MI_HOPPER(D)                                                                                             \
  extern "C" __global__ void __launch_bounds__(384, 1) attention_hopper_d##D(                                    \
      const __grid_constant__ AttentionParameters a, const __grid_constant__ HopperParameters h,                 \
      const __grid_constant__ TensorMap queries, const __grid_constant__ TensorMap keys,                         \
      const __grid_constant__ TensorMap values, const __grid_constant__ TensorMap columnKeys,                    \
      const __grid_constant__ TensorMap columnValues) {                                                          \
    mi::attention<D>(a, h, queries, keys, values, columnKeys, columnValues);                                     \
  }                                                                                                              \
  extern "C" __global__ void __launch_bounds__(256) gather_columns_d##D(                                         \
      const __grid_constant__ AttentionParameters a, bf16* columnKeys, bf16* columnValues, int maximumColumns) { \
    mi::gatherColumns<D>(a, columnKeys, columnValues, maximumColumns);                                           \
  }

MI_HOPPER(64)
MI_HOPPER(128)
