// The plan of a head as the Hopper attention kernel sees it, and what its warps hand to each other:
// stages of two blocks of 64 keys, work items, the layout of shared memory.
//
// A block is 64 neighbouring keys or 64 gathered columns. Each half of a row pair uses a block or
// does not; blocks that both use are paired with each other, those of one half with each other. A
// half computes all 128 keys of a stage or passes over it: what it does not use of a stage's two
// blocks is masked, which happens only where the blocks of a work item run out.

#pragma once

#include "hopper.cuh"
#include "plans.cuh"

using mi::AttentionParameters;
using mi::HeadPlan;

struct HopperParameters {
  unsigned* counter;  // one word, zero before the first launch; every launch leaves it zero
  int pairHeads;      // 1: the halves are two heads that share a plan, over one tile row
};
MI_CHECK_LAYOUT(HopperParameters);

namespace mi {

/// Positions of blocks from this one on are of gathered columns: the index of the first.
constexpr int columnBlock = 1 << 30;

/// The flags of one block: three fields of a bit for each half.
struct BlockFlags {
  enum : int {
    use = bothHalves,  // which halves compute the block
    edgeShift = 2,     // which halves need a mask
    partialShift = 4,  // of columns: inside whose rows the window ends
  };
};

/// What a stage holds, for the consumers, who read the first four words at once. edge and partial
/// have a bit for each block and half: 1 << (2 * block + half).
struct alignas(16) Stage {
  int tile;         // number of the work item, -1: no more
  int use;          // which halves compute it, 1 << half; none: the end of rows without a key
  int edge;         // which blocks need a mask
  int partial;      // of columns: the window ends inside the half's rows
  int position[2];  // first key of a tile, above -64, or columnBlock + the index of the first of 64
                    // gathered columns
  int row[2];       // first position of each half
  int head[2];      // query head of each half
  int kvHead;
  unsigned mask[2][2][2];  // [block][half], with an edge: which keys the half computes, but for
                           // causality and window

  enum : int {
    blockShift = 2,  // in edge and partial, between the bits of one block and of the next
    firstBlock = 1,  // in edge >> half: block 0 needs a mask for that half
    secondBlock = 4,
    anyBlock = firstBlock | secondBlock,
  };
};

/// Whose queries are wanted next; head below 0: no more.
struct alignas(16) Ask {
  int row[2], head[2];
};

/// A work item: two halves of 64 query rows each.
struct WorkItem {
  int kvHead, firstHead, firstRow, paired;
  __device__ __forceinline__ int head(int half) const { return firstHead + (paired ? half : 0); }
  __device__ __forceinline__ int tileRow(int half) const { return firstRow + (paired ? 0 : half); }
};

__device__ __forceinline__ int workItems(const AttentionParameters& a, const HopperParameters& h) {
  const int shift = h.pairHeads ? 6 : 7;
  const int rows = ((a.firstPosition + a.rows - 1) >> shift) - (a.firstPosition >> shift) + 1;
  return rows * (h.pairHeads ? a.queryHeads / 2 : a.queryHeads);
}

/// Key head outermost, then rows from the last to the first (longest first), then the heads of the
/// group, so that blocks running together read the same keys and values from L2.
__device__ __forceinline__ WorkItem workItem(
    const AttentionParameters& a, const HopperParameters& h, int index) {
  const int shift = h.pairHeads ? 6 : 7;
  const int last = (a.firstPosition + a.rows - 1) >> shift;
  const int rows = last - (a.firstPosition >> shift) + 1;
  const int inner = h.pairHeads ? a.groupSize / 2 : a.groupSize;
  WorkItem w;
  w.kvHead = index / (rows * inner);
  index -= w.kvHead * rows * inner;
  const int row = last - index / inner;
  const int member = index % inner;
  w.paired = h.pairHeads;
  w.firstHead = w.kvHead * a.groupSize + (h.pairHeads ? 2 * member : member);
  w.firstRow = h.pairHeads ? row : 2 * row;
  return w;
}

/// The kernel's shape; the header of attention_hopper.cu states what follows from it for launches.
struct HopperTile {
  static constexpr int stages = 3, queryBuffers = 1, queueDepth = 8, asks = 2;
  // Stages of the other half alone that a half passes over while it keeps its last values: as many
  // as there can be, since keys of a stage are brought before values of the one before it, and wait
  // for these one stage later.
  static constexpr int mostPassed = stages - 1;
  static constexpr int producerRegisters = 56, consumerRegisters = 224;
  static constexpr float limit =
      0x1p64f;  // weights are relative to an early maximum until a sum of them reaches this
};

/// Shared memory of a thread block, addresses in its 32-bit window.
template <int headDim>
struct SharedLayout {
  static constexpr int stages = HopperTile::stages, queryBuffers = HopperTile::queryBuffers,
                       queueDepth = HopperTile::queueDepth;
  static constexpr int blockBytes = 64 * 128;  // 64 rows of 64 elements
  static constexpr int parts = headDim / 64;
  static constexpr int halfQueryBytes = parts * blockBytes;
  static constexpr int queryBytes = 2 * halfQueryBytes;
  static constexpr int stageBytes = parts * 2 * blockBytes;
  static constexpr int keys = queryBuffers * queryBytes;
  static constexpr int values = keys + stages * stageBytes;
  static constexpr int info = values + stages * stageBytes;
  static constexpr int queue = info + stages * (int)sizeof(Stage);
  static constexpr int waitingMasks =
      queue + queueDepth * (int)sizeof(Stage);  // of the planner's three blocks that wait
  static constexpr int ask = waitingMasks + 48 + 15 & ~15;
  static constexpr int barriers = ask + HopperTile::asks * (int)sizeof(Ask);
  static constexpr int fullKeys = barriers, emptyKeys = fullKeys + 8 * stages;
  static constexpr int fullValues = emptyKeys + 8 * stages, emptyValues = fullValues + 8 * stages;
  static constexpr int fullQueries = emptyValues + 8 * stages,
                       emptyQueries = fullQueries + 8 * queryBuffers;
  static constexpr int fullQueue = emptyQueries + 8 * queryBuffers,
                       emptyQueue = fullQueue + 8 * queueDepth;
  static constexpr int fullAsks = emptyQueue + 8 * queueDepth,
                       emptyAsks = fullAsks + 8 * HopperTile::asks;
  static constexpr int bytes = emptyAsks + 8 * HopperTile::asks;
};

}  // namespace mi
