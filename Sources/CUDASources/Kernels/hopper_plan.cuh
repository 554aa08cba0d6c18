// What the producer warps of the Hopper attention kernel do. The planner walks the plan of a head, row pair after row pair, and
// turns it into stages of two blocks of 64 keys each; the loader brings those to shared memory. Between them is a queue, so that
// reading plans costs no time as long as it is faster than the products.
//
// A block is a key tile or 64 gathered columns. Each half of a row pair uses a block or does not; blocks that both use are
// paired with each other, and the others with each other, so that a half does little but whole stages of 128 keys.

#pragma once

#include "hopper.cuh"

struct HeadPlan {
  int kind;
  int stepCount;
  const int* steps;
  const int* stepOffsets;
  const unsigned* bits;
  const int* columns;
  int columnCount;
  int denseFrom;
  int words;
  int pad[2];
};

struct AttentionParameters {
  const bf16* q;
  bf16* o;
  float* logSumExp;
  const bf16* k;
  const bf16* v;
  long long kvHeadStride;
  const HeadPlan* heads;
  int rows, firstPosition, planFirstPosition, qStride, oStride, queryHeads, groupSize, window;
  float scaleLog2;
};

struct HopperParameters {
  unsigned* counter;  // one word, zero before the first launch; every launch leaves it zero
  int pairHeads;      // 1: the halves are two heads that share a plan, over one tile row
};

