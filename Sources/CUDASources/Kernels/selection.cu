// The columns and offsets of vertical-slash: the largest sums after the forced ones.
//
// Follows LargestScores.swift and VerticalSlash.swift to the letter: indices 0 ..< forced come first
// and count; then the largest, ties (within 1e-5) to the lower index. A budget with a share takes as many as hold that share
// of the mass, and no fewer than the budget.

#include "common.cuh"
#include "covering.cuh"
#include "largest.cuh"
#include "plans.cuh"

using namespace mi;

namespace {

struct Selection {
  static constexpr int threads = 1024;
  static constexpr int copies = 4;
};

/// Calls visit(index, scores) with four scores at a time of this thread's share; indices are multiples
/// of 4, scores at `count` and beyond are not read but passed as NaN.
template <typename Visit>
__device__ __forceinline__ void forQuads(
    const float* scores, int begin, int end, int count, int first, int step, Visit visit) {
  for (int i = begin + first * 4; i < end; i += step * 4) {
    float4 quad;
    if (i + 4 <= count) {
      quad = *(const float4*)(scores + i);
    } else {
      quad.x = scores[i];
      quad.y = i + 1 < count ? scores[i + 1] : __int_as_float(0x7FC00000);
      quad.z = i + 2 < count ? scores[i + 2] : __int_as_float(0x7FC00000);
      quad.w = __int_as_float(0x7FC00000);
    }
    visit(i, quad);
  }
}

/// This thread's share of the scores that are not forced.
struct FreeScores {
  const float* scores;
  int forced, keys;

  template <typename Visit>
  __device__ __forceinline__ void operator()(Visit visit) const {
    const int forced = this->forced, keys = this->keys;
    // Aligned down: indices below `forced` are skipped.
    forQuads(
        scores, forced & ~3, keys, keys, threadIdx.x, Selection::threads, [&](int i, float4 quad) {
          if (i >= forced) visit(quad.x);
          if (i + 1 >= forced && i + 1 < keys) visit(quad.y);
          if (i + 2 >= forced && i + 2 < keys) visit(quad.z);
          if (i + 3 >= forced && i + 3 < keys) visit(quad.w);
        });
  }
};

struct SelectionParameters {
  /// [heads][sumStride] fp32; keys entries each are read. sumStride is a multiple of 4.
  const float* vertical;
  const float* slash;
  /// [heads]; not negative; budgets above the keys count as the keys.
  const HeadBudget* budgets;
  /// [heads][maximumColumns]: ascending; vertical budgets are at most maximumColumns, which with a share is the keys.
  int* columns;
  /// [heads][maximumOffsets]: ascending; slash budgets likewise.
  int* offsets;
  /// [heads][2]: columns taken, offsets taken.
  int* counts;
  long long sumStride;
  int keys, maximumColumns, maximumOffsets, forcedColumns, forcedOffsets;
  /// 2^30 / all mass: the rows that were summed. Read where a budget has a share.
  float massUnit;
  /// Whether what a head's sums lack of all mass is its sink's, which counts as held.
  int hasSinks;
};
MI_CHECK_LAYOUT(SelectionParameters);

}  // namespace

