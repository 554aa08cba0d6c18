// The choice of one query block's key blocks from the sums that scores leave, by the threads of a warp or of a thread
// block. See shares.cu for the rule.
#ifndef MI_SHARE_CHOICE_CUH
#define MI_SHARE_CHOICE_CUH

#include "pairs.cuh"
#include "reductions.cuh"
#include "shares.cuh"

namespace mi {

struct ShareChoice {
  static constexpr int threads = 256;
  /// Groups of queries in a block, at a stride of 8.
  static constexpr int mostGroups = 16;
  /// Key blocks that a thread of a block keeps: 4M keys.
  static constexpr int mostOwn = maximumWords * 32 * tileExtent / shareBlock / threads;
};

/// The threads that choose for one query block, and what they know together. All of them call its functions.
template <int size>
struct Team;

/// A warp: no barrier of the thread block.
template <>
struct Team<32> {
  __device__ __forceinline__ int rank() const { return threadIdx.x & 31; }
  __device__ __forceinline__ int warp() const { return 0; }
  __device__ __forceinline__ void sync() const { __syncwarp(); }
  __device__ __forceinline__ unsigned sum(unsigned value) { return __reduce_add_sync(allLanes, value); }
  __device__ __forceinline__ long long sum(long long value) { return warpSum(value); }
  __device__ __forceinline__ int before(int value) const { return warpInclusiveSum(value) - value; }
};

/// A thread block. Sums of counts use two rows of warps' sums in turn, so that one barrier a sum is enough.
template <>
struct Team<256> {
  unsigned (*quick)[32];
  int* sums;
  long long* totals;
  int turn;
  __device__ __forceinline__ int rank() const { return threadIdx.x; }
  __device__ __forceinline__ int warp() const { return threadIdx.x / 32; }
  __device__ __forceinline__ void sync() const { __syncthreads(); }
  __device__ __forceinline__ unsigned sum(unsigned value) {
    turn ^= 1;
    value = __reduce_add_sync(allLanes, value);
    if ((threadIdx.x & 31) == 0) quick[turn][threadIdx.x >> 5] = value;
    __syncthreads();
    unsigned total = 0;
    for (int warp = 0; warp < 8; ++warp) total += quick[turn][warp];
    return total;
  }
  __device__ __forceinline__ long long sum(long long value) { return blockSum(value, totals); }
  __device__ __forceinline__ int before(int value) const { return blockExclusiveSum(value, sums); }
};

/// What a team shares: of each group of queries its maximum and the factor that makes its row add up to its part of the
/// mean; and the chosen key blocks as bits.
template <int words>
struct SharedChoice {
  float maxima[ShareChoice::mostGroups], factors[ShareChoice::mostGroups];
  unsigned chosen[words];
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

/// The key blocks of query block `block` of a part, as bits, and what they cost. A thread has every size-th key block, at
/// most `most` of them, in registers where the team is a warp.
template <int size, int most, int words>
__device__ __forceinline__ void chooseBlocks(
    const ShareParameters& p, int row, int slot, Team<size> team, SharedChoice<words>& shared) {
  constexpr int unrolled = size == 32 ? most : 1;
  const ShareHead rule = p.heads[slot];
  const int thread = team.rank(), lane = thread % 32;
  const int block = p.partPosition / shareBlock + row;
  const ScoredGroups scored(p);
  const int S = p.stride, groups = scored.ofBlock();
  const int partEnd = p.partPosition + p.partRows;
  auto isThere = [&](int g) {
    const int start = scored.position(block * groups + g);
    return start + S > p.partPosition && start < partEnd;
  };
  const float* const own = p.sums + ((long long)slot * p.partGroups + row * groups) * p.sumStride;
  const float* const maxima = p.maxima + ((long long)slot * p.partGroups + row * groups) * p.maximumStride;
  const int candidates = block + 1;
  const int firstVisible = firstVisibleBlock(block, max(p.partPosition, block * shareBlock), p.window);
  const int blocksOfTile = S;

  int valid = 0;
  for (int g = 0; g < groups; ++g) valid += isThere(g);
  for (int g = team.warp(); g < groups; g += size / 32) {
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
#pragma unroll 4
      for (int c = firstVisible + lane; c < candidates; c += 32) {
        const float there = maxima[(long long)g * p.maximumStride + c / blocksOfTile];
        sum += own[(long long)g * p.sumStride + c] * exp2Approximate(there - maximum);
      }
    }
    sum = warpSum(sum);
    if (lane == 0) {
      shared.maxima[g] = maximum;
      shared.factors[g] = isThere(g) && sum > 0 ? shareUnit / (sum * (float)valid) : 0;
    }
  }
  for (int i = thread; i < words; i += size) shared.chosen[i] = 0;
  team.sync();

