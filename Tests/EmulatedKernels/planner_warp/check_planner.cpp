// Checks that the planner warp queues every (tile row, key) of random plans once and nothing else, with the masks that edges,
// columns and bounds of keys need. Prints one line for each case that fails and one at the end; exits 1 on a miss.

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "hopper_planner.cuh"

using namespace mi;
using Layout = SharedLayout<128>;

static Stage queue[HopperTile::queueDepth];
static unsigned waitingMasks[12];
static std::vector<Stage> queued;

/// One head's plan, and its tiles: starts of bands, or a matrix [tile row][key tile].
struct Head {
  int kind, denseFrom;
  std::vector<std::vector<char>> tiles;
  std::vector<int> bands, steps, offsets, columns;
  std::vector<unsigned char> starts;

  HeadPlan plan() const {
    return {kind, (int)steps.size(), steps.data(), offsets.data(), starts.data(), columns.data(), (int)columns.size(), denseFrom,
            {0, 0, 0}};
  }

  /// First keys of the tiles of a tile row.
  std::vector<int> tilesOf(int row, bool dense) const {
    std::vector<int> keys;
    if (kind == 1 && !dense) {
      for (int start : bands)
        if (64 * row - start > -64) keys.push_back(64 * row - start);
    } else {
      for (int t = 0; t <= row; ++t)
        if (dense || tiles[row][t]) keys.push_back(64 * t);
    }
    return keys;
  }
};

struct Random {
  std::mt19937 engine;
  int between(int low, int high) { return low + (int)(engine() % (unsigned)(high - low + 1)); }
};

static Head randomHead(Random& random, int end, int planFirst, int tileRows) {
  Head x;
  x.kind = random.between(0, 4) == 0 ? 0 : random.between(1, 2);
  x.denseFrom = random.between(0, 2) || x.kind == 0 ? INT_MAX : random.between(0, end + 50);
  const int percent = (const int[]){2, 10, 30, 80}[random.between(0, 3)];
  const bool gaps = random.between(0, 5) == 0;  // lists without the diagonal tile are not made, but must do no harm
  x.tiles.assign(tileRows, std::vector<char>(tileRows, 0));
  if (x.kind == 1) {
    // Starts at least 64 apart: side by side, or a little or far away.
    const bool aligned = random.between(0, 3) == 0;
    for (int start = 0; start < end + 64;) {
      x.bands.push_back(start);
      start += random.between(0, 2) ? 64 : 64 + random.between(0, 99) * 100 / percent;
      if (aligned) start = start / 64 * 64;
    }
    x.bands.resize(random.between(1, (int)x.bands.size()));
    x.starts.assign(tileRows + 3, 255);
    for (int i = 0; i < (int)x.bands.size(); ++i) {
      const int start = x.bands[i];
      x.starts[start / 64] = start % 64;
      x.steps.push_back(start * 4 + 2 + (i > 0 && x.bands[i - 1] + 64 == start));
      if (i + 1 == (int)x.bands.size() || x.bands[i + 1] != start + 64) x.steps.push_back((start + 64) * 4 + 1);
    }
  } else {
    for (int r = 0; r < tileRows; ++r)
      for (int t = 0; t <= r; ++t)
        x.tiles[r][t] = x.kind == 0 || (t == r && !gaps) || random.between(0, 99) < percent;
  }
  if (x.kind == 2) {
    x.offsets.push_back(0);
    for (int pair = planFirst / 128; pair <= (end - 1) / 128; ++pair) {
      for (int t = tileRows - 1; t >= 0; --t) {
        const int flags = x.tiles[2 * pair][t] | x.tiles[2 * pair + 1][t] << 1;
        if (flags) x.steps.push_back(t * 4 + flags);
      }
      x.offsets.push_back((int)x.steps.size());
    }
  }
  if (x.kind && random.between(0, 3)) {
    std::set<int> columns;
    for (int left = random.between(1, std::min(end, 400)); (int)columns.size() < left;) columns.insert(random.between(0, end - 1));
    x.columns.assign(columns.begin(), columns.end());
  }
  return x;
}

using Keys = std::map<std::pair<int, int>, std::map<int, int>>;  // (head, first position of a tile row) -> column, or first key of a tile -> times

/// Adds what the stages hold; a description of the first contradiction within a stage, or nothing.
static const char* collect(const std::vector<Head>& heads, int group, const AttentionParameters& a, Keys& tiles, Keys& columns) {
  const int window = a.window;
  for (const Stage& s : queued)
    for (int block = 0; block < 2; ++block)
      for (int half = 0; half < 2; ++half) {
        if (!(s.use >> half & 1)) continue;
        const auto place = std::make_pair(s.head[half], s.row[half]);
        const bool edge = s.edge >> (2 * block + half) & 1, partial = s.partial >> (2 * block + half) & 1;
        const unsigned long long mask = s.mask[block][half][0] | (unsigned long long)s.mask[block][half][1] << 32;
        if (edge && mask == 0) continue;  // a block of the other half alone, or one that is there twice
        if (s.head[half] / group != s.kvHead) return "key head";
        const long lastRow = s.row[half] + 63;
        if (s.position[block] < columnBlock) {
          tiles[place][s.position[block]]++;
          const int first = s.position[block];
          const bool crosses = first < a.firstKey || first > a.endKey - 64;
          if (edge != (first == s.row[half] || crosses || lastRow - first >= window)) return "edge of a tile";
          for (int i = 0; i < 64 && edge; ++i)
            if ((mask >> i & 1) != (first + i >= a.firstKey && first + i < a.endKey)) return "keys of a tile";
          continue;
        }
        const std::vector<int>& all = heads[s.head[half]].columns;
        if (mask == 0 || (mask != ~0ull && !edge) || (partial && !edge)) return "mask of columns";
        for (int i = 0; i < 64; ++i) {
          if (!(mask >> i & 1)) continue;
          const int place64 = s.position[block] - columnBlock + i;
          if (place64 >= (int)all.size()) return "column beyond the list";
          columns[place][all[place64]]++;
          if (lastRow - all[place64] >= window && !partial) return "window inside a column's rows";
        }
      }
  return nullptr;
}

