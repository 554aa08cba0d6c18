// A thread block of the Hopper attention kernel on the CPU against a sum over all keys, over random plans: tiles, columns, windows,
// parts of the keys, chunks, strides, scores so large that the first maximum no longer serves, and output over the queries.

#include <algorithm>
#include <climits>
#include <random>
#include <set>

#include "attention_hopper.cu"

using namespace mi;

struct Head {
  int kind = 0, denseFrom = INT_MAX;
  std::vector<std::vector<char>> tiles;  // [tile row][key tile], of explicit lists
  std::vector<int> bands, steps, offsets, columns;
  std::vector<unsigned char> starts;

  bool inTiles(int row, int key) const {
    if (kind != 1) return tiles[row][key / 64];
    const int x = 64 * row - key;
    return std::any_of(bands.begin(), bands.end(), [&](int o) { return x <= o && o < x + 64; });
  }
};

int main(int argc, char** argv) {
  std::mt19937 random(argc > 1 ? atoi(argv[1]) : 1);
  const int cases = argc > 2 ? atoi(argv[2]) : 20;
  auto draw = [&](int low, int high) { return low + (int)(random() % (unsigned)(high - low + 1)); };
  std::normal_distribution<float> normal;
  int failures = 0;
  double worst = 0;
  long again = 0;
  for (int test = 0; test < cases; ++test) {
    const int d = draw(0, 1) ? 128 : 64, group = draw(1, 3), kvHeads = draw(1, 2), heads = group * kvHeads;
    const bool pairs = group == 2 && draw(0, 1), inPlace = draw(0, 1);
    const int first = draw(0, 3) ? draw(0, 500) : 0, rows = draw(1, 330), end = first + rows;
    int tileCount = (end + 63) / 64 + 2;
    tileCount += tileCount % 2;
    const int window = draw(0, 2) ? INT_MAX : draw(1, end + 10);
    int firstKey = 0, endKey = INT_MAX;  // a part of the keys, at multiples of a tile or anywhere
    if (draw(0, 1)) {
      firstKey = draw(0, 2) ? draw(0, end - 1) : 0;
      if (draw(0, 2)) endKey = draw(firstKey + 1, end);
      if (draw(0, 1)) firstKey &= ~63, endKey = endKey == INT_MAX ? endKey : (endKey + 63) & ~63;
    }
    const float sharpness = draw(0, 2) ? 1.0f : draw(0, 1) ? 60.0f : 400.0f;
    std::vector<Head> hs(heads);
    std::vector<HeadPlan> plans(heads);
    for (int h = 0; h < heads; ++h) {
      Head& x = hs[h];
      if (pairs && h % 2) {
        x = hs[h - 1];
      } else {
        x.kind = draw(0, 2);
        if (x.kind && draw(0, 2) == 0) x.denseFrom = draw(0, end + 50);
        const int percent[] = {2, 20, 70};
        const int density = percent[draw(0, 2)];
        const bool gaps = draw(0, 4) == 0;  // rows without their own tile
        auto hit = [&] { return draw(0, 99) < density; };
        x.tiles.assign(tileCount, std::vector<char>(tileCount, 0));
        if (x.kind == 1) {
          // Starts at least 64 apart: side by side, or a little or far away.
          const bool aligned = draw(0, 3) == 0;
          for (int start = 0; start < end + 64;) {
            x.bands.push_back(start);
            start += draw(0, 2) ? 64 : 64 + draw(0, 99) * 100 / density;
            if (aligned) start = start / 64 * 64;
          }
          x.bands.resize(draw(1, (int)x.bands.size()));
          x.starts.assign(tileCount + 3, 255);
          for (int i = 0; i < (int)x.bands.size(); ++i) {
            const int start = x.bands[i];
            x.starts[start / 64] = start % 64;
            x.steps.push_back(4 * start + 2 + (i > 0 && x.bands[i - 1] + 64 == start));
            if (i + 1 == (int)x.bands.size() || x.bands[i + 1] != start + 64) x.steps.push_back(4 * (start + 64) + 1);
          }
        } else if (x.kind == 2) {
          for (int r = 0; r < tileCount; ++r)
            for (int t = 0; t <= r; ++t) x.tiles[r][t] = (t == r && !gaps) || hit();
          x.offsets.push_back(0);
          for (int pair = first / 128; pair <= (end - 1) / 128; ++pair) {
            for (int t = tileCount - 1; t >= 0; --t) {
              const int flags = x.tiles[2 * pair][t] | x.tiles[2 * pair + 1][t] << 1;
              if (flags) x.steps.push_back(4 * t + flags);
            }
            x.offsets.push_back((int)x.steps.size());
          }
        }
        if (x.kind && draw(0, 2)) {
          std::set<int> some;
          for (int i = draw(1, 150); i > 0; --i) some.insert(draw(0, end - 1));
          x.columns.assign(some.begin(), some.end());
        }
      }
    }
    for (int h = 0; h < heads; ++h) {
      const Head& x = hs[h];
      plans[h] = {x.kind, (int)x.steps.size(), x.steps.data(), x.offsets.data(), x.starts.data(), x.columns.data(),
          (int)x.columns.size(), x.denseFrom, {0, 0, 0}};
    }
    const int qStride = heads * d + 8 * draw(0, 3), capacity = end + draw(0, 70), most = 192;
    std::vector<bf16> q(rows * qStride), k(kvHeads * capacity * d, 0x7fc0), v(k), output(q.size(), 0x7fc0);
    std::vector<bf16> columnKeys(heads * most * d, 0), columnValues(columnKeys);
    for (auto& x : q) x = toBF16(normal(random) * sharpness);
    for (int h = 0; h < kvHeads; ++h)
      for (int i = 0; i < end * d; ++i) {
        k[h * capacity * d + i] = toBF16(normal(random));
        v[h * capacity * d + i] = toBF16(normal(random));
      }
    for (int h = 0; h < heads; ++h)
      for (int i = 0; i < (int)hs[h].columns.size(); ++i)
        for (int e = 0; e < d; ++e) {
          const int from = (h / group * capacity + hs[h].columns[i]) * d + e;
          columnKeys[(h * most + i) * d + e] = k[from];
          columnValues[(h * most + i) * d + e] = v[from];
        }
    const std::vector<bf16> queries = q;
    std::vector<float> logSumExp(rows * heads, NAN);
    unsigned counter = 0;
    bf16* const o = inPlace ? q.data() : output.data();
    const double scale = 1 / std::sqrt((double)d);
    const AttentionParameters a{q.data(), o, logSumExp.data(), k.data(), v.data(), (long long)capacity * d, plans.data(), rows, first,
        first, qStride, qStride, heads, group, window, (float)(scale * 1.4426950408889634), firstKey, endKey};
    const HopperParameters h{&counter, pairs};
    const TensorMap maps[] = {{q.data(), {d, heads, rows}, {d, qStride}, {64, 1, 64}},
        {k.data(), {d, end, kvHeads}, {d, (long long)capacity * d}, {64, 64, 1}},
        {v.data(), {d, end, kvHeads}, {d, (long long)capacity * d}, {64, 64, 1}},
        {columnKeys.data(), {d, most, heads}, {d, (long long)most * d}, {64, 64, 1}},
        {columnValues.data(), {d, most, heads}, {d, (long long)most * d}, {64, 64, 1}}};
    named.clear();
    transactions.clear();
    memset(memory, 0xff, sizeof memory);
    recomputed = 0;
    const bool over = emulated::run(
        [&] { (d == 64 ? attention_hopper_d64 : attention_hopper_d128)(a, h, maps[0], maps[1], maps[2], maps[3], maps[4]); },
        [&](int n) { return (int)(random() % (unsigned)n); });
    again += recomputed > 0;
    double error = 0, logError = 0;
    for (int r = 0; r < rows && over; ++r)
      for (int head = 0; head < heads; ++head) {
        const int position = first + r, row = position / 64;
        const Head& x = hs[head];
        const bool dense = x.kind == 0 || 64 * row + 63 >= x.denseFrom;
        std::vector<std::pair<int, double>> scores;
        double top = -INFINITY, sum = 0, difference = 0, norm = 0;
        for (int j = 0; j <= position; ++j) {
          if (position - j >= window || j < firstKey || j >= endKey) continue;
          // Columns count before the row's own tile, which only explicit lists may leave out.
          const bool column = j < 64 * row && std::binary_search(x.columns.begin(), x.columns.end(), j);
          if (!dense && !x.inTiles(row, j) && !column) continue;
          double s = 0;
          for (int e = 0; e < d; ++e)
            s += (double)toFloat(queries[r * qStride + head * d + e]) * toFloat(k[(head / group * capacity + j) * d + e]);
          scores.emplace_back(j, s * scale);
          top = std::max(top, s * scale);
        }
        for (auto& s : scores) sum += s.second = std::exp(s.second - top), s.second;
        for (int e = 0; e < d; ++e) {
          double expected = 0;
          for (auto& s : scores) expected += s.second / sum * toFloat(v[(head / group * capacity + s.first) * d + e]);
          const double is = toFloat(o[r * qStride + head * d + e]);
          difference += (is - expected) * (is - expected);
          norm += expected * expected;
        }
        const double off = std::sqrt(difference / (norm + 1e-12));
        if (!(off <= error)) error = off;
        const double log = logSumExp[r * heads + head], wanted = scores.empty() ? -INFINITY : top + std::log(sum);
        const double logOff = log == wanted ? 0 : std::abs(log - wanted) / (1 + std::abs(wanted) * 1e-3);
        if (!(logOff <= logError)) logError = logOff;
      }
    if (!over || !(error < 0.012) || !(logError < 2e-3) || counter != 0) {
      ++failures;
      printf("case %d: %s, error %.2g, log %.2g, counter %u: d %d, heads %d/%d, paired %d, in place %d, rows %d from %d, window %d, "
             "keys %d to %d, sharpness %g, kind %d\n", test, over ? "ended" : "stands still", error, logError, counter, d, heads, kvHeads, pairs,
             inPlace, rows, first, window, firstKey, endKey, sharpness, hs[0].kind);
      emulated::later.clear();
      for (auto& g : groups) g.clear();
      for (auto& w : emulated::warps) w = {32};
      emulated::blocks[0] = {emulated::threads};
    }
    worst = std::max(worst, error);
  }
  printf("%d cases, %d failed, worst error %.2g, %ld with a stage computed again\n", cases, failures, worst, again);
  return failures != 0;
}
