// Checks selection by shares of key blocks as a whole, by antidiagonals and by means: what its kernels, launched in the order of the Swift code, leave in scratch and in the
// plans, against the rule written plainly. Prints one line for each case that fails and one at the end; exits 1 on a miss.
//
// Shares come from sums in floating point, so the plain rule takes them in two steps: sums and maxima are compared with double
// precision, and the choice is made again from the very sums that the kernels left, in integers, where ties are ties.

#include "antidiagonal.cu"
#include "pooled_shares.cu"
#include "shares.cu"
#include "flexprefill.cu"

#include <climits>
#include <random>
#include <set>

struct Random {
  std::mt19937 engine;
  int between(int low, int high) { return low + (int)(engine() % (unsigned)(high - low + 1)); }
};

struct Case {
  int heads, group, d, first, rows, window, exact, stride, queryStride, isMean, part, columns, capacity;
  float tileCost, runCost, columnCost;
  std::vector<ShareHead> slots;
};

/// Heads with an alternative that took it, and that did not.
static int withBands = 0, withBlocks = 0;

static const char* check(const Case& c, Random& random) {
  const int keys = c.first + c.rows, kvHeads = c.heads / c.group, capacity = keys + 5, S = c.stride, E = c.queryStride;
  // Groups of 128 positions are scored by their float32 means. G: scored groups of queries of a block.
  const bool isPooled = S == 128;
  const int G = 128 / S / E;
  const int chunkBlocks = (keys - 1) / 128 - c.first / 128 + 1, words = (keys - 1) / 128 / 32 + 1;
  const size_t slots = c.slots.size();
  std::vector<bf16> q((size_t)c.rows * c.heads * c.d), k((size_t)kvHeads * capacity * c.d, 0x7fff);
  auto number = [&] { return (bf16)(__float_as_uint((float)random.between(-6, 6) / 4) >> 16); };
  for (bf16& x : q) x = number();
  for (int h = 0; h < kvHeads; ++h)
    for (size_t i = 0; i < (size_t)keys * c.d; ++i) k[(size_t)h * capacity * c.d + i] = number();
  auto query = [&](int head, int position, int i) {
    return position < c.first || position >= keys ? 0.0 : (double)toFloat(q[((size_t)(position - c.first) * c.heads + head) * c.d + i]);
  };

  const int most = c.part / (S * E) + 128, sumStride = ((keys - 1) / 128 / S + 1) * S, maximumStride = (keys - 1) / (128 * S) + 1;
  std::vector<float> sums(slots * most * sumStride), maxima(slots * most * maximumStride);
  std::vector<unsigned> bits(slots * chunkBlocks * words + 1, 0xabcdabcd);
  std::vector<long long> work(slots * chunkBlocks * 3 + 1, -7), pairCounts(2 * c.heads + 1, -7);
  std::vector<int> counts(slots * chunkBlocks + 1, -7), steps(slots * c.capacity + 1, -7), offsets(slots * (chunkBlocks + 1) + 1, -7);
  std::vector<int> columns(c.heads * (c.columns + 1)), columnCounts(2 * c.heads);
  for (int s = 0; s < c.heads; ++s) {
    std::set<int> some;
    for (int i = 0; i < c.columns; ++i) some.insert(random.between(0, keys - 1));
    columnCounts[2 * s] = some.size();
    std::copy(some.begin(), some.end(), columns.begin() + s * (c.columns + 1));
  }
  std::vector<HeadPlan> plans(c.heads);
  ShareParameters p{};
  p.k = k.data(), p.heads = c.slots.data(), p.sums = sums.data(), p.maxima = maxima.data(), p.bits = bits.data(), p.work = work.data();
  p.stepCounts = counts.data(), p.steps = steps.data(), p.stepOffsets = offsets.data(), p.plans = plans.data();
  p.pairCounts = pairCounts.data(), p.kvHeadStride = (long long)capacity * c.d, p.firstPosition = c.first, p.rows = c.rows;
  p.sumStride = sumStride, p.maximumStride = maximumStride, p.words = words, p.chunkBlocks = chunkBlocks, p.stepCapacity = c.capacity;
  p.columns = c.columns ? columns.data() : nullptr, p.columnCounts = columnCounts.data(), p.columnStride = c.columns + 1;
  p.qStride = c.heads * c.d, p.groupSize = c.group, p.stride = S, p.queryStride = E, p.window = c.window, p.scaleLog2 = c.isMean ? 0.5f : 0.11f / S;
  p.tileCost = c.tileCost, p.runCost = c.runCost, p.columnCost = c.columnCost, p.exact = c.exact;
  std::vector<std::vector<std::set<int>>> chosen(slots, std::vector<std::set<int>>(chunkBlocks));
  // What last rows attend to, with what is not to be read behind it, and what alternatives are judged by.
  const int keyBlocks = (keys - 1) / 128 + 1;
  std::vector<float> columnSums((size_t)c.heads * (keys + 3), NAN), lastShares(slots * keyBlocks + 1, -7);
  for (int h = 0; h < c.heads; ++h)
    for (int i = std::max(0, keys - c.window); i < keys; ++i) columnSums[(size_t)h * (keys + 3) + i] = random.between(0, 9) ? 0 : random.between(1, 99) / 64.0f;
  for (int h = 0; h < c.heads; ++h)
    for (int i = 0; i < keys - c.window; ++i) columnSums[(size_t)h * (keys + 3) + i] = 0;
  std::vector<int> takesBands(slots + 1, -7);
  BandChoiceParameters choice{};
  choice.heads = c.slots.data(), choice.sums = sums.data(), choice.maxima = maxima.data(), choice.lastShares = lastShares.data();
  choice.columnSums = columnSums.data(), choice.takesBands = takesBands.data(), choice.columnSumStride = keys + 3;
  choice.keys = keys, choice.keyBlocks = keyBlocks, choice.sumStride = sumStride, choice.maximumStride = maximumStride;
  choice.window = c.window;
  const bool hasAlternatives = G == 1;
  std::vector<double> distances(slots);
  std::vector<std::vector<double>> sharesOfLast(slots);

  for (int from = c.first; from < keys;) {
    const int to = std::min(keys, (from / c.part + 1) * c.part);
    std::fill(sums.begin(), sums.end(), NAN), std::fill(maxima.begin(), maxima.end(), NAN);
    p.q = q.data() + (size_t)(from - c.first) * c.heads * c.d, p.partPosition = from, p.partRows = to - from;
    const int blocks = (to - 1) / 128 - from / 128 + 1;
    p.partGroups = blocks * G;
    const int keyTiles = ((to - 1) / S) / 128 + 1, queryTiles = (p.partGroups + (isPooled ? 63 : 127)) / (isPooled ? 64 : 128);
    // Means are float32, as mean_blocks leaves them; those behind the part are not there yet.
    std::vector<float> queryMeans((size_t)c.heads * blocks * c.d), keyMeans((size_t)kvHeads * ((keys - 1) / 128 + 1) * c.d, NAN);
    PooledScoreParameters pooled{};
    pooled.queries = queryMeans.data(), pooled.keys = keyMeans.data(), pooled.heads = c.slots.data();
    pooled.sums = sums.data(), pooled.maxima = maxima.data(), pooled.partBlock = from / 128, pooled.partBlocks = blocks;
    pooled.keyBlocks = (keys - 1) / 128 + 1, pooled.sumStride = sumStride, pooled.maximumStride = maximumStride;
    pooled.headDim = c.d, pooled.groupSize = c.group, pooled.window = c.window, pooled.scaleLog2 = 128 * p.scaleLog2;
    if (isPooled) {
      for (int head = 0; head < c.heads; ++head)
        for (int b = 0; b < blocks; ++b)
          for (int i = 0; i < c.d; ++i) {
            const int begin = std::max(from, (from / 128 + b) * 128), end = std::min(to, (from / 128 + b + 1) * 128);
            double sum = 0;
            for (int r = begin; r < end; ++r) sum += query(head, r, i);
            queryMeans[((size_t)head * blocks + b) * c.d + i] = sum / (end - begin);
          }
      for (int head = 0; head < kvHeads; ++head)
        for (int b = 0; b * 128 < to; ++b)
          for (int i = 0; i < c.d; ++i) {
            double sum = 0;
            for (int r = b * 128; r < std::min(to, (b + 1) * 128); ++r) sum += toFloat(k[((size_t)head * capacity + r) * c.d + i]);
            keyMeans[((size_t)head * pooled.keyBlocks + b) * c.d + i] = sum / (std::min(to, (b + 1) * 128) - b * 128);
          }
    }
    // Means of smaller groups, as the kernel makes them; those of keys go on from part to part.
    std::vector<bf16> queryGroups, keyGroups;
    const bf16* const queries = p.q;
    const int allGroups = ((keys - 1) / 128 + 1) * (128 / S);
    if (c.isMean) {
      queryGroups.assign((size_t)p.partGroups * c.heads * c.d, 0x7fff), keyGroups.assign((size_t)kvHeads * allGroups * c.d, 0x7fff);
      emulated::launch(3, 1, 1, 256, [&] {
        group_means(queries, queryGroups.data(), to - from, from, c.d, c.heads, S, from / 128 * G, p.partGroups, (long long)c.heads * c.d,
                    c.d, (long long)c.heads * c.d, c.d);
      });
      const int middle = random.between(0, (to - 1) / S);
      for (int half = 0; half < 2; ++half) {
        const int first = half ? middle : 0, end = half ? (to - 1) / S + 1 : middle;
        if (first == end) continue;
        emulated::launch(2, 1, 1, 256, [&] {
          group_means(k.data() + (size_t)first * S * c.d, keyGroups.data() + (size_t)first * c.d, std::min(to, end * S) - first * S, first * S,
                      c.d, kvHeads, S, first, end - first, c.d, (long long)capacity * c.d, c.d, (long long)allGroups * c.d);
        });
      }
      auto near = [](bf16 made, double wanted) { return std::abs(toFloat(made) - wanted) <= 0.004 * std::abs(wanted) + 1e-6; };
      for (int g = 0; g < p.partGroups; ++g)
        for (int head = 0; head < c.heads; ++head)
          for (int i = 0; i < c.d; ++i) {
            const int begin = std::max(from, (from / 128 * G + g) * S), end = std::min(to, (from / 128 * G + g + 1) * S);
            double sum = 0;
            for (int r = begin; r < end; ++r) sum += query(head, r, i);
            if (!near(queryGroups[((size_t)g * c.heads + head) * c.d + i], begin < end ? sum / (end - begin) : 0)) return "means of queries";
          }
      for (int head = 0; head < kvHeads; ++head)
        for (int g = 0; g * S < to; ++g)
          for (int i = 0; i < c.d; ++i) {
            double sum = 0;
            for (int r = g * S; r < std::min(to, (g + 1) * S); ++r) sum += toFloat(k[((size_t)head * capacity + r) * c.d + i]);
            if (!near(keyGroups[((size_t)head * allGroups + g) * c.d + i], sum / (std::min(to, (g + 1) * S) - g * S))) return "means of keys";
          }
      p.q = queryGroups.data(), p.k = keyGroups.data(), p.kvHeadStride = (long long)allGroups * c.d;
    }
    auto scores = [&] {
      if (isPooled) pooled_scores(pooled);
      else if (c.isMean && c.d == 64) mean_group_scores_d64(p);
      else if (c.isMean && c.d == 96) mean_group_scores_d96(p);
      else if (c.isMean) mean_group_scores_d128(p);
      else if (c.d == 64) antidiagonal_scores_d64(p);
      else if (c.d == 96) antidiagonal_scores_d96(p);
      else antidiagonal_scores_d128(p);
    };
    emulated::launch(keyTiles, queryTiles, slots, 256, scores);
    for (size_t s = 0; s < slots; ++s) {
      const int head = c.slots[s].head;
      for (int g = 0; g < p.partGroups; ++g) {
        const int a = (from / 128 * G + g) * E + E - 1;
        if ((long long)a * S + S <= from || a * S >= to) continue;
        std::vector<double> score(a + 1, -INFINITY);
        for (int e = 0; e <= a; ++e) {
          if ((long long)(a - e) * S - (S - 1) >= c.window) continue;
          double sum = 0;
          for (int i = 0; isPooled && i < c.d; ++i)
            sum += (double)queryMeans[((size_t)head * blocks + g) * c.d + i] *
                   keyMeans[((size_t)(head / c.group) * pooled.keyBlocks + e) * c.d + i] * 128;
          for (int i = 0; c.isMean && i < c.d; ++i)
            sum += (double)toFloat(queryGroups[((size_t)g * c.heads + head) * c.d + i]) *
                   toFloat(keyGroups[((size_t)(head / c.group) * allGroups + e) * c.d + i]) * 16;
          for (int t = 0; !isPooled && !c.isMean && t < S; ++t) {
            const int position = a * S + S - 1 - t, key = e * S + t;
            if (key >= to || position < from || position >= to) continue;
            for (int i = 0; i < c.d; ++i)
              sum += query(head, position, i) * toFloat(k[((size_t)(head / c.group) * capacity + key) * c.d + i]);
          }
          score[e] = sum * (c.isMean ? p.scaleLog2 / 16 : p.scaleLog2);
        }
        const float* row = sums.data() + (s * p.partGroups + g) * sumStride;
        const float* high = maxima.data() + (s * p.partGroups + g) * maximumStride;
        double most = -INFINITY;
        for (double x : score) most = std::max(most, x);
        for (int b = 0; b <= a * S / 128; ++b) {
          double wanted = 0;
          for (int e = b * 128 / S; e < (b + 1) * 128 / S && e <= a; ++e) wanted += exp2(score[e] - most);
          if (wanted == 0 && (std::isnan(high[b / S]) || high[b / S] < -1e29f)) continue;
          const double made = (double)row[b] * exp2((double)high[b / S] - most);
          if (!(std::abs(made - wanted) <= 1e-4 * wanted + 1e-6)) return "sums";
        }
      }
    }
    // By warps, where a row of candidates is short enough, or by whole blocks.
    const int candidates = (to - 1) / 128 + 1, variant = random.between(0, 3);
    if (variant == 0 && candidates <= 256) emulated::launch((blocks + 7) / 8, slots, 1, 256, [&] { select_shares_256(p); });
    else if (variant == 1 && candidates <= 1024) emulated::launch((blocks + 7) / 8, slots, 1, 256, [&] { select_shares_1024(p); });
    else if (variant == 2 && candidates <= 2048) emulated::launch((blocks + 7) / 8, slots, 1, 256, [&] { select_shares_2048(p); });
    else emulated::launch(blocks, slots, 1, 256, [&] { select_shares(p); });
    for (size_t s = 0; s < slots; ++s)
      for (int b = 0; b < blocks; ++b) {
        const int block = from / 128 + b, firstVisible = std::min((long long)block, std::max(0LL, (long long)std::max(from, block * 128) - c.window + 1) / 128);
        // As the kernel does it: one group after the other, sums by warps.
        auto isThere = [&](int g) {
          const int start = block * 128 + (g * E + E - 1) * S;
          return start + S > from && start < to;
        };
        int valid = 0;
        for (int g = 0; g < G; ++g) valid += isThere(g);
        std::vector<double> exactShare(block + 1);
        for (int g = 0; g < G; ++g) {
          if (!isThere(g)) continue;
          const float* row = sums.data() + (s * p.partGroups + b * G + g) * sumStride;
          const float* high = maxima.data() + (s * p.partGroups + b * G + g) * maximumStride;
          float top = -1e30f;
          for (int t = firstVisible / S; t <= block / S; ++t) top = std::max(top, high[t]);
          double sum = 0;
          for (int x = firstVisible; x <= block; ++x) sum += (double)row[x] * exp2((double)high[x / S] - top);
          for (int x = firstVisible; x <= block; ++x) exactShare[x] += (double)row[x] * exp2((double)high[x / S] - top) / sum / valid;
        }
        std::set<int> made;
        for (int x = 0; x <= block; ++x)
          if (bits[(s * chunkBlocks + block - c.first / 128) * words + x / 32] >> x % 32 & 1) made.insert(x);
        // What is taken is a prefix of the order by shares (a hair apart is a tie), long enough and no longer.
        const ShareHead& rule = c.slots[s];
        const int have = block + 1;
        const bool isDense = block * 128 >= rule.denseFrom || valid == 0;
        std::vector<int> order(have);
        for (int x = 0; x < have; ++x) order[x] = x;
        std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return exactShare[x] > exactShare[y] + 1e-12; });
        auto wanted = [&](double slack) {
          int need = have;
          if (rule.share < 1) {
            need = 0;
            double held = 0;
            while (need < have && held < rule.share + slack) held += exactShare[order[need++]];
          }
          need = std::max({need, (int)ceilf(rule.floor * have), std::min(rule.least, have)}), need = std::min(need, std::min(have, (int)ceilf(rule.cap * have)));
          return isDense ? have : need;
        };
        const int least = wanted(-1e-5), greatest = wanted(1e-5);
        std::set<int> all;
        for (int x = firstVisible; x <= block; ++x) all.insert(x);
        int taken = 0;
        for (int x : made) {
          if (!all.count(x)) return "a block outside the window";
          ++taken;
        }
        if (!made.count(block) || (firstVisible == 0 && !made.count(0))) return "first and own";
        double lowest = 2, highest = -1;
        for (int x : all) {
          if (made.count(x) && x != 0 && x != block) lowest = std::min(lowest, exactShare[x]);
          if (!made.count(x)) highest = std::max(highest, exactShare[x]);
        }
        if (highest > lowest + 1e-7) return "not the largest";
        // The divergence by its other definition: the entropy of the mean less the mean of entropies.
        if (G == 1 && block == keyBlocks - 1) {
          std::vector<double> mass(keyBlocks), share(keyBlocks);
          double ofRows = 0, ofMeans = 0;
          for (int i = 0; i < keys; ++i) mass[i / 128] += columnSums[(size_t)rule.head * (keys + 3) + i], ofRows += columnSums[(size_t)rule.head * (keys + 3) + i];
          for (int x = 0; x < keyBlocks; ++x) ofMeans += exactShare[x];
          auto entropy = [](double x) { return x > 0 ? -x * std::log(x) : 0; };
          double divergence = 0;
          for (int x = 0; x < keyBlocks; ++x) {
            const double u = mass[x] / ofRows, v = exactShare[x] / ofMeans;
            divergence += entropy((u + v) / 2) - (entropy(u) + entropy(v)) / 2;
          }
          distances[s] = ofRows > 0 ? std::sqrt(std::max(0.0, divergence)) : INFINITY;
          sharesOfLast[s] = exactShare;
        }
        if (firstVisible == 0 && (taken < least || taken > greatest + 2)) return "number of blocks";
        chosen[s][block - c.first / 128] = made;
      }
    if (hasAlternatives && to == keys) {
      choice.partBlocks = blocks, choice.firstRow = std::max(from, (keyBlocks - 1) * 128);
      emulated::launch(slots, 1, 1, 256, [&] { keep_last_shares(choice); });
    }
    from = to;
  }
  // The plans that bands have already.
  for (const ShareHead& rule : c.slots) plans[rule.head].kind = 1;
  if (hasAlternatives) {
    std::fill(sums.begin(), sums.end(), NAN), std::fill(maxima.begin(), maxima.end(), NAN);
    for (size_t s = 0; s < slots; ++s)
      for (int x = 0; x < keyBlocks; ++x)
        if (!(std::abs(lastShares[s * keyBlocks + x] - sharesOfLast[s][x]) <= 1e-5)) return "shares of the last query block";
    // Distances on both sides of what is found, a hundredth beside it.
    std::vector<ShareHead> judged = c.slots;
    for (size_t s = 0; s < slots; ++s)
      if (std::isfinite(judged[s].bandDistance) && std::isfinite(distances[s]))
        judged[s].bandDistance = distances[s] < 1e-3 ? 0.01f : (float)distances[s] * (random.between(0, 1) ? 0.99f : 1.01f);
    choice.heads = judged.data();
    emulated::launch(slots, 1, 1, 1024, [&] { choose_bands(choice); });
    if (takesBands[slots] != -7 || lastShares.back() != -7) return "wrote beyond an array";
    for (size_t s = 0; s < slots; ++s) {
      const float least = judged[s].bandDistance;
      if (takesBands[s] != !(std::isinf(least) || distances[s] < least)) return "bands or blocks";
      (takesBands[s] ? withBands : withBlocks) += std::isfinite(least);
    }
    p.takesBands = takesBands.data();
  }
  if (c.columns) emulated::launch(chunkBlocks, slots, 1, 128, [&] { count_share_columns(p); });
  emulated::launch(slots, 1, 1, 1024, [&] { count_shares(p); });
  emulated::launch(chunkBlocks, slots, 1, 128, [&] { gather_shares(p); });
  if (bits.back() != 0xabcdabcd || work.back() != -7 || counts.back() != -7 || steps.back() != -7 || offsets.back() != -7 ||
      pairCounts.back() != -7)
    return "wrote beyond an array";

  long long causal = 0;
  for (int i = c.first; i < keys; ++i) causal += std::min(i + 1, c.window);
  std::set<int> wanted;
  for (size_t s = 0; s < slots; ++s) {
    const int head = c.slots[s].head;
    wanted.insert(head);
    const HeadPlan& plan = plans[head];
    if (hasAlternatives && takesBands[s]) {
      if (plan.kind != 1 || plan.steps || pairCounts[2 * head] != -7 || pairCounts[2 * head + 1] != -7) return "a plan of bands";
      continue;
    }
    long long inTiles = 0, runs = 0, inColumns = 0, length = 0;
    std::vector<std::vector<int>> expected(chunkBlocks);
    for (int b = 0; b < chunkBlocks; ++b) {
      const int block = c.first / 128 + b;
      const bool isDense = block * 128 >= c.slots[s].denseFrom;
      std::set<int> halves[2];
      for (int half = 0; half < 2; ++half) {
        const int tileRow = 2 * block + half, from = std::max(c.first, tileRow * 64), to = std::min(keys, tileRow * 64 + 64);
        if (from >= to) continue;
        for (int x : chosen[s][b])
          for (int t = 2 * x; t <= std::min(2 * x + 1, tileRow); ++t) halves[half].insert(t);
        for (int t : halves[half]) {
          runs += !halves[half].count(t - 1);
          for (int i = from; i < to; ++i)
            for (int j = t * 64; j < std::min(t * 64 + 64, i + 1); ++j) inTiles += i - j < c.window;
        }
        if (!isDense)
          for (int i = 0; i < (c.slots[s].hasColumns ? columnCounts[2 * head] : 0); ++i) {
            const int column = columns[head * (c.columns + 1) + i];
            if (column / 128 >= block || chosen[s][b].count(column / 128)) continue;
            for (int r = from; r < to; ++r) inColumns += r - column < c.window;
          }
      }
      for (int t = 2 * block + 1; t >= 0 && !isDense; --t)
        if (const int flags = (int)halves[0].count(t) | (int)halves[1].count(t) << 1) expected[b].push_back(t * 4 + flags);
      length += expected[b].size();
    }
    const bool tooLong = length > c.capacity;
    const bool dense = tooLong || inTiles >= causal ||
                       (!c.exact && inTiles * (double)c.tileCost + runs * (double)c.runCost + inColumns * (double)c.columnCost > (double)causal);
    if (plan.kind != (dense ? 0 : 2) || plan.pad[0] != tooLong) return "dense or not";
    if (pairCounts[2 * head] != (dense ? causal : inTiles) || pairCounts[2 * head + 1] != (dense ? 0 : inColumns)) return "pairs";
    if (plan.denseFrom != c.slots[s].denseFrom) return "dense rows";
    if (dense) continue;
    if (plan.columnCount != (c.slots[s].hasColumns ? columnCounts[2 * head] : 0)) return "columns";
    if (plan.stepOffsets[0] != 0 || plan.stepOffsets[chunkBlocks] != plan.stepCount || plan.stepCount != length) return "ends of the lists";
    for (int b = 0; b < chunkBlocks; ++b) {
      const std::vector<int> made(plan.steps + plan.stepOffsets[b], plan.steps + plan.stepOffsets[b + 1]);
      if (made != expected[b]) return "lists";
    }
  }
  for (int h = 0; h < c.heads; ++h)
    if (!wanted.count(h) && (plans[h].kind || plans[h].steps || pairCounts[2 * h] != -7)) return "a head of another kind";
  return nullptr;
}

