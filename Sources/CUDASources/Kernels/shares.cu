// From sums over key blocks to the blocks that a query block computes, and the lists that attention reads.
//
// The share of key block c in query block b is the mean, over the groups of queries in b, of the softmax mass that the
// group's scores put on c (antidiagonal.cu, pooled_shares.cu). Blocks are taken in descending order of their shares, the lower one first of
// equal ones, until those taken hold the head's share of all; a floor and a cap bound their number. The first block and
// the query's own are taken besides. A block none of whose groups is scored takes every block. Source: XAttention (arXiv
// 2503.16428), section 2.2; the floor is ours.
//
// Order of launches: for each part of the chunk's queries the scores and select_shares; then, over the whole
// chunk, count_share_columns where there are columns, count_shares and gather_shares. A list longer than its capacity
// makes its head dense.

#include "pairs.cuh"
#include "reductions.cuh"
#include "shares.cuh"

using namespace mi;

namespace {

struct ShareChoice {
  static constexpr int threads = 256;
  /// Groups of queries in a block, at a stride of 8.
  static constexpr int mostGroups = 16;
  /// Key blocks that a thread keeps in registers: 4M keys.
  static constexpr int mostOwn = maximumWords * 32 * tileExtent / shareBlock / threads;
};

/// Sum over the block, in every thread, of counts whose total is below 2^32. `shared`: two rows of a warp's sums, used in
/// turn, so that one barrier a sum is enough.
struct QuickSum {
  unsigned (*shared)[32];
  int turn;
  __device__ __forceinline__ unsigned operator()(unsigned value) {
    turn ^= 1;
    value = __reduce_add_sync(allLanes, value);
    if ((threadIdx.x & 31) == 0) shared[turn][threadIdx.x >> 5] = value;
    __syncthreads();
    unsigned total = 0;
    for (int warp = 0; warp < (int)blockDim.x >> 5; ++warp) total += shared[turn][warp];
    return total;
  }
};

/// Rows of query block `block` that the chunk has, from ..< to, in its tile row `half`.
struct HalfRows {
  int from, to;
  __device__ __forceinline__ HalfRows(const ShareParameters& p, int block, int half) {
    const int start = block * shareBlock + half * tileExtent;
    from = max(p.firstPosition, start);
    to = min(p.firstPosition + p.rows, start + tileExtent);
  }
  __device__ __forceinline__ bool isEmpty() const { return from >= to; }
};

}  // namespace

