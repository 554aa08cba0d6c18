// The planner warp of the Hopper attention kernel: walks the plans, row pair after row pair, and queues stages for the loader, so
// that reading plans costs no time as long as it is faster than the products.

#pragma once

#include "hopper_plan.cuh"

namespace mi {

/// 64 keys waiting for a partner. flags: bits 0-1 use, 2-3 edge, 4-5 partial, each by half.
struct Block {
  int position;
  int flags;
};

/// One warp: turns plans into stages.
template <int headDim, typename SharedMemory = SharedLayout<headDim>> struct Planner {
  using Layout = SharedMemory;

  const AttentionParameters& a;
  const HopperParameters& h;
  unsigned shared;
  Stage* queue;
  unsigned* waitingMasks;  // [both, single][half][word]; written and read by lane 0

  int slot, slotPhase;
  int tile;
  WorkItem work;
  int valid;  // by half: some of its rows are in the chunk
  bool empty;
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
    empty = false;
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
    empty = true;
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
    // Rows without any key are written too: a stage that neither half uses brings the consumers to them.
    if (empty && !first && single.flags == 0) single.position = 0;
    if (first || single.flags || empty) {
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