  unsigned shares[most];
  const int count = candidates > thread ? (candidates - thread - 1) / size + 1 : 0;
  unsigned mine = 0;
#pragma unroll unrolled
  for (int i = 0; i < most; ++i) {
    if (size > 32 && i >= count) break;
    const int c = thread + i * size;
    float share = 0;
    if (c >= firstVisible && c < candidates) {
      for (int g = 0; g < groups; ++g) {
        if (shared.factors[g] == 0) continue;
        const float there = maxima[(long long)g * p.maximumStride + c / blocksOfTile];
        share += own[(long long)g * p.sumStride + c] * exp2Approximate(there - shared.maxima[g]) * shared.factors[g];
      }
    }
    shares[i] = (unsigned)(share + 0.5f);
    mine += shares[i];
  }
  const unsigned total = team.sum(mine);

  // Keys are above 0: blocks that are not there, whose shares are 0, are not counted.
  auto massFrom = [&](unsigned key) {
    unsigned mass = 0;
#pragma unroll unrolled
    for (int i = 0; i < most; ++i) {
      if (size > 32 && i >= count) break;
      mass += shares[i] >= key ? shares[i] : 0;
    }
    return team.sum(mass);
  };
  auto countFrom = [&](unsigned key) {
    unsigned found = 0;
#pragma unroll unrolled
    for (int i = 0; i < most; ++i) {
      if (size > 32 && i >= count) break;
      found += shares[i] >= key;
    }
    return team.sum(found);
  };
  // The largest key at and above which enough lies, bit by bit.
  auto largestKey = [&](unsigned enough, bool isMass) {
    unsigned key = 0;
#pragma unroll 1
    for (int bit = 30; bit >= 0; --bit) {
      const unsigned tried = key | 1u << bit;
      if ((isMass ? massFrom(tried) : countFrom(tried)) >= enough) key = tried;
    }
    return key;
  };
  auto part = [&](float share) { return min(candidates, (int)ceilf(share * (float)candidates)); };
  int wanted = candidates;
  if (rule.share < 1) {
    const unsigned enough = (unsigned)ceilf(rule.share * (float)total);
    wanted = 0;
    if (enough > 0) {
      const unsigned key = largestKey(enough, true);
      if (key > 0) {
        const unsigned above = massFrom(key + 1);
        wanted = (int)countFrom(key + 1) + (int)((enough - above + key - 1) / key);
      }
    }
  }
  wanted = min(max(max(wanted, part(rule.floor)), min(rule.least, candidates)), part(rule.cap));
  const bool isDense = block * shareBlock >= rule.denseFrom;
  if (isDense || valid == 0) wanted = candidates;

  auto take = [&](int c) {
    if (c >= firstVisible) atomicOr(&shared.chosen[c / 32], 1u << c % 32);
  };
  if (thread == 0) take(0), take(block);
  if (wanted == candidates) {
    for (int c = thread; c < candidates; c += size) take(c);
  } else if (wanted > 0) {
    const unsigned key = largestKey((unsigned)wanted, false);
    int places = wanted - (int)countFrom(key + 1);
    // Equal ones in ascending order: as many as the team has threads are side by side.
#pragma unroll unrolled
    for (int i = 0; i < most; ++i) {
      if (i * size >= candidates) break;
      const int c = thread + i * size;
      const bool isCandidate = c < candidates;
      if (isCandidate && shares[i] > key) take(c);
      if (places > 0) {
        const int isTie = isCandidate && shares[i] == key;
        const int found = (int)team.sum((unsigned)isTie);
        if (found > 0) {
          const int before = team.before(isTie);
          if (isTie && before < places) take(c);
          places -= found;
        }
      }
    }
  }
  team.sync();

  const int chunkBlock = block - p.firstPosition / shareBlock;
  unsigned* const bits = p.bits + ((long long)slot * p.chunkBlocks + chunkBlock) * p.words;
  for (int i = thread; i < p.words; i += size) bits[i] = i < words ? shared.chosen[i] : 0;
  const HalfRows halves[2] = {HalfRows(p, block, 0), HalfRows(p, block, 1)};
  long long inTiles = 0, runs = 0;
  int steps = 0;
  for (int c = thread; c < candidates; c += size) {
    if ((shared.chosen[c / 32] >> c % 32 & 1u) == 0) continue;
    const bool begins = c == 0 || (shared.chosen[(c - 1) / 32] >> (c - 1) % 32 & 1u) == 0;
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
  inTiles = team.sum(inTiles);
  runs = team.sum(runs);
  const long long allSteps = team.sum((long long)steps);
  if (thread == 0) {
    const long long at = (long long)slot * p.chunkBlocks + chunkBlock;
    p.stepCounts[at] = isDense ? 0 : (int)allSteps;
    p.work[3 * at] = inTiles;
    p.work[3 * at + 1] = runs;
    p.work[3 * at + 2] = 0;
  }
}

}  // namespace mi

#endif