// The key blocks of each query block of a part, as bits, and what they cost. Grid: (query blocks of the part, slots).
// Block: 256. No dynamic shared memory. Parameters: ShareParameters, by value. At most 4M keys.
extern "C" __global__ void __launch_bounds__(256) select_shares(const ShareParameters p) {
  __shared__ float groupMaxima[ShareChoice::mostGroups], groupFactors[ShareChoice::mostGroups];
  __shared__ unsigned quick[2][32];
  __shared__ int sums[32];
  __shared__ long long totals[32];
  __shared__ unsigned chosen[maximumWords / 2];
  const int slot = blockIdx.y;
  const ShareHead rule = p.heads[slot];
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int block = p.partPosition / shareBlock + blockIdx.x;
  const ScoredGroups scored(p);
  const int S = p.stride, groups = scored.ofBlock();
  const int partEnd = p.partPosition + p.partRows;
  auto isThere = [&](int g) {
    const int start = scored.position(block * groups + g);
    return start + S > p.partPosition && start < partEnd;
  };
  const float* const own = p.sums + ((long long)slot * p.partGroups + blockIdx.x * groups) * p.sumStride;
  const float* const maxima =
      p.maxima + ((long long)slot * p.partGroups + blockIdx.x * groups) * p.maximumStride;
  const int candidates = block + 1;
  const int firstVisible = firstVisibleBlock(block, max(p.partPosition, block * shareBlock), p.window);
  const int blocksOfTile = S;

  // Each group's maximum and the factor that makes its row add up to its part of the mean.
  int valid = 0;
  for (int g = 0; g < groups; ++g) valid += isThere(g);
  for (int g = warp; g < groups; g += ShareChoice::threads / 32) {
    // Tiles outside the window of the whole query tile were left out.
    const int lastTile = block / blocksOfTile;
    const int firstTile = firstVisible / blocksOfTile;
    float maximum = lowestScore;
    if (isThere(g)) {
      for (int t = firstTile + lane; t <= lastTile; t += 32) {
        maximum = fmaxf(maximum, maxima[(long long)g * p.maximumStride + t]);
      }
    }
    maximum = warpMaximum(maximum);
    float sum = 0;
    if (isThere(g)) {
      for (int c = firstVisible + lane; c < candidates; c += 32) {
        const float there = maxima[(long long)g * p.maximumStride + c / blocksOfTile];
        sum += own[(long long)g * p.sumStride + c] * exp2Approximate(there - maximum);
      }
    }
    sum = warpSum(sum);
    if (lane == 0) {
      groupMaxima[g] = maximum;
      groupFactors[g] = isThere(g) && sum > 0 ? shareUnit / (sum * (float)valid) : 0;
    }
  }
  for (int i = thread; i < maximumWords / 2; i += ShareChoice::threads) chosen[i] = 0;
  __syncthreads();

  // This thread's blocks: every 256th.
  unsigned shares[ShareChoice::mostOwn];
  int count = 0;
  unsigned mine = 0;
#pragma unroll 1
  for (int c = thread; c < candidates; c += ShareChoice::threads) {
    float share = 0;
    if (c >= firstVisible) {
      for (int g = 0; g < groups; ++g) {
        if (groupFactors[g] == 0) continue;
        const float there = maxima[(long long)g * p.maximumStride + c / blocksOfTile];
        share += own[(long long)g * p.sumStride + c] * exp2Approximate(there - groupMaxima[g]) * groupFactors[g];
      }
    }
    shares[count] = (unsigned)(share + 0.5f);
    mine += shares[count];
    ++count;
  }
  QuickSum sum = {quick, 0};
  const unsigned total = sum(mine);

  auto massFrom = [&](unsigned key) {
    unsigned mass = 0;
    for (int i = 0; i < count; ++i) mass += shares[i] >= key ? shares[i] : 0;
    return sum(mass);
  };
  auto countFrom = [&](unsigned key) {
    unsigned found = 0;
    for (int i = 0; i < count; ++i) found += shares[i] >= key;
    return sum(found);
  };
  // The largest key at and above which enough lies, bit by bit.
  auto largestKey = [&](unsigned enough, auto measure) {
    unsigned key = 0;
    for (int bit = 30; bit >= 0; --bit) {
      const unsigned tried = key | 1u << bit;
      if (measure(tried) >= enough) key = tried;
    }
    return key;
  };
  auto part = [&](float share) { return min(candidates, (int)ceilf(share * (float)candidates)); };
  int wanted = candidates;
  if (rule.share < 1) {
    const unsigned enough = (unsigned)ceilf(rule.share * (float)total);
    wanted = 0;
    if (enough > 0) {
      const unsigned key = largestKey(enough, massFrom);
      if (key > 0) {
        const unsigned above = massFrom(key + 1);
        wanted = (int)countFrom(key + 1) + (int)((enough - above + key - 1) / key);
      }
    }
  }
  wanted = min(max(wanted, part(rule.floor)), part(rule.cap));
  const bool isDense = block * shareBlock >= rule.denseFrom;
  if (isDense || valid == 0) wanted = candidates;

  auto take = [&](int c) {
    if (c >= firstVisible) atomicOr(&chosen[c / 32], 1u << c % 32);
  };
  if (thread == 0) take(0), take(block);
  if (wanted == candidates) {
    for (int c = thread; c < candidates; c += ShareChoice::threads) take(c);
  } else if (wanted > 0) {
    const unsigned key = largestKey((unsigned)wanted, countFrom);
    int places = wanted - (int)countFrom(key + 1);
    for (int i = 0; i < count; ++i) {
      if (shares[i] > key) take(thread + i * ShareChoice::threads);
    }
    // Equal ones in ascending order: 256 at a time are side by side.
    for (int i = 0; i * ShareChoice::threads < candidates && places > 0; ++i) {
      const int isTie = i < count && shares[i] == key;
      const int found = __syncthreads_count(isTie);
      if (found == 0) continue;
      const int before = blockExclusiveSum(isTie, sums);
      if (isTie && before < places) take(thread + i * ShareChoice::threads);
      places -= found;
    }
  }
  __syncthreads();

  const int chunkBlock = block - p.firstPosition / shareBlock;
  unsigned* const bits = p.bits + ((long long)slot * p.chunkBlocks + chunkBlock) * p.words;
  for (int i = thread; i < p.words; i += ShareChoice::threads) bits[i] = chosen[i];
  const HalfRows halves[2] = {HalfRows(p, block, 0), HalfRows(p, block, 1)};
  long long inTiles = 0, runs = 0;
  int steps = 0;
  for (int c = thread; c < candidates; c += ShareChoice::threads) {
    if ((chosen[c / 32] >> c % 32 & 1u) == 0) continue;
    const bool begins = c == 0 || (chosen[(c - 1) / 32] >> (c - 1) % 32 & 1u) == 0;
    bool isStep[2] = {false, false};
    for (int half = 0; half < 2; ++half) {
      if (halves[half].isEmpty()) continue;
      runs += begins;
      for (int tile = 2 * c; tile <= min(2 * c + 1, 2 * block + half); ++tile) {
        inTiles += tilePairs(halves[half].from, halves[half].to, 2 * block + half - tile, p.window);
        isStep[tile % 2] = true;
      }
    }
    steps += isStep[0] + isStep[1];
  }
  inTiles = blockSum(inTiles, totals);
  runs = blockSum(runs, totals);
  steps = (int)blockSum((long long)steps, totals);
  if (thread == 0) {
    const long long at = (long long)slot * p.chunkBlocks + chunkBlock;
    p.stepCounts[at] = isDense ? 0 : steps;
    p.work[3 * at] = inTiles;
    p.work[3 * at + 1] = runs;
    p.work[3 * at + 2] = 0;
  }
}

