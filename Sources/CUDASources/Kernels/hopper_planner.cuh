// The planner warp of the Hopper attention kernel: walks the plans, row pair after row pair, and
// queues stages for the loader, so that reading plans costs no time as long as it is faster than
// the products.

#pragma once

#include "hopper_plan.cuh"

namespace mi {

/// 64 keys waiting for a partner. flags: bits by half, see BlockFlags.
struct Block {
  int position;
  int flags;
};

/// One warp: turns plans into stages.
template <int headDim, typename SharedMemory = SharedLayout<headDim>>
struct Planner {
  using Layout = SharedMemory;

  const AttentionParameters& a;
  const HopperParameters& h;
  unsigned shared;
  Stage* queue;
  unsigned* waitingMasks;  // [of the first half, of the second, of both][half][word]; written and
                           // read by lane 0

  int slot, slotPhase;
  int tile;
  WorkItem work;
  int valid;  // by half: some of its rows are in the chunk
  bool empty;
  Block ofFirst, ofSecond, ofBoth;

  __device__ __forceinline__ int lane() const { return threadIdx.x & 31; }

  /// One stage of the blocks `x` and `y`, computed by the halves that either is for, with the keys
  /// that each half computes.
  __device__ __forceinline__ void emit(
      const Block& x, const Block& y, const unsigned* xMasks, const unsigned (&yMasks)[2][2]) {
    barrierWait(shared + Layout::emptyQueue + 8 * slot, slotPhase ^ 1);
    if (lane() == 0) {
      Stage& s = queue[slot];
      const int use = (x.flags | y.flags) & BlockFlags::use;
      s.tile = tile;
      s.use = use;
      // A half that a block is not for masks all of its keys.
      constexpr int edge = BlockFlags::edgeShift, partial = BlockFlags::partialShift,
                    second = Stage::blockShift;
      s.edge = (x.flags >> edge & bothHalves) | (use & ~x.flags) |
          ((y.flags >> edge & bothHalves) | (use & ~y.flags)) << second;
      s.partial = (x.flags >> partial & bothHalves) |
          (y.flags >> (partial - second) & bothHalves << second);
      s.position[0] = x.position;
      s.position[1] = y.position;
      s.kvHead = work.kvHead;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        s.row[half] = 64 * work.tileRow(half);
        s.head[half] = work.head(half);
#pragma unroll
        for (int word = 0; word < 2; ++word) {
          s.mask[0][half][word] = x.flags >> half & 1 ? xMasks[2 * half + word] : 0;
          s.mask[1][half][word] = y.flags >> half & 1 ? yMasks[half][word] : 0;
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

  /// Pairs `x` with a block that waits for one of the same halves, or lets it wait.
  __device__ __forceinline__ void push(const Block& x, const unsigned (&masks)[2][2]) {
    const int halves = x.flags & BlockFlags::use;
    // Values are chosen, never references: a choice of addresses would put the whole planner in
    // local memory.
    const Block waiting = {halves == firstHalf ? ofFirst.position
            : halves == secondHalf             ? ofSecond.position
                                               : ofBoth.position,
        halves == firstHalf        ? ofFirst.flags
            : halves == secondHalf ? ofSecond.flags
                                   : ofBoth.flags};
    unsigned* waitingMask = waitingMasks + 4 * (halves - 1);
    if (waiting.flags) {
      emit(waiting, x, waitingMask, masks);
    } else if (lane() == 0) {
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int word = 0; word < 2; ++word) waitingMask[2 * half + word] = masks[half][word];
    }
    const int left = waiting.flags ? 0 : x.flags;
    ofFirst.position = halves == firstHalf ? x.position : ofFirst.position;
    ofFirst.flags = halves == firstHalf ? left : ofFirst.flags;
    ofSecond.position = halves == secondHalf ? x.position : ofSecond.position;
    ofSecond.flags = halves == secondHalf ? left : ofSecond.flags;
    ofBoth.position = halves == bothHalves ? x.position : ofBoth.position;
    ofBoth.flags = halves == bothHalves ? left : ofBoth.flags;
  }

  /// Emits what still waits: at most two stages.
  __device__ __forceinline__ void flush() {
    for (;;) {
      // The first that waits and the next one; a block without another is brought twice.
      const int x = ofBoth.flags ? 2 : ofFirst.flags ? 0 : 1;
      const int y = x == 2 && ofFirst.flags ? 0 : x != 1 && ofSecond.flags ? 1 : -1;
      const Block one = {x == 2 ? ofBoth.position
              : x == 0          ? ofFirst.position
                                : ofSecond.position,
          x == 2       ? ofBoth.flags
              : x == 0 ? ofFirst.flags
                       : ofSecond.flags};
      if (one.flags == 0 && !empty) return;
      const Block two = {y == 0 ? ofFirst.position
              : y == 1          ? ofSecond.position
                                : one.position,
          y == 0       ? ofFirst.flags
              : y == 1 ? ofSecond.flags
                       : 0};
      unsigned masks[2][2];
#pragma unroll
      for (int i = 0; i < 4; ++i) masks[i >> 1][i & 1] = waitingMasks[4 * maximum(y, 0) + i];
      // Rows without any key are written too: a stage that neither half uses brings the consumers
      // to them.
      emit(one, two, waitingMasks + 4 * x, masks);
      if (x == 2) ofBoth.flags = 0;
      if (x == 0 || y == 0) ofFirst.flags = 0;
      if (x == 1 || y == 1) ofSecond.flags = 0;
    }
  }

  // MARK: The plan

  /// The first of the ascending places low ..< high that is not `before`; all lanes together, 32
  /// places at a time.
  template <typename Before>
  __device__ __forceinline__ int firstNot(int low, int high, Before before) const {
    while (low < high) {
      const int stride = (high - low + 31) >> 5, at = low + lane() * stride;
      const int count = __popc(__ballot_sync(0xffffffffu, at < high && before(at)));
      if (count == 0) break;
      high = minimum(high, low + count * stride);
      low += (count - 1) * stride + 1;
    }
    return low;
  }

  /// Bounds of this pair's entries in an explicit list.
  __device__ __forceinline__ void explicitRange(const HeadPlan& plan, int& low, int& high) {
    const int pair = (work.firstRow >> 1) - a.planFirstPosition / 128;
    low = plan.stepOffsets[pair];
    high = plan.stepOffsets[pair + 1];
  }

  /// What decides whether bands cover a key, to be asked for well before it is needed: the entries
  /// of starts for the distances from half 0 to the key, from half 1, and the one behind.
  struct Entries {
    unsigned before, here, after;
  };
  __device__ __forceinline__ Entries entries(const unsigned char* starts, int key, int end) const {
    const int bucket = 64 * work.tileRow(0) - key >> 6;
    if (key >= end) return {noStart, noStart, noStart};
    return {bucket >= 0 ? starts[bucket] : noStart, bucket >= -1 ? starts[bucket + 1] : noStart,
        bucket >= -1 ? starts[bucket + 2] : noStart};
  }

  /// Which halves' bands hold the key, as bits by half; for a half that does not lie behind it,
  /// anything.
  __device__ __forceinline__ int inBands(const Entries& e, int key) const {
    const unsigned x = 64 * work.tileRow(0) - key;
    const int first = coveredByBands(e.before, e.here, x);
    return h.pairHeads ? bothHalves * first
                       : first | (coveredByBands(e.here, e.after, x) ? secondHalf : 0);
  }

  /// The same of an explicit list.
  __device__ __forceinline__ int inList(const int* steps, int low, int high, int key) const {
    const int end = high, t = key >> 6;
    while (low < high) {  // first entry whose tile is at most t; tiles descend
      const int middle = (low + high) >> 1;
      if ((steps[middle] >> StepEntry::placeShift) > t)
        low = middle + 1;
      else
        high = middle;
    }
    if (low >= end) return 0;
    const int entry = steps[low];
    if ((entry >> StepEntry::placeShift) != t) return 0;
    return h.pairHeads ? (entry >> (work.firstRow & 1) & 1) * bothHalves
                       : entry & StepEntry::halves;
  }

  /// All of one work item.
  __device__ __forceinline__ void run(int index) {
    tile = index;
    work = workItem(a, h, index);
    ofFirst.flags = ofSecond.flags = ofBoth.flags = 0;
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
    const int sparse = valid & ~dense;
    if (dense & valid) pushTiles(plan, 0, dense & valid);
    if (sparse) {
      pushTiles(plan, kind, sparse);
      if (plan.columnCount > 0) {
        if (kind == 1)
          pushColumns<1>(plan, sparse);
        else
          pushColumns<2>(plan, sparse);
      }
    }
    flush();
  }

  /// The blocks of neighbouring keys that `halves` compute: of kind 0 all, else those of the plan's
  /// list.
  __device__ __forceinline__ void pushTiles(const HeadPlan& plan, int kind, int halves) {
    // The pair's last key tile, and the last one before the part's end.
    const int last = work.firstRow | 1, top = minimum(last, a.endKey - 1 >> 6);
    const int* const steps = plan.steps;
    int i = 0, end;
    if (kind == 0) {
      const int lowest = maximum(a.firstKey, 64 * work.firstRow - a.window + 1) >> 6;
      end = top + 1 - lowest;
    } else if (kind == 1) {
      end = plan.stepCount;
    } else {
      explicitRange(plan, i, end);
    }
    if (kind && a.endKey <= 64 * last)
      i = firstNot(i, end, [&](int place) {
        const int value = steps[place] >> StepEntry::placeShift;
        return (kind == 1 ? 64 * last - value : 64 * value) >= a.endKey;
      });
    int entry = kind && i + lane() < end ? steps[i + lane()] : 0;
    for (; i < end; i += 32) {
      const int ahead = kind && i + 32 + lane() < end ? steps[i + 32 + lane()] : 0;
      int position = -64, flags = 0;
      if (i + lane() < end) {
        position = kind == 0 ? 64 * (top - (i + lane()))
            : kind == 1      ? 64 * last - (entry >> StepEntry::placeShift)
                             : 64 * (entry >> StepEntry::placeShift);
        flags = kind == 0 ? bothHalves
            : h.pairHeads ? (entry >> (work.firstRow & 1) & 1) * bothHalves
                          : entry & StepEntry::halves;
      }
      flags &= position + 64 <= a.firstKey || position >= a.endKey ? 0 : halves;
      const bool crosses = position < a.firstKey || position + 64 > a.endKey;
      int edge = 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int behind = 64 * work.tileRow(half) - position;
        if (behind < 0 || behind - 63 >= a.window) flags &= ~(1 << half);
        if (behind == 0 || crosses || behind + 63 >= a.window)
          edge |= 1 << BlockFlags::edgeShift << half;
      }
      // One word for an exchange between lanes: the position, which is above -64, then use and
      // edge.
      const int packed = (position + 64) << 4 | edge | flags;
      unsigned left = __ballot_sync(0xffffffffu, flags != 0);
      while (left) {
        const int from = __ffs(left) - 1;
        left &= left - 1;
        const int one = __shfl_sync(0xffffffffu, packed, from);
        const int first = (one >> 4) - 64;
        const unsigned long long kept = ~0ull << maximum(0, a.firstKey - first) &
            ~0ull >> maximum(0, first + 64 - a.endKey);
        const unsigned low = (unsigned)kept, high = (unsigned)(kept >> 32);
        push({first, one & 15}, {{low, high}, {low, high}});
      }
      if (kind && __shfl_sync(0xffffffffu, position, 0) + 64 <= a.firstKey) return;
      entry = ahead;
    }
  }

  /// The columns before the diagonal tiles that no tile of the `computed` halves covers, 64
  /// gathered rows at a time.
  template <int kind>
  __device__ __forceinline__ void pushColumns(const HeadPlan& plan, int computed) {
    const int* const columns = plan.columns;
    const int* const steps = plan.steps;
    const unsigned char* const starts = plan.starts;
    const int count = plan.columnCount;
    int low = 0, high = 0;
    if (kind == 2) explicitRange(plan, low, high);
    const int end = minimum(64 * work.tileRow(1), a.endKey);
    // Blocks of gathered rows begin at multiples of 64.
    const int begin = a.firstKey == 0
        ? 0
        : firstNot(0, count, [&](int place) { return columns[place] < a.firstKey; }) & ~63;
    // Two blocks ahead, because a block takes less time than a load from L2.
    int now[2], next[2], later[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int i = begin + 32 * j + lane();
      now[j] = i < count ? columns[i] : end;
      next[j] = i + 64 < count ? columns[i + 64] : end;
    }
    Entries found[2] = {}, ahead[2] = {};
    if (kind == 1) {
#pragma unroll
      for (int j = 0; j < 2; ++j) found[j] = entries(starts, now[j], end);
    }
    for (int start = begin; start < count; start += 64) {
      if (__shfl_sync(0xffffffffu, now[0], 0) >= end) return;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int i = start + 128 + 32 * j + lane();
        later[j] = i < count ? columns[i] : end;
        if (kind == 1) ahead[j] = entries(starts, next[j], end);
      }
      int held[2];
#pragma unroll
      for (int j = 0; j < 2; ++j)
        held[j] = now[j] >= end ? bothHalves
            : kind == 1         ? inBands(found[j], now[j])
                                : inList(steps, low, high, now[j]);
      unsigned mask[2][2];
      Block x = {columnBlock + start, 0};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        bool partial = false;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int behind = 64 * work.tileRow(half) - now[j];
          const bool mine = (computed & ~held[j]) >> half & 1 && behind > 0 &&
              behind < a.window && now[j] >= a.firstKey;
          mask[half][j] = __ballot_sync(0xffffffffu, mine);
          partial |= mine && behind + 63 >= a.window;
        }
        if (mask[half][0] | mask[half][1]) x.flags |= 1 << half;
        if ((mask[half][0] & mask[half][1]) != 0xffffffffu)
          x.flags |= 1 << BlockFlags::edgeShift << half;
        if (a.window < 0x7fffffff && __any_sync(0xffffffffu, partial))
          x.flags |= (1 << BlockFlags::edgeShift | 1 << BlockFlags::partialShift) << half;
      }
      if (x.flags & BlockFlags::use) push(x, mask);
#pragma unroll
      for (int j = 0; j < 2; ++j) now[j] = next[j], next[j] = later[j], found[j] = ahead[j];
    }
  }
};

}  // namespace mi