// Grid: (heads, 2): y = 0 columns, y = 1 offsets. Block: 1024. No dynamic shared memory.
// Parameters: SelectionParameters, by value. Heads that are not wanted are left alone.
extern "C" __global__ void __launch_bounds__(1024) select_columns_and_offsets(
    const SelectionParameters p) {
  __shared__ DigitCounts<Selection::copies> digits;
  __shared__ int clearBefore[32];
  __shared__ int tiesBefore[32];
  __shared__ long long totals[32];

  const int head = blockIdx.x;
  const bool isSlash = blockIdx.y == 1;
  const HeadBudget budget = p.budgets[head];
  if (budget.wanted == 0) return;
  const float* scores = (isSlash ? p.slash : p.vertical) + head * p.sumStride;
  int count = min(isSlash ? budget.slash : budget.vertical, p.keys);
  if (budget.share > 0) {
    // Forced ones are taken before any other, whatever they hold.
    const int before = min(isSlash ? p.forcedOffsets : p.forcedColumns, p.keys);
    const FreeScores free = {scores, before, p.keys};
    unsigned forcedMass = 0, freeMass = 0;
    for (int i = threadIdx.x; i < before; i += Selection::threads) forcedMass += wholeMass(scores[i], p.massUnit);
    free([&](float score) { freeMass += wholeMass(score, p.massUnit); });
    const long long held = blockSum((long long)forcedMass, totals);
    const long long total = held + blockSum((long long)freeMass, totals);
    const long long sink = p.hasSinks ? max(0ll, (1ll << 30) - total) : 0;
    const long long wholly = (long long)ceilf(budget.share * (float)(total + sink));
    const long long enough = min(total, max(0ll, wholly - sink));
    count = max(count, before);
    if (enough > held) {
      count = max(count, before + coveringCount((unsigned)(enough - held), p.massUnit, digits, free));
    }
    __syncthreads();
  }
  const int first = min(isSlash ? p.forcedOffsets : p.forcedColumns, count);
  int* taken = isSlash ? p.offsets + (long long)head * p.maximumOffsets
                       : p.columns + (long long)head * p.maximumColumns;
  const int thread = threadIdx.x;
  // Which indices are taken without a look at the scores.
  const int forced = count == p.keys ? count : first;

  TieBounds bounds = {0, 0};
  int wanted = count - forced;
  if (wanted > 0) {
    const FreeScores free = {scores, forced, p.keys};
    const unsigned cut = kthLargest(wanted, digits, free);
    bounds = tieBounds(scoreOfOrderedBits(cut));
  }
  __syncthreads();
  for (int i = thread; i < forced; i += Selection::threads) taken[i] = i;

  if (wanted > 0) {
    // Each warp has a contiguous share, a multiple of 128 scores; one pass counts, the next writes.
    const int begin = forced & ~3;
    const int warp = thread / 32, lane = thread & 31;
    const int share = ((p.keys - begin + 31) / 32 + 127) & ~127;
    const int from = min(p.keys, begin + warp * share);
    const int to = min(p.keys, from + share);
    auto flags = [&](int i, float4 quad, int& clear, int& ties) {
      const float four[4] = {quad.x, quad.y, quad.z, quad.w};
      clear = 0, ties = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float score = comparable(four[j]);
        if (i + j < forced || i + j >= p.keys) continue;
        if (score >= bounds.above) clear |= 1 << j;
        else if (score >= bounds.below) ties |= 1 << j;
      }
    };
    int clearCount = 0, tieCount = 0;
    forQuads(scores, from, to, p.keys, lane, 32, [&](int i, float4 quad) {
      int clear, ties;
      flags(i, quad, clear, ties);
      clearCount += __popc(clear);
      tieCount += __popc(ties);
    });
    clearCount = warpInclusiveSum(clearCount);
    tieCount = warpInclusiveSum(tieCount);
    if (lane == 31) clearBefore[warp] = clearCount, tiesBefore[warp] = tieCount;
    __syncthreads();
    int clearSoFar = 0, tiesSoFar = 0, clearTotal = 0;
    for (int i = 0; i < 32; ++i) {
      if (i == warp) clearSoFar = clearTotal;
      if (i < warp) tiesSoFar += tiesBefore[i];
      clearTotal += clearBefore[i];
    }
    const int places = wanted - clearTotal;
    // All lanes make the same number of steps, as they scan together.
    for (int start = from; start < to; start += 128) {
      const int i = start + lane * 4;
      int clear = 0, ties = 0;
      if (i < to) {
        forQuads(scores, i, i + 1, p.keys, 0, 1, [&](int, float4 quad) {
          flags(i, quad, clear, ties);
        });
      }
      if (!__any_sync(allLanes, clear | ties)) continue;
      const int own = __popc(clear) | __popc(ties) << 16;
      const int inclusive = warpInclusiveSum(own);
      const int total = __shfl_sync(allLanes, inclusive, 31);
      int clearIndex = clearSoFar + (inclusive - own & 0xFFFF);
      int tieIndex = tiesSoFar + (inclusive - own >> 16);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const bool isClear = clear >> j & 1, isTie = ties >> j & 1;
        if (isClear || (isTie && tieIndex < places)) {
          taken[forced + clearIndex + min(tieIndex, places)] = i + j;
        }
        clearIndex += isClear;
        tieIndex += isTie;
      }
      clearSoFar += total & 0xFFFF;
      tiesSoFar += total >> 16;
    }
  }
  if (thread == 0) p.counts[head * 2 + (isSlash ? 1 : 0)] = count;
}
