// From offsets to what attention reads: the bands of a head, its steps and pair counts, and whether
// it runs sparse at all.
//
// A head's bands are shift-invariant: the keys R - o ..< R - o + 64 for the tile row at R and each
// start o. A row r of it meets offset s at key r - s, so that s is computed if every distance s -
// 63 ... s from R is in a band. Two covers are made, and the one that attention computes faster is
// taken: bands that begin wherever the next offset asks for it, as few as there can be, and bands
// at multiples of 64, of which the two halves of a pair of tile rows share more.
//
// Counts are exact: bands by their causal pairs inside the window (chunk edges clipped), columns by
// the rows behind them that no band covers; both in closed form from the sorted starts, so that a
// head costs O((tile rows + columns) log bands).

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
  /// Scratch: [heads][2][bandsStride], the starts of both covers; bandsStride >= (keys - 1) / 64
  /// + 2.
  int* bands;
  /// [heads][startsStride]: HeadPlan::starts, written; startsStride >= (keys - 1) / 64 + 4.
  unsigned char* starts;
  /// [heads][2 * bandsStride]: written.
  int* steps;
  /// plan_bands: [heads][maximumColumns]. plan_fixed: what FixedBands name. Ascending, distinct.
  const int* columns;
  /// plan_bands: [heads][maximumOffsets], ascending.
  const int* offsets;
  /// plan_bands: [heads][2], the numbers of columns and offsets.
  const int* counts;
  /// plan_bands: [heads].
  const HeadBudget* budgets;
  /// plan_fixed: [heads].
  const FixedBands* fixed;
  /// plan_fixed: offsets from ..< to, ascending; what lies outside 0 ..< keys is dropped.
  const int2* ranges;
  int bandsStride, startsStride, maximumColumns, maximumOffsets;
  int rows, firstPosition;
  /// INT_MAX: none.
  int window;
  /// Time of a column's pair in units of a tile's pair: a head whose weighted pairs exceed the
  /// causal pairs runs dense, unless exact is set.
  float columnCost;
  int exact;
  /// Bands only at multiples of 64.
  int aligned;
};
MI_CHECK_LAYOUT(PlanParameters);

/// Time of a half tile row against 64 keys, and of loading these, in one unit: at 650 TFLOP/s
/// and 7.1 TB/s of L2, which an H100 reached with heads of 128, 0.43 and 0.61 us of a
/// multiprocessor. Elsewhere they only weigh fewer tiles against shared loads.
constexpr int bandTime = 43, loadTime = 61;

struct SharedPlan {
  int sums[32];
  long long totals[32];
  /// Starts of each cover.
  int counts[2];
};

/// A cover's starts, ascending, in global memory.
struct Starts {
  const int* list;
  int count;