// Pairs of the single columns that no chosen block of a query block covers. Grid: (chunkBlocks, slots). Block: 128.
// Parameters: ShareParameters, by value.
extern "C" __global__ void __launch_bounds__(128) count_share_columns(const ShareParameters p) {
  __shared__ long long totals[32];
  const int slot = blockIdx.y;
  const ShareHead rule = p.heads[slot];
  if (!rule.hasColumns) return;
  const long long at = (long long)slot * p.chunkBlocks + blockIdx.x;
  const int block = p.firstPosition / shareBlock + blockIdx.x;
  const unsigned* const bits = p.bits + at * p.words;
  const int from = max(p.firstPosition, block * shareBlock);
  const int to = min(p.firstPosition + p.rows, (block + 1) * shareBlock);
  long long pairs = 0;
  if (block * shareBlock < rule.denseFrom) {
    for (int i = threadIdx.x; i < p.columnCounts[2 * rule.head]; i += blockDim.x) {
      const int column = p.columns[(long long)rule.head * p.columnStride + i];
      const int c = column / shareBlock;
      if (c >= block || (bits[c / 32] >> c % 32 & 1u)) continue;
      pairs += max(0ll, min((long long)to, (long long)column + p.window) - from);
    }
  }
  pairs = blockSum(pairs, totals);
  if (threadIdx.x == 0) p.work[3 * at + 2] = pairs;
}

