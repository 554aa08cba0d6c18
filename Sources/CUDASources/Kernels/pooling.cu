// Block-sparse attention's estimate: means of blocks of 64 rows, their products, and for each block of
// queries the key blocks that score highest.
//
// Follows BlockSparse.swift: blocks lie at absolute multiples of 64, the mean of a short block is over
// the rows it has; among the blocks up to the query's own the top k are taken by the rule of
// LargestScores.swift, and the first block and the query's own besides. Source: MInference,
// algorithm 3.
//
// Order of launches: mean_blocks for keys, and for queries (rows at a time, as they are made); then for
// slabs of query pairs, as many as the scratch for scores holds, block_scores and select_blocks; last
// count_blocks and gather_blocks over the whole chunk. Lists and scratch are for the block-sparse heads
// alone, which are numbered by slot.

#include "common.cuh"
#include "largest.cuh"
#include "mean_products.cuh"
#include "numbers.cuh"
#include "pairs.cuh"
#include "plans.cuh"
#include "reductions.cuh"

using namespace mi;

namespace {

struct Choice {
  static constexpr int threads = 256;
  static constexpr int copies = 2;
};

/// One block-sparse head; 8 bytes.
struct BlockHead {
  int head;
  /// Key blocks that a query block takes, from 0 to BlockParameters::topK.
  int topK;
};
MI_CHECK_LAYOUT(BlockHead);

/// Parameters of all entries but mean_blocks, by value; 152 bytes.
struct BlockParameters {
  /// [heads][queryBlocks][headDim] fp32 means; query block 0 is the one that holds firstPosition.
  const float* queries;
  /// [kvHeads][keyBlocks][headDim] fp32 means; keyBlocks = (keys - 1) / 64 + 1.
  const float* keys;
  /// Scratch: [slots][slabBlocks][scoreStride] fp32; scoreStride >= keyBlocks.
  float* scores;
  /// [slots].
  const BlockHead* heads;
  /// Scratch: [slots][pairs][2 * (topK + 2)]: steps of each pair at the start of its room.
  int* rooms;
  /// Scratch: [slots][pairs]: steps of each pair.
  int* stepCounts;
  /// Scratch: [slots][pairs][2]: pairs of (query, key) in the tiles of each pair of tile rows, and runs of
  /// tiles side by side in its tile rows.
  long long* work;
  /// [slots][pairs * 2 * (topK + 2)]: the steps, closed up.
  int* steps;
  /// [slots][pairs + 1].
  int* stepOffsets;
  /// [heads].
  HeadPlan* plans;
  /// [heads][2], as for plan_bands.
  long long* pairCounts;
  int queryBlocks, keyBlocks, scoreStride;
  /// Pairs of tile rows that the chunk touches: (keys - 1) / 128 - firstPosition / 128 + 1.
  int pairs;
  /// Slab: pairs slabPair ..< slabPair + slabPairs; slabBlocks = 2 * slabPairs rows of scores.
  int slabPair, slabPairs;
  int rows, firstPosition, headDim, groupSize, topK;
  /// INT_MAX: none.
  int window;
  /// Time of a tile's pair, and of beginning a run of tiles in a tile row, in pairs of dense attention: a head
  /// that would take longer than all causal pairs runs dense, unless exact is set.
  float tileCost, runCost;
  int exact;
};
MI_CHECK_LAYOUT(BlockParameters);

/// The query block (counted from the chunk's first) that is half `half` of the chunk's pair `pair`;
/// negative or at least queryBlocks if the chunk has no row there.
__device__ __forceinline__ int queryBlock(const BlockParameters& p, int pair, int half) {
  const int tileRow = 2 * (p.firstPosition / (2 * tileExtent) + pair) + half;
  return tileRow - p.firstPosition / tileExtent;
}

}  // namespace