  /// Starts below `offset`.
  __device__ __forceinline__ int below(int offset) const {
    int low = 0, high = count;
    while (low < high) {
      const int middle = (low + high) >> 1;
      if (list[middle] < offset)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
  __device__ __forceinline__ bool isFollowed(int i) const {
    return i + 1 < count && list[i + 1] == list[i] + tileExtent;
  }
};

/// One warp: writes the starts of the bands that cover offsets, which `rangeAt(i)`, 0 <= i < count,
/// gives as ascending ranges from ..< to within 0 ..< keys, or empty ones. Returns how many; the
/// first is 0, and always there.
template <bool aligned, typename RangeAt>
__device__ __forceinline__ int cover(int* starts, int count, int lastTile, RangeAt rangeAt) {
  const int lane = threadIdx.x & 31;
  int bands = 1, last = 0;
  if (lane == 0) starts[0] = 0;
  int2 ahead = lane < count ? rangeAt(lane) : make_int2(0, 0);
  for (int first = 0; first < count; first += 32) {
    const int2 range = ahead;
    ahead = first + 32 + lane < count ? rangeAt(first + 32 + lane) : make_int2(0, 0);
    // The last start that the range asks for; those up to `last` are there.
    const int end = range.x >= range.y ? 0
        : aligned                      ? min((range.y - 1 + tileExtent - 1) & -tileExtent, lastTile)
                                       : range.y - 1;
    unsigned left = __ballot_sync(allLanes, end > last);
    while (left) {
      const int from = __ffs(left) - 1;
      const int wanted = __shfl_sync(allLanes, range.x, from);
      const int until = __shfl_sync(allLanes, end, from);
      const int begin = max(aligned ? wanted & -tileExtent : wanted, last + tileExtent);
      const int more = until > begin ? (until - begin + tileExtent - 1) / tileExtent : 0;
      for (int i = lane; i <= more; i += 32) starts[bands + i] = begin + tileExtent * i;
      bands += more + 1;
      last = begin + tileExtent * more;
      left = __ballot_sync(allLanes, end > last);
    }
  }
  return bands;
}

/// Time that a head's bands take attention, in units of bandTime and loadTime: products of two
/// halves, or loads that these share where one band follows the other. A band at offset o is of
/// keys - o rows.
__device__ __forceinline__ long long timeOfBands(
    const Starts& starts, int keys, SharedPlan& shared) {
  long long products = 0, loads = 0;
  for (int i = threadIdx.x; i < starts.count; i += Planning::threads) {
    const int rows = max(0, keys - starts.list[i]);
    products += rows;
    loads += starts.isFollowed(i) ? rows : 2 * rows;
  }
  products = blockSum(products, shared.totals);
  loads = blockSum(loads, shared.totals);
  return max(2 * products * bandTime, loads * loadTime);
}

/// Pairs of rows from ..< to, all of the tile row at `row`, and the keys of the band at `start`
/// that are not before 0 and inside the window; for bands behind the diagonal that the window or
/// the first key may cut.
__device__ __forceinline__ long long cutPairs(int from, int to, int row, int start, int window) {
  long long pairs = 0;
  for (int key = max(0, row - start); key < row - start + tileExtent; ++key) {
    pairs += max(0, (int)min((long long)to, (long long)key + window) - from);
  }
  return pairs;
}

/// Chooses a cover, counts, decides and writes the plan of one head.
__device__ __forceinline__ void finishPlan(const PlanParameters& p, SharedPlan& shared, int head,
    const int* columns, int columnCount, int denseFrom) {
  const int thread = threadIdx.x;
  const int keys = p.firstPosition + p.rows;
  int* const covers = p.bands + (long long)head * 2 * p.bandsStride;
  __syncthreads();
  Starts bands = {covers + p.bandsStride, shared.counts[1]};
  if (!p.aligned) {
    const Starts free = {covers, shared.counts[0]};
    if (timeOfBands(free, keys, shared) < timeOfBands(bands, keys, shared)) bands = free;
  }

  unsigned char* const starts = p.starts + (long long)head * p.startsStride;
  for (int i = thread; i < (keys - 1) / tileExtent + 4; i += Planning::threads) starts[i] = noStart;
  // Steps: half 1 meets the band at e = start, half 0 at e = start + 64. Each thread has a
  // contiguous share.
  const int share = (bands.count + Planning::threads - 1) / Planning::threads;
  const int first = min(bands.count, thread * share), end = min(bands.count, first + share);
  int stepCount = 0;
  for (int i = first; i < end; ++i) stepCount += bands.isFollowed(i) ? 1 : 2;
  int step = blockExclusiveSum(stepCount, shared.sums);
  __syncthreads();
  int* const steps = p.steps + (long long)head * 2 * p.bandsStride;
  for (int i = first; i < end; ++i) {
    const int start = bands.list[i];
    starts[start / tileExtent] = (unsigned char)(start % tileExtent);
    steps[step++] = start * 4 + (i > 0 && bands.isFollowed(i - 1) ? 3 : 2);
    if (!bands.isFollowed(i)) steps[step++] = (start + tileExtent) * 4 + 1;
  }

  // Rows of the dense tile rows are counted apart.
  const int patternEnd =
      denseFrom < keys ? max(p.firstPosition, denseFrom / tileExtent * tileExtent) : keys;
  const int firstRow = p.firstPosition / tileExtent;
  const int endRow = patternEnd > p.firstPosition ? (patternEnd - 1) / tileExtent + 1 : firstRow;
  long long inTiles = 0;
  for (int row = firstRow + thread; row < endRow; row += Planning::threads) {
    const int position = row * tileExtent;
    const int from = max(p.firstPosition, position);
    const int to = min(patternEnd, position + tileExtent);
    inTiles += tilePairs(from, to, 0, p.window);
    // Bands up to this start lie inside the window for every pair, and behind the first key.
    const int whole = min(position, p.window - tileExtent);
    const int cut = max(1, bands.below(whole + 1));
    inTiles += (long long)(cut - 1) * tileExtent * (to - from);
    for (int i = cut; i < bands.count; ++i) {
      const int start = bands.list[i];
      if (start >= position + tileExtent || start - tileExtent + 1 >= p.window) break;
      inTiles += cutPairs(from, to, position, start, p.window);
    }
  }
  long long ofColumns = 0;
  long long columnsInReach = 0;
  for (int i = thread; i < columnCount; i += Planning::threads) {
    const int column = columns[i];
    if (column >= keys) continue;
    ++columnsInReach;
    const int from = max(p.firstPosition, (column / tileExtent + 1) * tileExtent);
    const int to = (int)min((long long)patternEnd, (long long)column + p.window);
    if (from >= to) continue;
    // A band at start o covers the column for the one tile row in column + o - 63 ... column + o.
    const int low = from / tileExtent * tileExtent, high = (to - 1) / tileExtent * tileExtent;
    const int beforeLow = bands.below(low - column),
              afterHigh = bands.below(high - column + tileExtent);
    int covered = (afterHigh - beforeLow) * tileExtent;
    if (beforeLow < bands.count && bands.list[beforeLow] < low - column + tileExtent)
      covered -= from - low;
    if (afterHigh > 0 && bands.list[afterHigh - 1] >= high - column)
      covered -= high + tileExtent - to;
    ofColumns += to - from - covered;
  }
  inTiles = blockSum(inTiles, shared.totals);
  ofColumns = blockSum(ofColumns, shared.totals);
  columnsInReach = blockSum(columnsInReach, shared.totals);
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
  plan.stepCount = step;
  plan.steps = steps;
  plan.starts = starts;
  plan.columns = columns;
  plan.columnCount = (int)columnsInReach;
  plan.denseFrom = denseFrom;
  p.plans[head] = plan;
}

/// Both covers of a head, by two warps.
template <typename RangeAt>
__device__ __forceinline__ void makeCovers(
    const PlanParameters& p, SharedPlan& shared, int head, int count, RangeAt rangeAt) {
  int* const covers = p.bands + (long long)head * 2 * p.bandsStride;
  const int lastTile = (p.firstPosition + p.rows - 1) / tileExtent * tileExtent;
  const int warp = threadIdx.x / 32;
  if (warp > 1 || (warp == 0 && p.aligned)) return;
  const int bands = warp == 0 ? cover<false>(covers, count, lastTile, rangeAt)
                              : cover<true>(covers + p.bandsStride, count, lastTile, rangeAt);
  if ((threadIdx.x & 31) == 0) shared.counts[warp] = bands;
}

}  // namespace

// Plans the heads that select_columns_and_offsets served. Grid: heads. Block: 1024. No dynamic
// shared memory. Parameters: PlanParameters, by value.
extern "C" __global__ void __launch_bounds__(1024) plan_bands(const PlanParameters p) {
  __shared__ SharedPlan shared;
  const int head = blockIdx.x;
  if (p.budgets[head].wanted == 0) return;
  const int* const offsets = p.offsets + (long long)head * p.maximumOffsets;
  makeCovers(p, shared, head, p.counts[2 * head + 1], [=](int i) {
    const int offset = offsets[i];
    return make_int2(offset, offset + 1);
  });
  finishPlan(p, shared, head, p.columns + (long long)head * p.maximumColumns, p.counts[2 * head],
      2147483647);
}

// Plans heads whose offsets and columns need no estimate (A-shape, tri-shape, dilated, strided,
// static). Grid, block, memory and parameters as plan_bands.
extern "C" __global__ void __launch_bounds__(1024) plan_fixed(const PlanParameters p) {
  __shared__ SharedPlan shared;
  const int head = blockIdx.x;
  const FixedBands fixed = p.fixed[head];
  if (fixed.wanted == 0) return;
  const int2* const ranges = p.ranges + fixed.rangeStart;
  const int keys = p.firstPosition + p.rows;
  makeCovers(p, shared, head, fixed.rangeCount, [=](int i) {
    const int2 range = ranges[i];
    return make_int2(max(range.x, 0), min(range.y, keys));
  });
  finishPlan(p, shared, head, p.columns + fixed.columnStart, fixed.columnCount, fixed.denseFrom);
}
