// Plans random selections with plan.cu on the CPU. The cover is compared with the rule of BandCover.swift,
// steps and starts with the cover, and counts with a walk over all pairs.

#include <algorithm>
#include <climits>
#include <set>

#include "plan.cu"

static uint64_t state;
static uint64_t next() {
  state += 0x9E3779B97F4A7C15u;
  uint64_t mixed = state;
  mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBu;
  return mixed ^ mixed >> 31;
}
static int below(int bound) { return (int)((next() >> 33) % bound); }

/// BandCover.free.
static std::vector<int> freeCover(const std::vector<int>& offsets) {
  std::vector<int> starts = {0};
  for (int offset : offsets)
    if (offset > starts.back()) starts.push_back(std::max(offset, starts.back() + 64));
  return starts;
}

/// BandCover.aligned.
static std::vector<int> alignedCover(const std::vector<int>& offsets, int keys) {
  const int last = (keys - 1) / 64 * 64;
  std::vector<int> starts = {0};
  for (int offset : offsets)
    for (int start : {offset / 64 * 64, (offset + 63) / 64 * 64})
      if (start > starts.back() && start <= last) starts.push_back(start);
  return starts;
}

/// BandCover.time.
static long long timeOf(const std::vector<int>& starts, int keys) {
  long long products = 0, loads = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    const int rows = std::max(0, keys - starts[i]);
    products += rows;
    loads += i + 1 < starts.size() && starts[i + 1] == starts[i] + 64 ? rows : 2 * rows;
  }
  return std::max(2 * products * 43, loads * 61);
}

struct Case {
  int firstPosition, rows, window, denseFrom;
  float columnCost;
  bool exact, aligned, isFixed;
  std::vector<int> offsets, columns;  // ascending, distinct
  int keys() const { return firstPosition + rows; }
};

static Case drawCase() {
  Case c;
  const int keys = 2 + below(below(2) ? 300 : 1500);
  c.firstPosition = below(2) ? 0 : below(keys);
  c.rows = keys - c.firstPosition;
  c.window = below(3) ? INT_MAX : 1 + below(keys + 64);
  c.exact = below(2);
  c.aligned = below(3) == 0;
  c.isFixed = below(2);
  c.denseFrom = c.isFixed && below(2) ? below(keys + 100) : INT_MAX;
  c.columnCost = 1 + (float)below(40) / 8;
  std::set<int> offsets, columns;
  for (int i = below(4) ? below(20) : 0; i > 0; --i) {
    // Single offsets, runs of them, and neighbours of multiples of 64.
    const int first = below(2) ? below(keys) : std::max(0, below(keys) / 64 * 64 + below(3) - 1);
    const int count = below(3) ? 1 : 1 + below(150);
    for (int o = first; o < std::min(keys, first + count); ++o) offsets.insert(o);
  }
  for (int i = below(4) ? below(40) : 0; i > 0; --i) columns.insert(below(keys));
  c.offsets.assign(offsets.begin(), offsets.end());
  c.columns.assign(columns.begin(), columns.end());
  return c;
}