int main(int count, char** arguments) {
  Random random{std::mt19937(count > 1 ? atoi(arguments[1]) : 1)};
  const int cases = count > 2 ? atoi(arguments[2]) : 12;
  int failed = 0;
  for (int i = 0; i < cases; ++i) {
    Case c;
    c.group = random.between(1, 3);
    c.heads = c.group;
    c.d = (const int[]){64, 96, 128}[random.between(0, 2)];
    c.stride = (const int[]){8, 16, 16, 128}[random.between(0, 3)];
    c.isMean = c.stride == 16 && random.between(0, 1);
    c.queryStride = c.stride == 128 || c.isMean ? 1 : 1 << random.between(0, 2);
    c.first = random.between(0, 2) ? random.between(0, 700) : 128 * random.between(0, 6);
    // Now and then one row, and more keys than one score tile has.
    c.rows = i % 6 == 0 ? 1 : i % 6 == 1 ? random.between(2100, 2600) : random.between(1, 900);
    c.part = 128 * random.between(1, 12);
    c.window = random.between(0, 2) ? INT_MAX : random.between(1, c.first + c.rows + 10);
    c.exact = random.between(0, 1);
    c.columns = random.between(0, 1) ? random.between(1, 300) : 0;
    c.tileCost = random.between(0, 1) ? 1 : 1.25f;
    c.runCost = random.between(0, 1) ? 64 : 0;
    c.columnCost = 2;
    c.capacity = random.between(0, 5) ? 4000 : 20;
    for (int h = 0; h < c.heads; ++h)
      if (c.slots.empty() || random.between(0, 1))
        c.slots.push_back({h, random.between(0, 6) ? random.between(0, 99) / 100.0f : 1.0f, random.between(0, 1) ? 0.05f : 0.5f,
                           random.between(0, 2) ? 1.0f : 0.3f, c.columns ? random.between(0, 2) != 0 : 0,
                           random.between(0, 1) ? INT_MAX : std::max(0, c.first + c.rows - random.between(1, 400)) / 128 * 128,
                           random.between(0, 1) ? 0 : random.between(1, 12),
                           random.between(0, 2) ? 0.5f : INFINITY});
    if (const char* wrong = check(c, random)) {
      ++failed;
      printf("case %d: %s (%d heads x %d, stride %d by %d%s, %d rows from %d in parts of %d, window %d)\n", i, wrong, c.heads, c.d, c.stride,
             c.queryStride, c.isMean ? ", means" : "", c.rows, c.first, c.part, c.window);
    }
  }
  printf("%d of %d plans right, %d heads with bands and %d with blocks in their place\n", cases - failed, cases, withBands, withBlocks);
  return failed != 0;
}
