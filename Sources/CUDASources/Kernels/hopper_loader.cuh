// The loader warp of the Hopper attention kernel: what the planner queued goes to shared memory.

#pragma once

#include "hopper_plan.cuh"

namespace mi {

/// One warp: brings the queued stages to shared memory, values one stage behind keys, because they are needed that much later.
template <int headDim> struct Loader {
  using Layout = SharedLayout<headDim>;
  static constexpr int stages = HopperTile::stages, queryBuffers = HopperTile::queryBuffers;

  static __device__ __forceinline__ void copyBlock(const TensorMap* map, const TensorMap* columnMap, unsigned to,
                                                   unsigned barrier, int position, int kvHead, int columnHead) {
    if (position >= columnBlock) {
#pragma unroll
      for (int part = 0; part < Layout::parts; ++part)
        copyBox(to + part * 2 * Layout::blockBytes, columnMap, 64 * part, position - columnBlock, columnHead, barrier, cacheEvictLast);
    } else {
#pragma unroll
      for (int part = 0; part < Layout::parts; ++part)
        copyBox(to + part * 2 * Layout::blockBytes, map, 64 * part, position, kvHead, barrier, cacheEvictLast);
    }
  }

  static __device__ __forceinline__ void run(const AttentionParameters& a, unsigned shared, unsigned* queueWords,
      unsigned* infoWords, const TensorMap& keys, const TensorMap& values,
      const TensorMap& columnKeys, const TensorMap& columnValues) {
    constexpr int stageWords = sizeof(Stage) / 4;
    const int lane = threadIdx.x & 31;
    int slot = 0, slotPhase = 0, stage = 0, phase = 0;
    int before = -1, beforePosition0 = 0, beforePosition1 = 0, beforeKVHead = 0, beforeHead = 0;  // values still to bring; -1: none
    for (;;) {
      barrierWait(shared + Layout::fullQueue + 8 * slot, slotPhase);
      const Stage& entry = *(const Stage*)(queueWords + slot * stageWords);
      const int next = entry.tile, position0 = entry.position[0], position1 = entry.position[1];
      const int kvHead = entry.kvHead, head = entry.head[0];
      const int use = next < 0 ? 0 : entry.use;
      barrierWait(shared + Layout::emptyKeys + 8 * stage, phase ^ 1);
      const int last = stage == 0 ? stages - 1 : stage - 1, lastPhase = stage == 0 ? phase ^ 1 : phase;
      // A half that passed over the values before those of the last stage, in the same place, never looked whether they were there:
      // it would take them for the ones that are still to come. It looks for these when it has this stage's keys.
      if (before >= 0) barrierWait(shared + Layout::fullValues + 8 * last, lastPhase ^ 1);
      if (lane < stageWords) infoWords[stage * stageWords + lane] = queueWords[slot * stageWords + lane];
      __syncwarp();
      if (lane == 0) {
        const unsigned full = shared + Layout::fullKeys + 8 * stage;
        const unsigned to = shared + Layout::keys + stage * Layout::stageBytes;
        barrierExpect(full, use ? Layout::stageBytes : 0);
        if (use) {
          copyBlock(&keys, &columnKeys, to, full, position0, kvHead, head);
          copyBlock(&keys, &columnKeys, to + Layout::blockBytes, full, position1, kvHead, head);
        }
      }
      if (before >= 0) {
        barrierWait(shared + Layout::emptyValues + 8 * last, lastPhase ^ 1);
        __syncwarp();  // the barrier moves on as soon as lane 0 goes on
        if (lane == 0) {
          const unsigned full = shared + Layout::fullValues + 8 * last;
          const unsigned to = shared + Layout::values + last * Layout::stageBytes;
          barrierExpect(full, before ? Layout::stageBytes : 0);
          // A half that passes over a stage does not ask when its values are there.
          const int absent = (before & 1 ? 0 : 4) + (before & 2 ? 0 : 4);
          if (absent) barrierArriveTimes(shared + Layout::emptyValues + 8 * last, absent);
          if (before) {
            copyBlock(&values, &columnValues, to, full, beforePosition0, beforeKVHead, beforeHead);
            copyBlock(&values, &columnValues, to + Layout::blockBytes, full, beforePosition1, beforeKVHead, beforeHead);
          }
        }
      }
      if (next < 0) return;
      __syncwarp();
      if (lane == 0) barrierArrive(shared + Layout::emptyQueue + 8 * slot);
      before = use;
      beforePosition0 = position0;
      beforePosition1 = position1;
      beforeKVHead = kvHead;
      beforeHead = head;
      if (++slot == Layout::queueDepth) slot = 0, slotPhase ^= 1;
      if (++stage == stages) stage = 0, phase ^= 1;
    }
  }
};

/// One warp: brings the queries of one work item after another, as soon as those of the last are not needed any more. Apart from
/// the loader, which would otherwise stand still until then.
template <int headDim> struct QueryLoader {
  using Layout = SharedLayout<headDim>;

  static __device__ __forceinline__ void run(const AttentionParameters& a, unsigned shared, const Ask* asks, const TensorMap& queries) {
    const int lane = threadIdx.x & 31;
    for (int count = 0;; ++count) {
      const int place = count % HopperTile::asks, phase = count / HopperTile::asks & 1;
      const int buffer = count % HopperTile::queryBuffers, bufferPhase = count / HopperTile::queryBuffers & 1;
      barrierWait(shared + Layout::fullAsks + 8 * place, phase);
      const Ask ask = asks[place];
      if (ask.head[0] < 0) return;
      barrierWait(shared + Layout::emptyQueries + 8 * buffer, bufferPhase ^ 1);
      __syncwarp();  // the barriers move on as soon as lane 0 goes on
      if (lane == 0) barrierArrive(shared + Layout::emptyAsks + 8 * place);
      if (lane == 0) {
        const unsigned full = shared + Layout::fullQueries + 8 * buffer;
        const unsigned to = shared + buffer * Layout::queryBytes;
        barrierExpect(full, Layout::queryBytes);
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
          for (int part = 0; part < Layout::parts; ++part)
            copyBox(to + half * Layout::halfQueryBytes + part * Layout::blockBytes, &queries, 64 * part, ask.head[half],
                ask.row[half] - a.firstPosition, full, cacheEvictFirst);
      }
    }
  }
};

}  // namespace mi
