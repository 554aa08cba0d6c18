// What the producer warp of the Hopper attention kernel does: walks the plan of a head, row pair after row pair, and turns it
// into stages of two blocks of 64 keys each, which it brings to shared memory.
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
  static constexpr int blockBytes = 64 * 128;                          // 64 rows of 64 elements
  static constexpr int parts = headDim / 64;
  static constexpr int halfQueryBytes = parts * blockBytes;
  static constexpr int queryBytes = 2 * halfQueryBytes;
  static constexpr int stageBytes = parts * 2 * blockBytes;
  static constexpr int keys = queryBuffers * queryBytes;
  static constexpr int values = keys + stages * stageBytes;
  static constexpr int info = values + stages * stageBytes;
  static constexpr int waitingMasks = info + stages * (int)sizeof(Stage);  // of the blocks in `both` and `single`
  static constexpr int barriers = waitingMasks + 32;
  static constexpr int fullKeys = barriers, emptyKeys = fullKeys + 8 * stages;
  static constexpr int fullValues = emptyKeys + 8 * stages, emptyValues = fullValues + 8 * stages;
  static constexpr int fullQueries = emptyValues + 8 * stages, emptyQueries = fullQueries + 8 * queryBuffers;
  static constexpr int bytes = emptyQueries + 8 * queryBuffers;
};