namespace mi {

/// What a stage holds, for the consumers. Bits by half h: use 1 << (2 * block + h), edge likewise.
struct Stage {
  int tile;         // number of the work item, -1: no more
  int use;          // which blocks each half computes
  int edge;         // which of them need a mask
  int partial;      // of columns: the window ends inside the half's rows
  int position[2];  // first key of a tile, or ~(first index) of 64 gathered columns
  int row[2];       // first position of each half
  int head[2];      // query head of each half
  int kvHead;
  unsigned mask[2][2][2];  // [block][half]: the columns that the half computes
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

/// Key head outermost, then rows from the last to the first (longest first), then the heads of the group, so that blocks
/// running together read the same keys and values from L2.
__device__ __forceinline__ WorkItem workItem(const AttentionParameters& a, const HopperParameters& h, int index) {
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

/// 64 keys waiting for a partner. flags: bits 0-1 use, 2-3 edge, 4-5 partial, each by half.
struct Block {
  int position;
  int flags;
};

/// Shared memory of a thread block, addresses in its 32-bit window.
template <int headDim, int stages, int queryBuffers> struct SharedLayout {
  static constexpr int queueDepth = 8;
  static constexpr int blockBytes = 64 * 128;                          // 64 rows of 64 elements
  static constexpr int parts = headDim / 64;
  static constexpr int halfQueryBytes = parts * blockBytes;
  static constexpr int queryBytes = 2 * halfQueryBytes;
  static constexpr int stageBytes = parts * 2 * blockBytes;
  static constexpr int keys = queryBuffers * queryBytes;
  static constexpr int values = keys + stages * stageBytes;
  static constexpr int info = values + stages * stageBytes;
  static constexpr int queue = info + stages * (int)sizeof(Stage);
  static constexpr int waitingMasks = queue + queueDepth * (int)sizeof(Stage);  // of the planner's `both` and `single`
  static constexpr int barriers = waitingMasks + 32 + 4 & ~7;
  static constexpr int fullKeys = barriers, emptyKeys = fullKeys + 8 * stages;
  static constexpr int fullValues = emptyKeys + 8 * stages, emptyValues = fullValues + 8 * stages;
  static constexpr int fullQueries = emptyValues + 8 * stages, emptyQueries = fullQueries + 8 * queryBuffers;
  static constexpr int fullQueue = emptyQueries + 8 * queryBuffers, emptyQueue = fullQueue + 8 * queueDepth;
  static constexpr int bytes = emptyQueue + 8 * queueDepth;
};

/// One warp: brings the queued stages to shared memory, values one stage behind keys, because they are needed that much later.
template <int headDim, int stages, int queryBuffers> struct Loader {
  using Layout = SharedLayout<headDim, stages, queryBuffers>;

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

/// One warp: turns plans into stages.
template <int headDim, int stages, int queryBuffers> struct Planner {
  using Layout = SharedLayout<headDim, stages, queryBuffers>;

  const AttentionParameters& a;
  const HopperParameters& h;
  unsigned shared;
  Stage* queue;
  unsigned* waitingMasks;  // [both, single][half][word]; written and read by lane 0

  int slot, slotPhase;
  int tile;
  WorkItem work;
  int valid;  // by half: some of its rows are in the chunk
  Block both, single;

  __device__ __forceinline__ int lane() const { return threadIdx.x & 31; }

  /// One stage of the block `x` and, if its flags are not zero, the block `y`, with the columns that each half computes.
  __device__ __forceinline__ void emit(const Block& x, const Block& y, const unsigned* xMasks, const unsigned (&yMasks)[2][2]) {
    barrierWait(shared + Layout::emptyQueue + 8 * slot, slotPhase ^ 1);
    if (lane() == 0) {
      Stage& s = queue[slot];
      s.tile = tile;
      s.use = (x.flags & 3) | (y.flags & 3) << 2;
      s.edge = (x.flags >> 2 & 3) | (y.flags & 12);
      s.partial = (x.flags >> 4 & 3) | (y.flags >> 2 & 12);
      s.position[0] = x.position;
      s.position[1] = y.position;
      s.kvHead = work.kvHead;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        s.row[half] = 64 * work.tileRow(half);
        s.head[half] = work.head(half);
#pragma unroll
        for (int word = 0; word < 2; ++word) {
          s.mask[0][half][word] = xMasks[2 * half + word];
          s.mask[1][half][word] = yMasks[half][word];
        }
      }
      barrierArrive(shared + Layout::fullQueue + 8 * slot);
    }
    if (++slot == Layout::queueDepth) slot = 0, slotPhase ^= 1;
  }

  __device__ __forceinline__ void emitEnd() {
    barrierWait(shared + Layout::emptyQueue + 8 * slot, slotPhase ^ 1);
    if (lane() == 0) {
      queue[slot].tile = -1;
      barrierArrive(shared + Layout::fullQueue + 8 * slot);
    }
  }

  /// Pairs `x` with a block that waits for one like it, or lets it wait.
  __device__ __forceinline__ void push(const Block& x, const unsigned (&masks)[2][2]) {
    const bool two = (x.flags & 3) == 3;
    const Block waiting = {two ? both.position : single.position, two ? both.flags : single.flags};
    unsigned* waitingMask = waitingMasks + (two ? 0 : 4);
    if (waiting.flags) {
      emit(waiting, x, waitingMask, masks);
    } else if (lane() == 0 && x.position < 0) {
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int word = 0; word < 2; ++word) waitingMask[2 * half + word] = masks[half][word];
    }
    // Values are chosen, never references: a choice of addresses would put the whole planner in local memory.
    const int left = waiting.flags ? 0 : x.flags;
    both.position = two ? x.position : both.position;
    both.flags = two ? left : both.flags;
    single.position = two ? single.position : x.position;
    single.flags = two ? single.flags : left;
  }

  // MARK: The plan

  /// Bounds of this pair's entries in an explicit list.
  __device__ __forceinline__ void explicitRange(const HeadPlan& plan, int& low, int& high) {
    const int pair = (work.firstRow >> 1) - a.planFirstPosition / 128;
    low = plan.stepOffsets[pair];
    high = plan.stepOffsets[pair + 1];
  }

  /// Which halves' lists hold key tile t, as bits by half. Distances below zero count as not held.
  template <int kind>
  __device__ __forceinline__ int covers(const int* steps, int low, int high, const unsigned* bits, int words, int t) {
    int held = 0;
    if (kind == 1) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int distance = work.tileRow(half) - t;
        if (distance >= 0 && (distance >> 5) < words) held |= (bits[distance >> 5] >> (distance & 31) & 1) << half;
      }
      return held;
    }
    const int end = high;
    while (low < high) {  // first entry whose tile is at most t; tiles descend
      const int middle = (low + high) >> 1;
      if ((steps[middle] >> 2) > t) low = middle + 1; else high = middle;
    }
    if (low >= end) return 0;
    const int entry = steps[low];
    if ((entry >> 2) != t) return 0;
    return h.pairHeads ? (entry >> (work.firstRow & 1) & 1) * 3 : entry & 3;
  }

