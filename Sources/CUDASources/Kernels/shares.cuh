// What the kernels that choose key blocks by shares hand to one another: the shares of a row's attention that blocks of
// 128 keys hold, and the blocks that are chosen by them.
//
// Query blocks and key blocks have 128 positions and lie at absolute multiples of 128, as pairs of tile rows do. Groups
// are `stride` positions at absolute multiples of the stride; of the groups of queries every `queryStride`th is scored,
// the last of as many. Where blocks are scored by their means, a group is a block. A chunk's queries come in parts that
// end at multiples of 128; keys up to the end of the part are there.
#ifndef MI_SHARES_CUH
#define MI_SHARES_CUH

#include "common.cuh"
#include "plans.cuh"

namespace mi {

constexpr int shareBlock = 128;

/// Groups of keys whose scores have one maximum, and, of antidiagonals, groups of queries of a thread block.
constexpr int scoreTile = 128;

/// Stands for minus infinity where differences are taken.
constexpr float lowestScore = -1e30f;

/// A share as an integer: shares of a row add up to about 2^30, so that their order and their sums are exact.
constexpr float shareUnit = 1073741824.0f;

/// One head whose key blocks are chosen by their shares; 32 bytes.
struct ShareHead {
  int head;
  /// The share that the chosen blocks hold, from 0 to 1; at least 1 takes every block.
  float share;
  /// The part of the blocks up to the query's own that is taken at least, and at most, rounded up.
  float floor, cap;
  /// Whether single columns are computed besides.
  int hasColumns;
  /// Tile rows with a position at or after this one are dense; a multiple of 128, or INT_MAX.
  int denseFrom;
  /// So many blocks are taken at least, where there are as many.
  int least;
  /// From this distance on the head computes bands in place of blocks (flexprefill.cu); infinite: at none.
  float bandDistance;
};
MI_CHECK_LAYOUT(ShareHead);

/// Parameters of all entries, by value; 216 bytes.
struct ShareParameters {
  /// [partRows][queryHeads][headDim] bf16; row 0 stands at partPosition.
  const bf16* q;
  /// [kvHeads][capacity][headDim] bf16; keys up to partPosition + partRows are read.
  const bf16* k;
  /// [slots].
  const ShareHead* heads;
  /// Scratch: [slots][partGroups][sumStride] fp32: for each group of queries, the sum of 2^(score - maximum of the
  /// score tile) over each key block.
  float* sums;
  /// Scratch: [slots][partGroups][maximumStride] fp32: the maximum of each score tile's row, base 2.
  float* maxima;
  /// [slots][chunkBlocks][words]: the chosen key blocks, a bit each.
  unsigned* bits;
  /// [slots][chunkBlocks][3]: pairs of (query, key) in chosen tiles, runs of tiles side by side in its tile rows, and
  /// pairs of single columns.
  long long* work;
  /// Scratch: [slots][chunkBlocks]: steps of each query block.
  int* stepCounts;
  /// [slots][stepCapacity]: what attention reads.
  int* steps;
  /// [slots][chunkBlocks + 1].
  int* stepOffsets;
  /// [heads][columnStride] ascending single columns and [heads][2] their numbers (the first of the two); null where no head
  /// has any.
  const int* columns;
  const int* columnCounts;
  /// [heads].
  HeadPlan* plans;
  /// [heads][2], as for plan_bands.
  long long* pairCounts;
  long long kvHeadStride;
  int partRows, partPosition;
  /// The chunk: position of its first row, its rows.
  int firstPosition, rows;
  int partGroups, sumStride, maximumStride, words, chunkBlocks, stepCapacity, columnStride;
  int qStride, groupSize;
  /// Positions of a group: 8 or 16; 128 where means are scored.
  int stride;
  /// Of so many groups of queries the last is scored; divides the groups of a block.
  int queryStride;
  /// INT_MAX: none.
  int window;
  /// scale * log2(e) / stride.
  float scaleLog2;
  /// Time of a pair in a tile, of beginning a run of tiles, and of a pair of a single column, in pairs of dense
  /// attention: a head that would take longer than all causal pairs runs dense, unless exact is set.
  float tileCost, runCost, columnCost;
  int exact;
  /// [slots], as choose_bands leaves them: 1: the head's plan is made already; null: of no head.
  const int* takesBands;
  __device__ __forceinline__ bool isPlanned(int slot) const { return takesBands && takesBands[slot]; }
};
MI_CHECK_LAYOUT(ShareParameters);

/// The groups of queries of a block that are scored.
struct ScoredGroups {
  int stride, queryStride;
  __device__ __forceinline__ ScoredGroups(const ShareParameters& p)
      : stride(p.stride), queryStride(p.queryStride) {}
  /// Scored groups of a block.
  __device__ __forceinline__ int ofBlock() const { return shareBlock / stride / queryStride; }
  /// The number among all groups of the scored group `index`, and the position of its first query.
  __device__ __forceinline__ int group(int index) const { return queryStride * index + queryStride - 1; }
  __device__ __forceinline__ int position(int index) const { return group(index) * stride; }
};

/// The first key block that some row of the query block `block`, at or after `from`, sees through the window.
__device__ __forceinline__ int firstVisibleBlock(int block, int from, int window) {
  return min(block, max(0, from - window + 1) / shareBlock);
}

}  // namespace mi

#endif