template <int headDim, int stages, int queryBuffers> struct Producer {
  using Layout = SharedLayout<headDim, stages, queryBuffers>;

  const AttentionParameters& a;
  const HopperParameters& h;
  const TensorMap *queries, *keys, *values, *columnKeys, *columnValues;
  unsigned shared;
  Stage* info;
  unsigned* waitingMasks;  // [both, single][half][word]; written and read by lane 0
  int lane;

  int tile, tileCount;
  bool newTile;
  WorkItem work;
  int valid;  // by half: some of its rows are in the chunk
  int stage, phase;
  int valueCount, valuePosition[2], valueHead, valueColumnHead, valueStage, valuePhase;
  Block both, single;

  __device__ __forceinline__ void copyBlock(
      const TensorMap* map, const TensorMap* columnMap, unsigned to, unsigned barrier, int position, int head, int columnHead) {
    const bool column = position < 0;
#pragma unroll
    for (int part = 0; part < Layout::parts; ++part)
      copyBox(to + part * 2 * Layout::blockBytes, column ? columnMap : map, 64 * part, column ? ~position : position,
          column ? columnHead : head, barrier, cacheEvictLast);
  }

  /// Brings the values of the stage before, one stage behind its keys: they are needed that much later.
  __device__ __forceinline__ void emitValues() {
    if (valueCount == 0) return;
    barrierWait(shared + Layout::emptyValues + 8 * valueStage, valuePhase ^ 1);
    if (lane == 0) {
      const unsigned full = shared + Layout::fullValues + 8 * valueStage;
      const unsigned to = shared + Layout::values + valueStage * Layout::stageBytes;
      barrierExpect(full, valueCount * Layout::parts * Layout::blockBytes);
      copyBlock(values, columnValues, to, full, valuePosition[0], valueHead, valueColumnHead);
      if (valueCount == 2)
        copyBlock(values, columnValues, to + Layout::blockBytes, full, valuePosition[1], valueHead, valueColumnHead);
    }
    valueCount = 0;
  }

  __device__ __forceinline__ void emitQueries() {
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
          copyBox(to + half * Layout::halfQueryBytes + part * Layout::blockBytes, queries, 64 * part, work.head(half),
              64 * work.tileRow(half) - a.firstPosition, full, cacheEvictFirst);
    }
    ++tileCount;
  }

  /// One stage of the block `x` and, if its flags are not zero, the block `y`, with the columns that each half computes.
  __device__ __forceinline__ void emit(const Block& x, const Block& y, const unsigned* xMasks, const unsigned (&yMasks)[2][2]) {
    barrierWait(shared + Layout::emptyKeys + 8 * stage, phase ^ 1);
    const int count = y.flags ? 2 : 1;
    if (lane == 0) {
      Stage& s = info[stage];
      s.tile = tile;
      s.use = (x.flags & 3) | (y.flags & 3) << 2;
      s.edge = (x.flags >> 2 & 3) | (y.flags & 12);
      s.partial = (x.flags >> 4 & 3) | (y.flags >> 2 & 12);
      s.position[0] = x.position;
      s.position[1] = y.position;
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
      const unsigned full = shared + Layout::fullKeys + 8 * stage;
      const unsigned to = shared + Layout::keys + stage * Layout::stageBytes;
      barrierExpect(full, count * Layout::parts * Layout::blockBytes);
      copyBlock(keys, columnKeys, to, full, x.position, work.kvHead, work.head(0));
      if (count == 2) copyBlock(keys, columnKeys, to + Layout::blockBytes, full, y.position, work.kvHead, work.head(0));
    }
    emitValues();
    if (newTile) emitQueries();
    newTile = false;
    valueCount = count;
    valuePosition[0] = x.position;
    valuePosition[1] = y.position;
    valueHead = work.kvHead;
    valueColumnHead = work.head(0);
    valueStage = stage;
    valuePhase = phase;
    if (++stage == stages) stage = 0, phase ^= 1;
  }

  __device__ __forceinline__ void emitEnd() {
    barrierWait(shared + Layout::emptyKeys + 8 * stage, phase ^ 1);
    if (lane == 0) {
      info[stage].tile = -1;
      barrierArrive(shared + Layout::fullKeys + 8 * stage);
    }
    emitValues();
  }

  /// Pairs `x` with a block that waits for one like it, or lets it wait.
  __device__ __forceinline__ void push(const Block& x, const unsigned (&masks)[2][2]) {
    if ((x.flags & 3) == 0) return;
    const bool two = (x.flags & 3) == 3;
    const Block waiting = {two ? both.position : single.position, two ? both.flags : single.flags};
    unsigned* waitingMask = waitingMasks + (two ? 0 : 4);
    if (waiting.flags) {
      emit(waiting, x, waitingMask, masks);
    } else if (lane == 0 && x.position < 0) {
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int word = 0; word < 2; ++word) waitingMask[2 * half + word] = masks[half][word];
    }
    // Values are chosen, never references: a choice of addresses would put the whole producer in local memory.
    const int left = waiting.flags ? 0 : x.flags;
    both.position = two ? x.position : both.position;
    both.flags = two ? left : both.flags;
    single.position = two ? single.position : x.position;
    single.flags = two ? single.flags : left;
  }

  /// The tile of keys 64t..., used by the halves of `flags`, if that is one of the pass: first those that both use.
  __device__ __forceinline__ void pushTile(int t, int flags, bool together) {
    flags &= valid;
    int edge = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int ahead = 64 * (work.tileRow(half) - t);
      if (ahead < 0 || ahead - 63 >= a.window) flags &= ~(1 << half);
      if (ahead == 0 || ahead + 63 >= a.window) edge |= 4 << half;
    }
    if (flags == 0 || (flags == 3) != together) return;
    Block x;
    x.position = 64 * t;
    x.flags = flags | edge;
    push(x, {});
  }

  // MARK: The plan

  /// Bounds of this pair's entries in an explicit list.
  __device__ __forceinline__ void explicitRange(const HeadPlan& plan, int& low, int& high) {
    const int pair = (work.tileRow(0) >> 1) - a.planFirstPosition / 128;
    low = plan.stepOffsets[pair];
    high = plan.stepOffsets[pair + 1];
  }

  /// Whether the list of tile row `row` holds key tile t.
  __device__ __forceinline__ bool covers(const HeadPlan& plan, int row, int t) {
    const int distance = row - t;
    if (distance < 0) return false;
    if (plan.kind == 1) return (distance >> 5) < plan.words && (plan.bits[distance >> 5] >> (distance & 31) & 1);
    int low, high;
    explicitRange(plan, low, high);
    while (low < high) {  // first entry whose tile is at most t; tiles descend
      const int middle = (low + high) >> 1;
      if ((plan.steps[middle] >> 2) > t) low = middle + 1; else high = middle;
    }
    if (low >= plan.stepOffsets[(row >> 1) - a.planFirstPosition / 128 + 1]) return false;
    const int entry = plan.steps[low];
    return (entry >> 2) == t && (entry >> (row & 1) & 1);
  }

  /// All of one work item.
  __device__ __forceinline__ void run(int index) {
    tile = index;
    newTile = true;
    work = workItem(a, h, index);
    both.flags = single.flags = 0;
    const HeadPlan& plan = a.heads[work.head(0)];
    const int kind = plan.kind, denseFrom = plan.denseFrom;
    int dense = 0;
    valid = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int first = 64 * work.tileRow(half);
      if (kind == 0 || first + 63 >= denseFrom) dense |= 1 << half;
      if (first < a.firstPosition + a.rows && first + 63 >= a.firstPosition) valid |= 1 << half;
    }
    for (int together = 1; together >= 0; --together) {
      pushTiles(plan, kind, dense, together);
      if (together && plan.columnCount > 0 && dense != 3) pushColumns(plan, kind, dense);
    }
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

  __device__ __forceinline__ void pushTiles(const HeadPlan& plan, int kind, int dense, bool together) {
    const int last = 2 * (work.tileRow(1) >> 1) + 1;  // the pair's last key tile
    const int* list = nullptr;
    int i = 0, end;
    if (dense) {
      const int lowest = maximum(0, 64 * work.tileRow(0) - a.window + 1) >> 6;
      end = last + 1 - lowest;
    } else {
      list = plan.steps;
      end = plan.stepCount;
      if (kind == 2) explicitRange(plan, i, end);
    }
    if (dense == 3 && valid == 3 && !together && a.window > 64 * (last + 1)) end = minimum(end, 1);  // all others both halves use
    int entry = list && i + lane < end ? list[i + lane] : 0;
    while (i < end) {
      const int ahead = list && i + 32 + lane < end ? list[i + 32 + lane] : 0;
      const int batch = minimum(32, end - i);
      for (int j = 0; j < batch; ++j) {
        int t, flags;
        if (list) {
          const int e = __shfl_sync(0xffffffffu, entry, j);
          t = kind == 1 ? last - (e >> 2) : e >> 2;
          flags = e;
          if (h.pairHeads) flags = (e >> (work.tileRow(0) & 1) & 1) * 3;
          if (t < 0) return;
        } else {
          t = last - (i + j);
          flags = dense;
          if (dense != 3 && covers(plan, work.tileRow(0), t)) flags = 3;
        }
        pushTile(t, flags & 3, together);
      }
      entry = ahead;
      i += 32;
    }
  }

  /// The columns before the diagonal tiles that no tile covers, 64 gathered rows at a time.
  __device__ __forceinline__ void pushColumns(const HeadPlan& plan, int kind, int dense) {
    const int count = plan.columnCount;
    const int end = 64 * work.tileRow(1);
    int next[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) next[j] = 32 * j + lane < count ? plan.columns[32 * j + lane] : end;
    for (int start = 0; start < count; start += 64) {
      const int column[2] = {next[0], next[1]};
      if (__shfl_sync(0xffffffffu, column[0], 0) >= end) return;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int i = start + 64 + 32 * j + lane;
        next[j] = i < count ? plan.columns[i] : end;
      }
      unsigned mask[2][2];
      Block x;
      x.position = ~start;
      x.flags = 0;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = work.tileRow(half);
        const bool computed = (valid >> half & 1) && !(dense >> half & 1);
        bool partial = false;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int behind = 64 * row - column[j];
          const bool mine = computed && behind > 0 && behind < a.window && !covers(plan, row, column[j] >> 6);
          mask[half][j] = __ballot_sync(0xffffffffu, mine);
          partial |= mine && behind + 63 >= a.window;
        }
        if (mask[half][0] | mask[half][1]) x.flags |= 1 << half;
        if ((mask[half][0] & mask[half][1]) != 0xffffffffu) x.flags |= 4 << half;
        if (__any_sync(0xffffffffu, partial)) x.flags |= 20 << half;
      }
      push(x, mask);
    }
  }
};

}  // namespace mi
