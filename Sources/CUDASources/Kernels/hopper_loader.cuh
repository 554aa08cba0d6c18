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
    if (position < 0) {
#pragma unroll
      for (int part = 0; part < Layout::parts; ++part)
        copyBox(to + part * 2 * Layout::blockBytes, columnMap, 64 * part, ~position, columnHead, barrier, cacheEvictLast);
    } else {
#pragma unroll
      for (int part = 0; part < Layout::parts; ++part)
        copyBox(to + part * 2 * Layout::blockBytes, map, 64 * part, position, kvHead, barrier, cacheEvictLast);
    }
  }

  static __device__ __forceinline__ void run(const AttentionParameters& a, unsigned shared, unsigned* queueWords,
      unsigned* infoWords, const TensorMap& queries, const TensorMap& keys, const TensorMap& values,
      const TensorMap& columnKeys, const TensorMap& columnValues) {
    constexpr int stageWords = sizeof(Stage) / 4;
    const int lane = threadIdx.x & 31;
    int slot = 0, slotPhase = 0, stage = 0, phase = 0, tile = -1, tileCount = 0;
    int before = 0, beforePosition0 = 0, beforePosition1 = 0, beforeKVHead = 0, beforeHead = 0;  // values still to bring
    for (;;) {
      barrierWait(shared + Layout::fullQueue + 8 * slot, slotPhase);
      const Stage& entry = *(const Stage*)(queueWords + slot * stageWords);
      const int next = entry.tile, position0 = entry.position[0], position1 = entry.position[1];
      const int kvHead = entry.kvHead, head = entry.head[0];
      const int blocks = next < 0 ? 0 : entry.use >> 2 ? 2 : 1;
      barrierWait(shared + Layout::emptyKeys + 8 * stage, phase ^ 1);
      if (lane < stageWords) infoWords[stage * stageWords + lane] = queueWords[slot * stageWords + lane];
      __syncwarp();
      if (lane == 0) {
        const unsigned full = shared + Layout::fullKeys + 8 * stage;
        const unsigned to = shared + Layout::keys + stage * Layout::stageBytes;
        barrierExpect(full, blocks * Layout::parts * Layout::blockBytes);
        if (blocks > 0) copyBlock(&keys, &columnKeys, to, full, position0, kvHead, head);
        if (blocks > 1) copyBlock(&keys, &columnKeys, to + Layout::blockBytes, full, position1, kvHead, head);
      }
      if (before) {
        const int last = stage == 0 ? stages - 1 : stage - 1, lastPhase = stage == 0 ? phase ^ 1 : phase;
        barrierWait(shared + Layout::emptyValues + 8 * last, lastPhase ^ 1);
        if (lane == 0) {
          const unsigned full = shared + Layout::fullValues + 8 * last;
          const unsigned to = shared + Layout::values + last * Layout::stageBytes;
          barrierExpect(full, before * Layout::parts * Layout::blockBytes);
          copyBlock(&values, &columnValues, to, full, beforePosition0, beforeKVHead, beforeHead);
          if (before > 1)
            copyBlock(&values, &columnValues, to + Layout::blockBytes, full, beforePosition1, beforeKVHead, beforeHead);
        }
      }
      if (next < 0) return;
      if (next != tile) {
        const int buffer = tileCount % queryBuffers;
        barrierWait(shared + Layout::emptyQueries + 8 * buffer, ((tileCount / queryBuffers) & 1) ^ 1);
        if (lane == 0) {
          const unsigned full = shared + Layout::fullQueries + 8 * buffer;
          const unsigned to = shared + buffer * Layout::queryBytes;
          barrierExpect(full, Layout::queryBytes);
#pragma unroll
          for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int part = 0; part < Layout::parts; ++part)
              copyBox(to + half * Layout::halfQueryBytes + part * Layout::blockBytes, &queries, 64 * part, entry.head[half],
                  entry.row[half] - a.firstPosition, full, cacheEvictFirst);
        }
        tile = next;
        ++tileCount;
      }
      __syncwarp();
      if (lane == 0) barrierArrive(shared + Layout::emptyQueue + 8 * slot);
      before = blocks;
      beforePosition0 = position0;
      beforePosition1 = position1;
      beforeKVHead = kvHead;
      beforeHead = head;
      if (++slot == Layout::queueDepth) slot = 0, slotPhase ^= 1;
      if (++stage == stages) stage = 0, phase ^= 1;
    }
  }
};

}  // namespace mi