/// Runs the kernel for head 1 of two, of which the first is not wanted. Returns what is wrong, or null.
static const char* check(const Case& c) {
  const int keys = c.keys(), stride = (keys - 1) / 64 + 2, startsStride = 4 * ((stride + 5) / 4);
  std::vector<int> bands(4 * stride, -1), steps(4 * stride, -1);
  std::vector<unsigned char> startsTable(2 * startsStride, 77);
  std::vector<long long> pairs(4, -7);
  HeadPlan plans[2] = {};
  plans[0].kind = 9;
  PlanParameters p = {};
  p.plans = plans, p.pairs = pairs.data(), p.bands = bands.data(), p.starts = startsTable.data();
  p.steps = steps.data(), p.bandsStride = stride, p.startsStride = startsStride;
  p.rows = c.rows, p.firstPosition = c.firstPosition, p.window = c.window;
  p.columnCost = c.columnCost, p.exact = c.exact, p.aligned = c.aligned;
  std::vector<int> offsets = c.offsets, columns = c.columns;
  std::vector<int2> ranges = {{-5, -1}};
  const int most = (int)std::max(offsets.size(), columns.size()) + 1;
  if (c.isFixed) {
    for (size_t i = 0; i < offsets.size();) {
      size_t end = i + 1;
      while (end < offsets.size() && offsets[end] == offsets[end - 1] + 1) ++end;
      ranges.push_back({offsets[i], offsets[end - 1] + 1});
      i = end;
    }
    ranges.push_back({keys + 3, keys + 90});  // outside: dropped
    columns.insert(columns.begin(), -1);      // of another head
    FixedBands fixed[2] = {};
    fixed[1].wanted = 1, fixed[1].rangeCount = (int)ranges.size();
    fixed[1].columnStart = 1, fixed[1].columnCount = (int)c.columns.size();
    fixed[1].denseFrom = c.denseFrom;
    p.fixed = fixed, p.ranges = ranges.data(), p.columns = columns.data();
    emulated::launch(2, 1, 1, 1024, [&] { plan_fixed(p); });
  } else {
    offsets.resize(2 * most), columns.resize(2 * most);
    std::rotate(offsets.begin(), offsets.begin() + most, offsets.end());
    std::rotate(columns.begin(), columns.begin() + most, columns.end());
    const int counts[4] = {0, 0, (int)c.columns.size(), (int)c.offsets.size()};
    HeadBudget budgets[2] = {};
    budgets[1].wanted = 1;
    p.offsets = offsets.data(), p.columns = columns.data(), p.counts = counts, p.budgets = budgets;
    p.maximumColumns = p.maximumOffsets = most;
    emulated::launch(2, 1, 1, 1024, [&] { plan_bands(p); });
  }
  if (plans[0].kind != 9 || pairs[0] != -7) return "a head that is not wanted was written";

  const std::vector<int> freeStarts = freeCover(c.offsets), aligned = alignedCover(c.offsets, keys);
  const bool isFree = !c.aligned && timeOf(freeStarts, keys) < timeOf(aligned, keys);
  const std::vector<int>& starts = isFree ? freeStarts : aligned;

  // What the cover computes, pair by pair.
  long long inTiles = 0, ofColumns = 0, causal = 0;
  std::vector<char> covered(keys), isColumn(keys);
  for (int column : c.columns) isColumn[column] = 1;
  for (int i = c.firstPosition; i < keys; ++i) {
    const int row = i / 64 * 64;
    const bool isDense = c.denseFrom < keys && row >= c.denseFrom / 64 * 64;
    std::fill(covered.begin(), covered.end(), isDense);
    if (!isDense)
      for (int start : starts)
        for (int j = std::max(0, row - start); j < std::min(keys, row - start + 64); ++j) covered[j] = 1;
    if (!isDense)
      for (int offset : c.offsets)
        if (offset <= i && !covered[i - offset]) return "the rule leaves an offset out";
    for (int j = 0; j <= i; ++j) {
      if (i - j >= c.window) continue;
      ++causal;
      if (covered[j]) ++inTiles;
      else if (isColumn[j] && j < row) ++ofColumns;
    }
  }
  const bool isDense = !c.exact && (double)inTiles + (double)ofColumns * c.columnCost > (double)causal;
  const HeadPlan& plan = plans[1];
  if (plan.kind != (isDense ? 0 : 1)) return "dense where sparse is expected, or the other way round";
  if (pairs[2] != (isDense ? causal : inTiles)) return "the pairs in tiles are counted wrong";
  if (pairs[3] != (isDense ? 0 : ofColumns)) return "the pairs of columns are counted wrong";
  if (plan.columnCount != (int)c.columns.size() || plan.denseFrom != c.denseFrom) return "columns";
  if (plan.columns[0] != columns[c.isFixed ? 1 : most] && plan.columnCount > 0) return "which columns";

  // Half 1 meets a band at its start, half 0 one tile later.
  std::vector<std::pair<int, int>> expected;
  auto has = [&](int start) { return std::binary_search(starts.begin(), starts.end(), start); };
  std::set<int> distances;
  for (int start : starts) distances.insert({start, start + 64});
  for (int e : distances) {
    const int halves = (e >= 64 && has(e - 64) ? firstHalf : 0) | (has(e) ? secondHalf : 0);
    expected.push_back({e, halves});
  }
  if (plan.stepCount != (int)expected.size()) return "the number of steps";
  for (size_t i = 0; i < expected.size(); ++i) {
    const int entry = plan.steps[i];
    if (entry >> StepEntry::placeShift != expected[i].first) return "the distance of a step";
    if ((entry & StepEntry::halves) != expected[i].second) return "the halves of a step";
  }
  for (int bucket = 0; bucket < (keys - 1) / 64 + 4; ++bucket) {
    const auto found = std::lower_bound(starts.begin(), starts.end(), 64 * bucket);
    const bool any = found != starts.end() && *found < 64 * bucket + 64;
    if (plan.starts[bucket] != (any ? *found - 64 * bucket : noStart)) return "the table of starts";
  }
  return nullptr;
}

int main(int count, char** arguments) {
  const uint64_t seed = count > 1 ? strtoull(arguments[1], nullptr, 10) : 1;
  const int cases = count > 2 ? atoi(arguments[2]) : 200;
  int failures = 0;
  for (int i = 0; i < cases; ++i) {
    state = seed * 1000003 + i;
    const Case c = drawCase();
    if (const char* wrong = check(c)) {
      ++failures;
      printf("case %d (rows %d from %d, window %d, %zu offsets, %zu columns%s%s): %s\n", i, c.rows,
             c.firstPosition, c.window, c.offsets.size(), c.columns.size(), c.isFixed ? ", fixed" : "",
             c.aligned ? ", aligned" : "", wrong);
    }
  }
  printf("%d of %d plans right\n", cases - failures, cases);
  return failures > 0;
}
