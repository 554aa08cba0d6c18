// Checks block-sparse selection as a whole: what its kernels, launched in the order of the Swift code, leave in the plans, against
// the rule written plainly. Prints one line for each case that fails and one at the end; exits 1 on a miss.
//
// Queries and keys are small integers: means of 64 and their products are exact, so that ties are ties, and what is no tie differs by
// more than the width of one. Rounding decides nothing.

#include "pooling.cu"

#include <climits>
#include <random>
#include <set>

struct Random {
  std::mt19937 engine;
  int between(int low, int high) { return low + (int)(engine() % (unsigned)(high - low + 1)); }
};

static bf16 toBF16(float x) { return __float_as_uint(x) >> 16; }

/// [heads][blocks][headDim] of x[row][head][d] in double; row 0 stands at `first`.
static std::vector<double> plainMeans(const std::vector<float>& x, int heads, int d, int first, int rows) {
  const int blocks = (first + rows - 1) / 64 - first / 64 + 1;
  std::vector<double> means((size_t)heads * blocks * d);
  for (int h = 0; h < heads; ++h)
    for (int b = 0; b < blocks; ++b) {
      const int from = std::max(first, (first / 64 + b) * 64), to = std::min(first + rows, (first / 64 + b + 1) * 64);
      for (int i = 0; i < d; ++i) {
        double sum = 0;
        for (int r = from; r < to; ++r) sum += x[((size_t)(r - first) * heads + h) * d + i];
        means[((size_t)h * blocks + b) * d + i] = sum / (to - from);
      }
    }
  return means;
}

/// The blocks that LargestScores.swift takes.
static std::set<int> largest(const std::vector<double>& scores, int count) {
  std::set<int> taken;
  count = std::min(count, (int)scores.size());
  if (count <= 0) return taken;
  std::vector<double> sorted = scores;
  std::sort(sorted.rbegin(), sorted.rend());
  const double cut = sorted[count - 1];
  for (int i = 0; i < (int)scores.size(); ++i)
    if (scores[i] > cut + 5e-6) taken.insert(i);
  for (int i = 0; i < (int)scores.size() && (int)taken.size() < count; ++i)
    if (std::abs(scores[i] - cut) <= 5e-6) taken.insert(i);
  return taken;
}

struct Case {
  int heads, group, d, first, rows, window, exact, slab;
  float tileCost, runCost;
  std::vector<BlockHead> slots;
};