// means[h][firstBlock + b] = mean over block b's rows of x[r][h]. x: element (r, h, d) at r * rowStride +
// h * headStride + d, bf16; row r stands at firstPosition + r, and blocks, of blockSize positions, are those
// that the rows touch. means: [heads][blocks][headDim] fp32. headDim a multiple of 8, at most 256.
// Grid: ((firstPosition + rows - 1) / blockSize - firstPosition / blockSize + 1, heads). Block: 256. No
// dynamic shared memory. Parameters: x, means, int rows, int firstPosition, int headDim, int firstBlock,
// int blocks, int blockSize, long long rowStride, long long headStride.
extern "C" __global__ void __launch_bounds__(256) mean_blocks(
    const bf16* x, float* means, int rows, int firstPosition, int headDim, int firstBlock, int blocks,
    int blockSize, long long rowStride, long long headStride) {
  __shared__ float sums[256 * 8];
  const int start = (firstPosition / blockSize + blockIdx.x) * blockSize;
  const int from = max(start, firstPosition) - firstPosition;
  const int to = min(start + blockSize, firstPosition + rows) - firstPosition;
  const int pieces = headDim / 8;
  const int lanes = 256 / pieces;
  const int piece = threadIdx.x % pieces;
  const int lane = threadIdx.x / pieces;
  float sum[8] = {};
  if (lane < lanes) {
    const bf16* source = x + blockIdx.y * headStride + piece * 8;
    for (int row = from + lane; row < to; row += lanes) {
      float values[8];
      AsBf16::load8(source + row * rowStride, values);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum[j] += values[j];
    }
#pragma unroll
    for (int j = 0; j < 8; ++j) sums[lane * headDim + piece * 8 + j] = sum[j];
  }
  __syncthreads();
  float* target = means + ((long long)blockIdx.y * blocks + firstBlock + blockIdx.x) * headDim;
  for (int d = threadIdx.x; d < headDim; d += 256) {
    float total = 0;
    for (int i = 0; i < lanes; ++i) total += sums[i * headDim + d];
    target[d] = total / (float)(to - from);
  }
}

// scores[slot][row][b] = mean query . mean key for the slab's query blocks (row = 2 * (pair - slabPair) +
// half) and key blocks b up to the query's own; fp32 throughout, as ties are a matter of 1e-5.
// Grid: ((keyBlocks + 127) / 128, (2 * slabPairs + 63) / 64, slots). Block: 256. No dynamic shared
// memory. Parameters: BlockParameters, by value. headDim a multiple of 16.
extern "C" __global__ void __launch_bounds__(256) block_scores(const BlockParameters p) {
  __shared__ __align__(16) MeanProducts tile;
  const int slot = blockIdx.z;
  const int head = p.heads[slot].head;
  const int firstRow = blockIdx.y * MeanProducts::queries;
  const int firstKey = blockIdx.x * MeanProducts::keys;
  const int firstBlock = queryBlock(p, p.slabPair, 0) + firstRow;
  const int chunkBlock = p.firstPosition / tileExtent;
  // All key blocks of this tile lie after the last query's own.
  if (firstKey > chunkBlock + firstBlock + MeanProducts::queries - 1) return;
  const float* q = p.queries + (long long)head * p.queryBlocks * p.headDim;
  const float* k = p.keys + (long long)(head / p.groupSize) * p.keyBlocks * p.headDim;
  float sums[4][8] = {};
  tile.add(q, firstBlock, p.queryBlocks, k, firstKey, p.keyBlocks, p.headDim, sums);
  float* scores = p.scores + (long long)slot * 2 * p.slabPairs * p.scoreStride;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int row = firstRow + MeanProducts::row(r);
    if (row >= 2 * p.slabPairs) continue;
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      const int key = firstKey + MeanProducts::column(c);
      if (key < p.keyBlocks) scores[(long long)row * p.scoreStride + key] = sums[r][c];
    }
  }
}

