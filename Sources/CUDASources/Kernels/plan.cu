// From tile distances to what attention reads: the steps of a head, its pair counts, and whether it
// runs sparse at all.
//
// A head's bands are shift-invariant: bit d means that every tile row computes the key tile d tiles
// before its own. Counts are exact: tiles by their causal pairs inside the window (chunk edges
// clipped), columns by the rows behind them whose tile row does not cover them; both in closed form
// from running counts of the bits, so that a head costs O(tile rows + columns + steps).

#include "common.cuh"
#include "pairs.cuh"
#include "plans.cuh"
#include "reductions.cuh"

using namespace mi;

namespace {

struct Planning {
  static constexpr int threads = 1024;
};

/// Parameters of both entries, by value. Heads that are not wanted are left alone: zero the plans
/// first, as zeros mean dense.
struct PlanParameters {
  /// [heads]; written.
  HeadPlan* plans;
  /// [heads][2]: pairs in tiles, pairs of single columns; written. A head that runs dense has all
  /// causal pairs and 0.
  long long* pairs;
  /// [heads][wordsStride]: read by plan_bands, written by plan_fixed; words 0 ... (keys - 1) / 2048.
  unsigned* bits;
  /// [heads][stepsStride]: written; stepsStride >= 2 * ((keys - 1) / 128) + 2.
  int* steps;
  /// plan_bands: [heads][maximumColumns]. plan_fixed: what FixedBands name. Ascending, distinct.
  const int* columns;
  /// plan_bands: [heads][2], the first of which is the number of columns.
  const int* counts;
  /// plan_bands: [heads].
  const HeadBudget* budgets;
  /// plan_fixed: [heads].
  const FixedBands* bands;
  /// plan_fixed: offsets from ..< to, in any order; what lies outside 0 ..< keys is dropped.
  const int2* ranges;
  int wordsStride, stepsStride, maximumColumns;
  int rows, firstPosition;
  /// INT_MAX: none.
  int window;
  /// Time of a column's pair in units of a tile's pair: a head whose weighted pairs exceed the causal
  /// pairs runs dense, unless exact is set.
  float columnCost;
  int exact;
};

struct SharedBands {
  unsigned bits[maximumWords];
  /// Bits set in the words before.
  int bitsBefore[maximumWords];
  /// Steps of the words before.
  int stepsBefore[maximumWords + 1];
  int sums[32];
  long long totals[32];
};

/// Bits 0 ... d that are set.
__device__ __forceinline__ int bitsThrough(const SharedBands& bands, int d) {
  return bands.bitsBefore[d / 32] + __popc(bands.bits[d / 32] & (0xFFFFFFFFu >> (31 - d % 32)));
}

__device__ __forceinline__ bool isSet(const SharedBands& bands, int d) {
  return bands.bits[d / 32] >> d % 32 & 1u;
}

/// Distances e of word w that some half of a pair computes: bit e for half 1, bit e - 1 for half 0.
__device__ __forceinline__ unsigned stepMask(
    const SharedBands& bands, int w, int words, int distances) {
  const unsigned own = w < words ? bands.bits[w] : 0;
  const unsigned before = w > 0 ? bands.bits[w - 1] >> 31 : 0;
  const int left = distances - 32 * w;
  return (own | own << 1 | before) & (left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1);
}

/// Counts, decides and writes the plan of one head, whose bits are in shared memory.
__device__ __forceinline__ void finishPlan(
    const PlanParameters& p, SharedBands& bands, int head, const int* columns, int columnCount,
    int denseFrom) {
  const int thread = threadIdx.x;
  const int keys = p.firstPosition + p.rows;
  const int lastDistance = (keys - 1) / tileExtent;
  const int words = lastDistance / 32 + 1;
  const int distances = 2 * ((keys - 1) / (2 * tileExtent)) + 2;
  const int stepWords = (distances + 31) / 32;

  // Running counts; each thread has a contiguous share of the words.
  const int share = (stepWords + Planning::threads - 1) / Planning::threads;
  const int firstWord = min(stepWords, thread * share);
  const int endWord = min(stepWords, firstWord + share);
  int bitCount = 0, stepCount = 0;
  for (int w = firstWord; w < endWord; ++w) {
    if (w < words) bitCount += __popc(bands.bits[w]);
    stepCount += __popc(stepMask(bands, w, words, distances));
  }
  int bitsBefore = blockExclusiveSum(bitCount, bands.sums);
  int stepsBefore = blockExclusiveSum(stepCount, bands.sums);
  for (int w = firstWord; w < endWord; ++w) {
    bands.stepsBefore[w] = stepsBefore;
    stepsBefore += __popc(stepMask(bands, w, words, distances));
    if (w < words) {
      bands.bitsBefore[w] = bitsBefore;
      bitsBefore += __popc(bands.bits[w]);
    }
  }
  __syncthreads();

  int* steps = p.steps + (long long)head * p.stepsStride;
  for (int e = thread; e < distances; e += Planning::threads) {
    const unsigned mask = stepMask(bands, e / 32, words, distances);
    if ((mask >> e % 32 & 1u) == 0) continue;
    const int flags = (e > 0 && isSet(bands, e - 1) ? 1 : 0) |
                      (e <= lastDistance && isSet(bands, e) ? 2 : 0);
    steps[bands.stepsBefore[e / 32] + __popc(mask & ((1u << e % 32) - 1))] = e * 4 + flags;
  }

  // Rows of the dense tile rows are counted apart.
  const int patternEnd =
      denseFrom < keys ? max(p.firstPosition, denseFrom / tileExtent * tileExtent) : keys;
  const int firstRow = p.firstPosition / tileExtent;
  const int endRow = patternEnd > p.firstPosition ? (patternEnd - 1) / tileExtent + 1 : firstRow;
  // Distances up to this one lie inside the window for every pair of their tile.
  const int fullDistance = p.window >= tileExtent ? (p.window - tileExtent) / tileExtent : -1;
  long long inTiles = 0;
  for (int row = firstRow + thread; row < endRow; row += Planning::threads) {
    const int from = max(p.firstPosition, row * tileExtent);
    const int to = min(patternEnd, (row + 1) * tileExtent);
    const int full = min(row, fullDistance);
    if (full >= 1) inTiles += (long long)(bitsThrough(bands, full) - 1) * tileExtent * (to - from);
    inTiles += tilePairs(from, to, 0, p.window);
    for (int d = max(1, fullDistance + 1); d <= row && d * tileExtent - tileExtent + 1 < p.window;
         ++d) {
      if (isSet(bands, d)) inTiles += tilePairs(from, to, d, p.window);
    }
  }
  long long ofColumns = 0;
  long long columnsInReach = 0;
  for (int i = thread; i < columnCount; i += Planning::threads) {
    const int column = columns[i];
    if (column >= keys) continue;
    ++columnsInReach;
    const int tile = column / tileExtent;
    const int from = max(p.firstPosition, (tile + 1) * tileExtent);
    const int to = (int)min((long long)patternEnd, (long long)column + p.window);
    if (from >= to) continue;
    const int low = from / tileExtent - tile;
    const int high = (to - 1) / tileExtent - tile;
    int covered = (bitsThrough(bands, high) - bitsThrough(bands, low - 1)) * tileExtent;
    if (isSet(bands, low)) covered -= from % tileExtent;
    if (isSet(bands, high)) covered -= tileExtent - 1 - (to - 1) % tileExtent;
    ofColumns += to - from - covered;
  }
  inTiles = blockSum(inTiles, bands.totals);
  ofColumns = blockSum(ofColumns, bands.totals);
  columnsInReach = blockSum(columnsInReach, bands.totals);
  if (thread != Planning::threads - 1) return;

  // This thread's running count is the total.
  inTiles += causalPairs(max(p.firstPosition, patternEnd), keys, p.window);
  const long long causal = causalPairs(p.firstPosition, keys, p.window);
  const bool isDense =
      !p.exact && (double)inTiles + (double)ofColumns * p.columnCost > (double)causal;
  p.pairs[2 * head] = isDense ? causal : inTiles;
  p.pairs[2 * head + 1] = isDense ? 0 : ofColumns;
  HeadPlan plan = {};
  plan.kind = isDense ? 0 : 1;
  plan.stepCount = stepsBefore;
  plan.steps = steps;
  plan.bits = p.bits + (long long)head * p.wordsStride;
  plan.columns = columns;
  plan.columnCount = (int)columnsInReach;
  plan.denseFrom = denseFrom;
  plan.words = words;
  p.plans[head] = plan;
}

}  // namespace