int main(int count, char** arguments) {
  Random random{std::mt19937(count > 1 ? atoi(arguments[1]) : 1)};
  const int cases = count > 2 ? atoi(arguments[2]) : 100;
  onArrive = [](unsigned barrier) { queued.push_back(queue[(barrier - Layout::fullQueue) / 8]); };
  int failed = 0;
  long stages = 0;
  for (int i = 0; i < cases; ++i) {
    const int group = random.between(1, 4), heads = group * random.between(1, 2);
    const int paired = group % 2 == 0 && random.between(0, 1);
    const int first = random.between(0, 3) ? random.between(0, 700) : 0, rows = random.between(1, 500), end = first + rows;
    const int planFirst = random.between(0, 1) ? first : std::max(0, first - random.between(0, 500));
    const int window = random.between(0, 2) ? INT_MAX : random.between(1, end + 10);
    const int tileRows = ((end + 63) / 64 + 3) & ~1;
    // A part of the keys, at multiples of a tile or anywhere.
    int firstKey = 0, endKey = INT_MAX;
    if (random.between(0, 1)) {
      firstKey = random.between(0, 2) ? random.between(0, end - 1) : 0;
      if (random.between(0, 2)) endKey = random.between(firstKey + 1, end);
      if (random.between(0, 1)) firstKey &= ~63, endKey = endKey == INT_MAX ? endKey : (endKey + 63) & ~63;
    }
    std::vector<Head> all;
    for (int h = 0; h < heads; ++h)
      all.push_back(paired && h % group ? all.back() : randomHead(random, end, planFirst, tileRows));
    std::vector<HeadPlan> plans;
    for (const Head& x : all) plans.push_back(x.plan());
    AttentionParameters a{};
    a.heads = plans.data();
    a.rows = rows;
    a.firstPosition = first;
    a.planFirstPosition = planFirst;
    a.queryHeads = heads;
    a.groupSize = group;
    a.window = window;
    a.firstKey = firstKey;
    a.endKey = endKey;
    const HopperParameters h{nullptr, paired};
    const int items = workItems(a, h);
    queued.clear();
    memset(queue, 0xee, sizeof queue);
    std::vector<std::thread> warp;
    for (int lane = 0; lane < 32; ++lane)
      warp.emplace_back([&, lane] {
        threadIdx.x = 32 + lane;
        Planner<128> planner{a, h, 0, queue, waitingMasks};
        planner.slot = planner.slotPhase = 0;
        for (int item = 0; item < items; ++item) planner.run(item);
      });
    for (std::thread& thread : warp) thread.join();
    stages += (long)queued.size();

    Keys tiles, columns;
    const char* wrong = collect(all, group, a, tiles, columns);
    std::set<int> seen;
    for (const Stage& s : queued) seen.insert(s.tile);
    if ((int)seen.size() != items) wrong = "work items without a stage";
    for (int head = 0; head < heads; ++head)
      for (int r = first / 64; r <= (end - 1) / 64; ++r) {
        const Head& x = all[head];
        const bool dense = x.kind == 0 || 64 * r + 63 >= x.denseFrom;
        std::map<int, int> wantedTiles, wantedColumns;
        for (int first : x.tilesOf(r, dense))
          if (64L * r - first - 63 < window && first + 64 > firstKey && first < endKey) wantedTiles[first] = 1;
        auto inTiles = [&](int c) {
          for (auto& tile : wantedTiles)
            if (c >= tile.first && c < tile.first + 64) return true;
          return false;
        };
        for (int c : x.columns)
          if (!dense && c < 64 * r && !inTiles(c) && 64L * r - c < window && c >= firstKey && c < endKey) wantedColumns[c] = 1;
        const auto place = std::make_pair(head, 64 * r);
        if (tiles[place] != wantedTiles) wrong = "tiles";
        if (columns[place] != wantedColumns) wrong = "columns";
        tiles.erase(place);
        columns.erase(place);
      }
    if (!tiles.empty() || !columns.empty()) wrong = "rows outside of the chunk";
    if (wrong) {
      ++failed;
      printf("case %d: %s (group %d, heads %d, paired %d, rows %d from %d, plan from %d, window %d, keys %d to %d)\n", i, wrong, group,
             heads, paired, rows, first, planFirst, window, firstKey, endKey);
    }
  }
  printf("%d of %d plans right, %ld stages\n", cases - failed, cases, stages);
  return failed != 0;
}