// The steps of each pair of tile rows of a slab, into its room. Grid: (slabPairs, slots). Block: 256.
// No dynamic shared memory. Parameters: BlockParameters, by value. keys <= 4M.
extern "C" __global__ void __launch_bounds__(256) select_blocks(const BlockParameters p) {
  __shared__ DigitCounts<Choice::copies> digits;
  __shared__ unsigned chosen[2][maximumWords];
  __shared__ int sums[32];
  __shared__ long long totals[32];
  const int slot = blockIdx.y;
  const BlockHead request = p.heads[slot];
  const int pair = p.slabPair + blockIdx.x;
  const int thread = threadIdx.x;
  const int keys = p.firstPosition + p.rows;
  const int chunkBlock = p.firstPosition / tileExtent;
  const int lastTile = min(2 * (p.firstPosition / (2 * tileExtent) + pair) + 1,
                           (keys - 1) / tileExtent);
  const int words = lastTile / 32 + 1;
  for (int i = thread; i < words; i += Choice::threads) chosen[0][i] = 0, chosen[1][i] = 0;
  __syncthreads();
  long long inTiles = 0;
  int runs = 0;
  for (int half = 0; half < 2; ++half) {
    const int block = queryBlock(p, pair, half);
    if (block < 0 || block >= p.queryBlocks) continue;
    const int own = chunkBlock + block;
    const float* scores = p.scores + ((long long)slot * 2 * p.slabPairs + 2 * blockIdx.x + half) *
                                         p.scoreStride;
    const int candidates = own + 1;
    const int count = min(min(request.topK, p.topK), candidates);
    const int from = max(p.firstPosition, own * tileExtent);
    const int to = min(keys, (own + 1) * tileExtent);
    // Tiles before the window of all rows are left out.
    const int firstVisible = min(own, max(0, from - p.window + 1) / tileExtent);
    auto take = [&](int tile) {
      if (tile >= firstVisible) atomicOr(&chosen[half][tile / 32], 1u << tile % 32);
    };
    if (thread == 0) take(0), take(own);
    if (count == candidates) {
      for (int i = thread; i < candidates; i += Choice::threads) take(i);
    } else if (count > 0) {
      const StridedScores all = {scores, candidates};
      const unsigned cut = kthLargest(count, digits, all);
      const TieBounds bounds = tieBounds(scoreOfOrderedBits(cut));
      int clear = 0;
      for (int i = thread; i < candidates; i += Choice::threads) {
        const bool isClear = comparable(scores[i]) >= bounds.above;
        if (isClear) take(i);
        clear += isClear;
      }
      int places = count - (int)blockSum((long long)clear, totals);
      // Ties in ascending order; the loop ends with the last place.
      for (int start = 0; start < candidates && places > 0; start += Choice::threads) {
        const int i = start + thread;
        const float score = i < candidates ? comparable(scores[i]) : 0;
        const int isTie = i < candidates && score >= bounds.below && !(score >= bounds.above);
        const int found = __syncthreads_count(isTie);
        if (found == 0) continue;
        const int before = blockExclusiveSum(isTie, sums);
        if (isTie && before < places) take(i);
        places -= found;
      }
    }
    __syncthreads();
    for (int tile = firstVisible + thread; tile <= own; tile += Choice::threads) {
      if (chosen[half][tile / 32] >> tile % 32 & 1u) {
        inTiles += tilePairs(from, to, own - tile, p.window);
        // A run begins where the tile before is not taken.
        runs += tile == 0 || (chosen[half][(tile - 1) / 32] >> (tile - 1) % 32 & 1u) == 0;
      }
    }
    __syncthreads();
  }
  inTiles = blockSum(inTiles, totals);
  const long long allRuns = blockSum((long long)runs, totals);

  // Steps in descending key tiles: thread 0 has the highest words.
  const int share = (words + Choice::threads - 1) / Choice::threads;
  const int top = words - 1 - thread * share;
  int own = 0;
  for (int i = 0; i < share && top - i >= 0; ++i) {
    own += __popc(chosen[0][top - i] | chosen[1][top - i]);
  }
  int place = blockExclusiveSum(own, sums);
  const long long room = 2 * ((long long)p.topK + 2);
  int* steps = p.rooms + ((long long)slot * p.pairs + pair) * room;
  for (int i = 0; i < share && top - i >= 0; ++i) {
    const int word = top - i;
    unsigned either = chosen[0][word] | chosen[1][word];
    while (either != 0) {
      const int bit = 31 - __clz(either);
      either &= ~(1u << bit);
      const int flags = (chosen[0][word] >> bit & 1u) | (chosen[1][word] >> bit & 1u) << 1;
      steps[place++] = (word * 32 + bit) * 4 + flags;
    }
  }
  if (thread == Choice::threads - 1) {
    const long long at = (long long)slot * p.pairs + pair;
    p.stepCounts[at] = place;
    p.work[2 * at] = inTiles;
    p.work[2 * at + 1] = allRuns;
  }
}

