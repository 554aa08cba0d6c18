// Sparse causal attention over a head's plan on Hopper (sm_90a) with operands of e4m3, head dimension 128.
//
// The function of attention_hopper.cu: queries, keys, values and weights are rounded to e4m3, sums are fp32, the output bf16.
//
// attention_fp8_hopper_d128 (AttentionParameters, HopperParameters, Fp8Parameters), all by value
//   grid   x = multiprocessors (any number works: blocks take work items from a counter), y = z = 1
//   block  x = 384
//   dynamic shared memory, bytes: 218368 (d128); CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES has to be set
//   AttentionParameters.k and v are not read: Fp8Parameters names the blocks that fp8_blocks_hopper.cu makes of them
//   Fp8Parameters.blocks: blocks of 64 keys a kv head, at least those of firstPosition + rows; columnBlocks: of a head's columns
//   HopperParameters as in attention_hopper.cu
//
// One thread block a multiprocessor, three warpgroups. The first has a planner warp (hopper_planner.cuh), a loader warp and two
// query warps (hopper_fp8_producers.cuh); the two others each own 64 of a pair's 128 rows (hopper_fp8_consumer.cuh).

#include "hopper_fp8_consumer.cuh"
#include "hopper_fp8_producers.cuh"
#include "hopper_planner.cuh"

namespace mi {

__device__ __forceinline__ void attentionFp8(
    const AttentionParameters& a, const HopperParameters& h, const Fp8Parameters& f) {
  using Layout = Fp8Layout;
  extern __shared__ unsigned char memory[];
  const unsigned start = sharedAddress(memory), shared = (start + 1023) & ~1023u;
  unsigned char* const base = memory + (shared - start);
  Stage* const info = (Stage*)(base + Layout::info);
  // Products with weights of zero read whatever values lie there: these must be numbers from the start.
  for (int i = threadIdx.x; i < Layout::stages * Layout::stageBytes / 16; i += 384)
    ((uint4*)(base + Layout::keys))[i] = make_uint4(0, 0, 0, 0);
  publishShared();
  if (threadIdx.x == 0) {
    for (int i = 0; i < Layout::stages; ++i) {
      barrierInitialize(shared + Layout::full + 8 * i, 1);
      barrierInitialize(shared + Layout::empty + 8 * i, 8);
    }
    for (int i = 0; i < Layout::queryBuffers; ++i) {
      barrierInitialize(shared + Layout::asked + 8 * i, 1);
      barrierInitialize(shared + Layout::fullQueries + 8 * i, 2);
      barrierInitialize(shared + Layout::emptyQueries + 8 * i, 8);
    }
    for (int i = 0; i < Layout::queueDepth; ++i) {
      barrierInitialize(shared + Layout::fullQueue + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyQueue + 8 * i, 1);
    }
    barrierInitializationFence();
  }
  __syncthreads();
  const int group = __shfl_sync(0xffffffffu, threadIdx.x >> 7, 0);
  if (group == 0) {
    releaseRegisters<Fp8Tile::producerRegisters>();
    Stage* const queue = (Stage*)(base + Layout::queue);
    const int warp = threadIdx.x >> 5;
    if (warp == 0) {
      Fp8Loader::run(f, shared, (const unsigned*)queue, (unsigned*)info);
    } else if (warp == 1) {
      Planner<128, Fp8Layout> p{a, h, shared, queue, (unsigned*)(base + Layout::waitingMasks)};
      p.slot = p.slotPhase = 0;
      const int lane = threadIdx.x & 31, count = workItems(a, h);
      int index = lane == 0 ? (int)atomicAdd(h.counter, 1u) : 0;
      index = __shfl_sync(0xffffffffu, index, 0);
      for (int asked = 0;; ++asked) {
        const int buffer = asked % Layout::queryBuffers;
        barrierWait(shared + Layout::emptyQueries + 8 * buffer, (asked / Layout::queryBuffers & 1) ^ 1);
        if (lane == 0) {
          Fp8Ask& ask = *(Fp8Ask*)(base + Layout::ask + buffer * sizeof(Fp8Ask));
          const WorkItem work = workItem(a, h, index);
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            ask.row[half] = index < count ? 64 * work.tileRow(half) : -1;
            ask.head[half] = work.head(half);
          }
          barrierArrive(shared + Layout::asked + 8 * buffer);
        }
        if (index >= count) break;
        const int next = lane == 0 ? (int)atomicAdd(h.counter, 1u) : 0;
        p.run(index);
        index = __shfl_sync(0xffffffffu, next, 0);
      }
      if (lane == 0 && index == count + (int)gridDim.x - 1) *h.counter = 0;  // the last one to ask
      p.emitEnd();
    } else {
      Fp8Queries::run(a, f, base, shared, warp - 2);
    }
  } else {
    claimRegisters<Fp8Tile::consumerRegisters>();
    Fp8Consumer::run(a, base, shared, info, group - 1);
  }
}

}  // namespace mi

extern "C" __global__ void __launch_bounds__(384, 1) attention_fp8_hopper_d128(const __grid_constant__ AttentionParameters a,
    const __grid_constant__ HopperParameters h, const __grid_constant__ Fp8Parameters f) {
  mi::attentionFp8(a, h, f);
}