static const char* check(const Case& c, Random& random) {
  const int keys = c.first + c.rows, kvHeads = c.heads / c.group, capacity = keys + 5;
  const int queryBlocks = (keys - 1) / 64 - c.first / 64 + 1, keyBlocks = (keys - 1) / 64 + 1;
  const int pairs = (keys - 1) / 128 - c.first / 128 + 1;
  std::vector<float> q((size_t)c.rows * c.heads * c.d), k((size_t)keys * kvHeads * c.d);
  for (float& x : q) x = random.between(-2, 2);
  for (float& x : k) x = random.between(-1, 1);
  std::vector<bf16> qBits, kBits((size_t)kvHeads * capacity * c.d, 0x7fff);
  for (float x : q) qBits.push_back(toBF16(x));
  for (int h = 0; h < kvHeads; ++h)
    for (int r = 0; r < keys; ++r)
      for (int i = 0; i < c.d; ++i)
        kBits[((size_t)h * capacity + r) * c.d + i] = toBF16(k[((size_t)r * kvHeads + h) * c.d + i]);

  std::vector<float> queries((size_t)c.heads * queryBlocks * c.d, NAN), means((size_t)kvHeads * keyBlocks * c.d, NAN);
  emulated::launch(keyBlocks, kvHeads, 1, 256, [&] {
    mean_blocks(kBits.data(), means.data(), keys, 0, c.d, 0, keyBlocks, 64, c.d, (long long)capacity * c.d);
  });
  // Queries come in parts that end at multiples of 64.
  for (int from = c.first; from < keys;) {
    const int to = std::min(keys, (from / 64 + random.between(1, 4)) * 64), row = c.heads * c.d;
    emulated::launch((to - 1) / 64 - from / 64 + 1, c.heads, 1, 256, [&] {
      mean_blocks(qBits.data() + (size_t)(from - c.first) * row, queries.data(), to - from, from, c.d, from / 64 - c.first / 64,
                  queryBlocks, 64, row, c.d);
    });
    from = to;
  }
  const std::vector<double> plainQueries = plainMeans(q, c.heads, c.d, c.first, c.rows), plainKeys = plainMeans(k, kvHeads, c.d, 0, keys);
  for (size_t i = 0; i < queries.size(); ++i)
    if (!(std::abs(queries[i] - plainQueries[i]) < 1e-6)) return "means of queries";
  for (size_t i = 0; i < means.size(); ++i)
    if (!(std::abs(means[i] - plainKeys[i]) < 1e-6)) return "means of keys";

  int topK = 0;
  for (const BlockHead& x : c.slots) topK = std::max(topK, std::min(x.topK, keyBlocks));
  const size_t slots = c.slots.size(), room = 2 * (topK + 2);
  // A guard behind every array.
  std::vector<float> scores(slots * 2 * c.slab * keyBlocks + 1, NAN);
  std::vector<int> rooms(slots * pairs * room + 1, -7), counts(slots * pairs + 1, -7), steps(slots * pairs * room + 1, -7),
      offsets(slots * (pairs + 1) + 1, -7);
  std::vector<long long> work(slots * pairs * 2 + 1, -7), pairCounts(2 * c.heads + 1, -7);
  std::vector<HeadPlan> plans(c.heads);
  BlockParameters p{};
  p.queries = queries.data(), p.keys = means.data(), p.scores = scores.data(), p.heads = c.slots.data(), p.rooms = rooms.data();
  p.stepCounts = counts.data(), p.work = work.data(), p.steps = steps.data(), p.stepOffsets = offsets.data(), p.plans = plans.data();
  p.pairCounts = pairCounts.data(), p.queryBlocks = queryBlocks, p.keyBlocks = keyBlocks, p.scoreStride = keyBlocks, p.pairs = pairs;
  p.rows = c.rows, p.firstPosition = c.first, p.headDim = c.d, p.groupSize = c.group, p.topK = topK, p.window = c.window;
  p.tileCost = c.tileCost, p.runCost = c.runCost, p.exact = c.exact;
  for (int start = 0; start < pairs; start += c.slab) {
    p.slabPair = start, p.slabPairs = std::min(c.slab, pairs - start);
    emulated::launch((keyBlocks + 127) / 128, (2 * p.slabPairs + 63) / 64, slots, 256, [&] { block_scores(p); });
    emulated::launch(p.slabPairs, slots, 1, 256, [&] { select_blocks(p); });
  }
  emulated::launch(slots, 1, 1, 1024, [&] { count_blocks(p); });
  emulated::launch(pairs, slots, 1, 64, [&] { gather_blocks(p); });
  if (!std::isnan(scores.back()) || rooms.back() != -7 || counts.back() != -7 || steps.back() != -7 || offsets.back() != -7 ||
      work.back() != -7 || pairCounts.back() != -7)
    return "wrote beyond an array";

  long long causal = 0;
  for (int i = c.first; i < keys; ++i) causal += std::min(i + 1, c.window);
  std::set<int> wanted;
  for (size_t slot = 0; slot < slots; ++slot) {
    const int head = c.slots[slot].head;
    wanted.insert(head);
    const HeadPlan& plan = plans[head];
    long long inTiles = 0, runs = 0;
    std::vector<std::vector<int>> expected(pairs);
    for (int pair = 0; pair < pairs; ++pair) {
      std::set<int> halves[2];
      for (int half = 0; half < 2; ++half) {
        const int own = 2 * (c.first / 128 + pair) + half, block = own - c.first / 64;
        if (block < 0 || block >= queryBlocks) continue;
        std::vector<double> all(own + 1, 0.0);
        for (int t = 0; t <= own; ++t)
          for (int i = 0; i < c.d; ++i)
            all[t] += plainQueries[((size_t)head * queryBlocks + block) * c.d + i] *
                      plainKeys[((size_t)(head / c.group) * keyBlocks + t) * c.d + i];
        std::set<int> taken = largest(all, c.slots[slot].topK);
        taken.insert(0), taken.insert(own);
        const int from = std::max(c.first, own * 64), to = std::min(keys, own * 64 + 64);
        for (int t : taken) {
          if (t < own && t < std::max(0LL, (long long)from - c.window + 1) / 64) continue;
          halves[half].insert(t);
          runs += !halves[half].count(t - 1);
          for (int i = from; i < to; ++i)
            for (int j = t * 64; j < std::min(t * 64 + 64, i + 1); ++j) inTiles += i - j < c.window;
        }
      }
      for (int t = keyBlocks; t-- > 0;)
        if (const int flags = (int)halves[0].count(t) | (int)halves[1].count(t) << 1) expected[pair].push_back(t * 4 + flags);
    }
    const bool dense = inTiles == causal || (!c.exact && inTiles * (double)c.tileCost + runs * (double)c.runCost > (double)causal);
    if (plan.kind != (dense ? 0 : 2)) return "dense or not";
    if (pairCounts[2 * head] != (dense ? causal : inTiles) || pairCounts[2 * head + 1] != 0) return "pairs";
    if (plan.columnCount != 0 || plan.denseFrom != INT_MAX) return "columns";
    if (plan.stepOffsets[0] != 0 || plan.stepOffsets[pairs] != plan.stepCount) return "ends of the lists";
    for (int pair = 0; pair < pairs; ++pair) {
      const std::vector<int> made(plan.steps + plan.stepOffsets[pair], plan.steps + plan.stepOffsets[pair + 1]);
      if (made != expected[pair]) return "lists";
    }
  }
  for (int h = 0; h < c.heads; ++h)
    if (!wanted.count(h) && (plans[h].kind || plans[h].steps || pairCounts[2 * h] != -7)) return "a head of another kind";
  return nullptr;
}