  /// All of one work item.
  __device__ __forceinline__ void run(int index) {
    tile = index;
    work = workItem(a, h, index);
    both.flags = single.flags = 0;
    const HeadPlan& plan = a.heads[work.firstHead];
    const int kind = plan.kind, denseFrom = plan.denseFrom;
    int dense = 0;
    valid = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int first = 64 * work.tileRow(half);
      if (kind == 0 || first + 63 >= denseFrom) dense |= 1 << half;
      if (first < a.firstPosition + a.rows && first + 63 >= a.firstPosition) valid |= 1 << half;
    }
    pushTiles(plan, kind, dense, true);
    if (kind != 0 && plan.columnCount > 0 && dense != 3) {
      if (kind == 1) pushColumns<1>(plan, dense); else pushColumns<2>(plan, dense);
    }
    pushTiles(plan, kind, dense, false);
    const bool first = both.flags != 0;
    if (first || single.flags) {
      const Block x = {first ? both.position : single.position, first ? both.flags : single.flags};
      const Block y = {single.position, first ? single.flags : 0};
      unsigned masks[2][2];
#pragma unroll
      for (int i = 0; i < 4; ++i) masks[i >> 1][i & 1] = waitingMasks[4 + i];
      emit(x, y, waitingMasks + (first ? 0 : 4), masks);
    }
  }

  /// The tiles of a pair that both halves use, or (`together` false) that only one does.
  __device__ __forceinline__ void pushTiles(const HeadPlan& plan, int kind, int dense, bool together) {
    const int last = work.firstRow | 1;  // the pair's last key tile
    const int* const steps = plan.steps;
    const unsigned* const bits = plan.bits;
    const int words = plan.words;
    int low = 0, high = 0;
    if (kind == 2) explicitRange(plan, low, high);
    const int* list = nullptr;
    int i = 0, end;
    if (dense) {
      const int lowest = maximum(0, 64 * work.firstRow - a.window + 1) >> 6;
      end = last + 1 - lowest;
      if (dense == 3 && valid == 3 && !together && a.window > 64 * (last + 1)) end = minimum(end, 2);
    } else {
      list = steps;
      i = low;
      end = kind == 2 ? high : plan.stepCount;
    }
    int entry = list && i + lane() < end ? list[i + lane()] : 0;
    for (; i < end; i += 32) {
      const int ahead = list && i + 32 + lane() < end ? list[i + 32 + lane()] : 0;
      int t = -1, flags = 0;
      if (i + lane() < end) {
        if (list) {
          t = kind == 1 ? last - (entry >> 2) : entry >> 2;
          flags = h.pairHeads ? (entry >> (work.firstRow & 1) & 1) * 3 : entry & 3;
        } else {
          t = last - (i + lane());
          flags = dense;
          if (dense != 3)
            flags |= kind == 1 ? covers<1>(steps, low, high, bits, words, t) : covers<2>(steps, low, high, bits, words, t);
        }
      }
      flags &= t < 0 ? 0 : valid;
      int edge = 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int behind = 64 * (work.tileRow(half) - t);
        if (behind < 0 || behind - 63 >= a.window) flags &= ~(1 << half);
        if (behind == 0 || behind + 63 >= a.window) edge |= 4 << half;
      }
      const int packed = t << 4 | edge | flags;
      unsigned left = __ballot_sync(0xffffffffu, flags != 0 && (flags == 3) == together);
      while (left) {
        const int from = __ffs(left) - 1;
        left &= left - 1;
        const int one = __shfl_sync(0xffffffffu, packed, from);
        push({(one >> 4) * 64, one & 15}, {});
      }
      if (kind == 1 && !dense && __shfl_sync(0xffffffffu, t, 0) < 0) return;
      entry = ahead;
    }
  }

  /// The columns before the diagonal tiles that no tile covers, 64 gathered rows at a time.
  template <int kind> __device__ __forceinline__ void pushColumns(const HeadPlan& plan, int dense) {
    const int* const columns = plan.columns;
    const int* const steps = plan.steps;
    const unsigned* const bits = plan.bits;
    const int count = plan.columnCount, words = plan.words;
    int low = 0, high = 0;
    if (kind == 2) explicitRange(plan, low, high);
    const int end = 64 * work.tileRow(1);
    const int computed = valid & ~dense;
    // Two blocks ahead, because a block takes less time than a load from L2.
    int now[2], next[2], later[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int i = 32 * j + lane();
      now[j] = i < count ? columns[i] : end;
      next[j] = i + 64 < count ? columns[i + 64] : end;
    }
    for (int start = 0; start < count; start += 64) {
      if (__shfl_sync(0xffffffffu, now[0], 0) >= end) return;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int i = start + 128 + 32 * j + lane();
        later[j] = i < count ? columns[i] : end;
      }
      int held[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) held[j] = now[j] < end ? covers<kind>(steps, low, high, bits, words, now[j] >> 6) : 3;
      unsigned mask[2][2];
      Block x = {~start, 0};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        bool partial = false;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int behind = 64 * work.tileRow(half) - now[j];
          const bool mine = (computed & ~held[j]) >> half & 1 && behind > 0 && behind < a.window;
          mask[half][j] = __ballot_sync(0xffffffffu, mine);
          partial |= mine && behind + 63 >= a.window;
        }
        if (mask[half][0] | mask[half][1]) x.flags |= 1 << half;
        if ((mask[half][0] & mask[half][1]) != 0xffffffffu) x.flags |= 4 << half;
        if (a.window < 0x7fffffff && __any_sync(0xffffffffu, partial)) x.flags |= 20 << half;
      }
      if (x.flags & 3) push(x, mask);
#pragma unroll
      for (int j = 0; j < 2; ++j) now[j] = next[j], next[j] = later[j];
    }
  }
};

}  // namespace mi