// Sums up a head: starts of its pairs' steps, its counts, its plan (dense if the tiles leave nothing out or
// would cost more). Grid: slots. Block: 1024. No dynamic shared memory. Parameters: BlockParameters, by value.
extern "C" __global__ void __launch_bounds__(1024) count_blocks(const BlockParameters p) {
  __shared__ int sums[32];
  __shared__ long long totals[32];
  const int slot = blockIdx.x;
  const int head = p.heads[slot].head;
  const int thread = threadIdx.x;
  const int share = (p.pairs + 1023) / 1024;
  const int from = min(p.pairs, thread * share);
  const int to = min(p.pairs, from + share);
  const int* counts = p.stepCounts + (long long)slot * p.pairs;
  const long long* work = p.work + 2 * (long long)slot * p.pairs;
  int own = 0;
  long long inTiles = 0, runs = 0;
  for (int i = from; i < to; ++i) {
    own += counts[i];
    inTiles += work[2 * i];
    runs += work[2 * i + 1];
  }
  int start = blockExclusiveSum(own, sums);
  inTiles = blockSum(inTiles, totals);
  runs = blockSum(runs, totals);
  int* offsets = p.stepOffsets + (long long)slot * (p.pairs + 1);
  for (int i = from; i < to; ++i) {
    offsets[i] = start;
    start += counts[i];
  }
  if (thread != 1023) return;
  offsets[p.pairs] = start;
  const long long causal = causalPairs(p.firstPosition, p.firstPosition + p.rows, p.window);
  const double cost = (double)inTiles * p.tileCost + (double)runs * p.runCost;
  const bool isDense = inTiles >= causal || (!p.exact && cost > (double)causal);
  p.pairCounts[2 * head] = isDense ? causal : inTiles;
  p.pairCounts[2 * head + 1] = 0;
  HeadPlan plan = {};
  plan.kind = isDense ? 0 : 2;
  plan.steps = p.steps + (long long)slot * p.pairs * 2 * (p.topK + 2);
  plan.stepOffsets = offsets;
  plan.stepCount = start;
  plan.denseFrom = 2147483647;
  p.plans[head] = plan;
}

// Closes the rooms up into the lists that the plans name. Grid: (pairs, slots). Block: any; 64 is good.
// Parameters: BlockParameters, by value.
extern "C" __global__ void gather_blocks(const BlockParameters p) {
  const int slot = blockIdx.y, pair = blockIdx.x;
  const long long room = 2 * ((long long)p.topK + 2);
  const int* source = p.rooms + ((long long)slot * p.pairs + pair) * room;
  const int start = p.stepOffsets[(long long)slot * (p.pairs + 1) + pair];
  int* target = p.steps + (long long)slot * p.pairs * room + start;
  const int count = p.stepCounts[(long long)slot * p.pairs + pair];
  for (int i = threadIdx.x; i < count; i += blockDim.x) target[i] = source[i];
}