// Sums up a head: starts of its blocks' steps, its counts, its plan: dense if the blocks leave nothing out, would cost more,
// or do not fit. Grid: slots. Block: 1024. No dynamic shared memory. Parameters: ShareParameters, by value.
extern "C" __global__ void __launch_bounds__(1024) count_shares(const ShareParameters p) {
  __shared__ int sums[32];
  __shared__ long long totals[32];
  const int slot = blockIdx.x;
  const int head = p.heads[slot].head;
  const int thread = threadIdx.x;
  const int share = (p.chunkBlocks + 1023) / 1024;
  const int first = min(p.chunkBlocks, thread * share);
  const int last = min(p.chunkBlocks, first + share);
  const int* counts = p.stepCounts + (long long)slot * p.chunkBlocks;
  const long long* work = p.work + 3 * (long long)slot * p.chunkBlocks;
  int own = 0;
  long long inTiles = 0, runs = 0, inColumns = 0;
  for (int i = first; i < last; ++i) {
    own += counts[i];
    inTiles += work[3 * i];
    runs += work[3 * i + 1];
    inColumns += work[3 * i + 2];
  }
  int start = blockExclusiveSum(own, sums);
  const long long all = blockSum((long long)own, totals);
  inTiles = blockSum(inTiles, totals);
  runs = blockSum(runs, totals);
  inColumns = blockSum(inColumns, totals);
  int* offsets = p.stepOffsets + (long long)slot * (p.chunkBlocks + 1);
  for (int i = first; i < last; ++i) {
    offsets[i] = start;
    start += counts[i];
  }
  if (thread != 1023) return;
  offsets[p.chunkBlocks] = start;
  const long long causal = causalPairs(p.firstPosition, p.firstPosition + p.rows, p.window);
  const double cost = (double)inTiles * p.tileCost + (double)runs * p.runCost + (double)inColumns * p.columnCost;
  const bool isTooLong = all > p.stepCapacity;
  const bool isDense = isTooLong || inTiles >= causal || (!p.exact && cost > (double)causal);
  p.pairCounts[2 * head] = isDense ? causal : inTiles;
  p.pairCounts[2 * head + 1] = isDense ? 0 : inColumns;
  HeadPlan plan = {};
  plan.kind = isDense ? 0 : 2;
  plan.steps = p.steps + (long long)slot * p.stepCapacity;
  plan.stepOffsets = offsets;
  plan.stepCount = isDense ? 0 : start;
  if (p.heads[slot].hasColumns && !isDense) {
    plan.columns = p.columns + (long long)head * p.columnStride;
    plan.columnCount = p.columnCounts[2 * head];
  }
  plan.denseFrom = p.heads[slot].denseFrom;
  plan.pad[0] = isTooLong;
  p.plans[head] = plan;
}

// The lists that the plans name, from the bits. Grid: (chunkBlocks, slots). Block: 128. Parameters: ShareParameters, by value.
extern "C" __global__ void __launch_bounds__(128) gather_shares(const ShareParameters p) {
  __shared__ int sums[32];
  const int slot = blockIdx.y;
  const long long at = (long long)slot * p.chunkBlocks + blockIdx.x;
  if (p.plans[p.heads[slot].head].kind == 0) return;
  const int block = p.firstPosition / shareBlock + blockIdx.x;
  if (block * shareBlock >= p.heads[slot].denseFrom) return;
  const unsigned* const bits = p.bits + at * p.words;
  int* const steps = p.steps + (long long)slot * p.stepCapacity +
                     p.stepOffsets[(long long)slot * (p.chunkBlocks + 1) + blockIdx.x];
  const int flags = !HalfRows(p, block, 0).isEmpty() | !HalfRows(p, block, 1).isEmpty() << 1;
  // Descending: thread 0 has the highest words. A block is two tiles, but its own second one is the second half's alone.
  const int words = block / 32 + 1;
  const int share = (words + (int)blockDim.x - 1) / (int)blockDim.x;
  const int top = words - 1 - (int)threadIdx.x * share;
  const bool ownIsOne = (flags & 2) == 0;
  int own = 0;
  for (int i = 0; i < share && top - i >= 0; ++i) own += 2 * __popc(bits[top - i]);
  if (threadIdx.x == 0 && ownIsOne) own -= 1;
  int place = blockExclusiveSum(own, sums);
  for (int i = 0; i < share && top - i >= 0; ++i) {
    const int word = top - i;
    unsigned left = bits[word];
    while (left != 0) {
      const int bit = 31 - __clz(left);
      left &= ~(1u << bit);
      const int c = word * 32 + bit;
      if (c < block) steps[place++] = (2 * c + 1) * 4 + flags;
      else if (!ownIsOne) steps[place++] = (2 * c + 1) * 4 + 2;
      steps[place++] = 2 * c * 4 + flags;
    }
  }
}