int main(int count, char** arguments) {
  Random random{std::mt19937(count > 1 ? atoi(arguments[1]) : 1)};
  const int cases = count > 2 ? atoi(arguments[2]) : 30;
  int failed = 0;
  for (int i = 0; i < cases; ++i) {
    Case c;
    c.group = random.between(1, 4);
    c.heads = c.group * random.between(1, 2);
    c.d = (const int[]){64, 96, 128}[random.between(0, 2)];
    c.first = random.between(0, 2) ? random.between(0, 900) : 64 * random.between(0, 20);
    // Now and then one row, and more keys than a thread block has products for (128 blocks).
    c.rows = i % 8 == 0 ? 1 : i % 8 == 1 ? random.between(8300, 9000) : random.between(1, 1500);
    c.window = random.between(0, 2) ? INT_MAX : random.between(1, c.first + c.rows + 10);
    c.exact = random.between(0, 1);
    c.tileCost = random.between(0, 1) ? 1 : 1.25f;
    c.runCost = random.between(0, 1) ? 64 : 0;
    const int pairs = (c.first + c.rows - 1) / 128 - c.first / 128 + 1;
    c.slab = random.between(1, pairs + 1);
    for (int h = 0; h < c.heads; ++h)
      if (c.slots.empty() || random.between(0, 1)) c.slots.push_back({h, random.between(0, 3) ? random.between(0, 6) : random.between(0, 300)});
    if (const char* wrong = check(c, random)) {
      ++failed;
      printf("case %d: %s (%d/%d heads x %d, %d rows from %d, window %d, slab %d)\n", i, wrong, c.heads, c.heads / c.group, c.d,
             c.rows, c.first, c.window, c.slab);
    }
  }
  printf("%d of %d plans right\n", cases - failed, cases);
  return failed != 0;
}