// Plans the heads that select_columns_and_offsets served. Grid: heads. Block: 1024. No dynamic shared
// memory. Parameters: PlanParameters, by value.
extern "C" __global__ void __launch_bounds__(1024) plan_bands(const PlanParameters p) {
  __shared__ SharedBands bands;
  const int head = blockIdx.x;
  if (p.budgets[head].wanted == 0) return;
  const int words = (p.firstPosition + p.rows - 1) / tileExtent / 32 + 1;
  const unsigned* bits = p.bits + (long long)head * p.wordsStride;
  for (int w = threadIdx.x; w < words; w += Planning::threads) bands.bits[w] = bits[w];
  __syncthreads();
  finishPlan(
      p, bands, head, p.columns + (long long)head * p.maximumColumns, p.counts[2 * head],
      2147483647);
}

// Plans heads whose offsets and columns need no estimate (A-shape, tri-shape, dilated, strided,
// static). Grid, block, memory and parameters as plan_bands.
extern "C" __global__ void __launch_bounds__(1024) plan_fixed(const PlanParameters p) {
  __shared__ SharedBands bands;
  const int head = blockIdx.x;
  const FixedBands fixed = p.bands[head];
  if (fixed.wanted == 0) return;
  const int keys = p.firstPosition + p.rows;
  const int lastDistance = (keys - 1) / tileExtent;
  const int words = lastDistance / 32 + 1;
  for (int w = threadIdx.x; w < words; w += Planning::threads) bands.bits[w] = w == 0 ? 1u : 0u;
  __syncthreads();
  // One warp a range, one lane a word: row r of a tile row meets offset o at key r - o, so a range
  // meets distances floor(from / 64) ... ceil((to - 1) / 64).
  for (int i = threadIdx.x / 32; i < fixed.rangeCount; i += Planning::threads / 32) {
    const int2 range = p.ranges[fixed.rangeStart + i];
    const int from = max(range.x, 0), to = min(range.y, keys);
    if (from >= to) continue;
    const int low = from / tileExtent;
    const int high = min(lastDistance, (to - 1 + tileExtent - 1) / tileExtent);
    for (int w = low / 32 + (threadIdx.x & 31); w <= high / 32; w += 32) {
      unsigned mask = 0xFFFFFFFFu;
      if (w == low / 32) mask &= 0xFFFFFFFFu << low % 32;
      if (w == high / 32) mask &= 0xFFFFFFFFu >> (31 - high % 32);
      atomicOr(bands.bits + w, mask);
    }
  }
  __syncthreads();
  unsigned* bits = p.bits + (long long)head * p.wordsStride;
  for (int w = threadIdx.x; w < words; w += Planning::threads) bits[w] = bands.bits[w];
  finishPlan(
      p, bands, head, p.columns + fixed.columnStart, fixed.columnCount, fixed.denseFrom);
}
