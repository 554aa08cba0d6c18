// From sums over key blocks to the blocks that a query block computes, and the lists that attention reads.
//
// The share of key block c in query block b is the mean, over the groups of queries in b, of the softmax mass that the
// group's scores put on c (antidiagonal.cu, pooled_shares.cu). Blocks are taken in descending order of their shares, the lower one first of
// equal ones, until those taken hold the head's share of all; a floor, a least number and a cap bound their number. The first block and
// the query's own are taken besides. A block none of whose groups is scored takes every block. Source: XAttention (arXiv
// 2503.16428), section 2.2; the floor and the least number are ours.
//
// Order of launches: for each part of the chunk's queries the scores and select_shares; then, over the whole
// chunk, count_share_columns where there are columns, count_shares and gather_shares. A list longer than its capacity
// makes its head dense. Heads for which choose_bands (flexprefill.cu) has decided for bands keep the plan that they have.

#include "share_choice.cuh"

using namespace mi;

namespace {

/// One warp a query block, where it sees at most 32 `most` key blocks.
template <int most>
__device__ __forceinline__ void chooseByWarps(const ShareParameters& p) {
  __shared__ SharedChoice<most> shared[ShareChoice::threads / 32];
  const int warp = threadIdx.x / 32;
  const int row = blockIdx.x * (ShareChoice::threads / 32) + warp;
  if (row >= p.partGroups / ScoredGroups(p).ofBlock()) return;
  chooseBlocks<32, most, most>(p, row, blockIdx.y, Team<32>(), shared[warp]);
}

}  // namespace

// The key blocks of each query block of a part, as bits, and what they cost. Block: 256. No dynamic shared memory.
// Parameters: ShareParameters, by value. select_shares_N: where no query block of the part sees more than N key blocks; grid:
// (query blocks of the part / 8, rounded up, slots). select_shares: at most 4M keys; grid: (query blocks of the part, slots).
extern "C" __global__ void __launch_bounds__(256) select_shares_256(const ShareParameters p) { chooseByWarps<8>(p); }
extern "C" __global__ void __launch_bounds__(256) select_shares_1024(const ShareParameters p) { chooseByWarps<32>(p); }
extern "C" __global__ void __launch_bounds__(256) select_shares_2048(const ShareParameters p) { chooseByWarps<64>(p); }
extern "C" __global__ void __launch_bounds__(256) select_shares(const ShareParameters p) {
  __shared__ unsigned quick[2][32];
  __shared__ int sums[32];
  __shared__ long long totals[32];
  __shared__ SharedChoice<maximumWords / 2> shared;
  chooseBlocks<256, ShareChoice::mostOwn, maximumWords / 2>(
      p, blockIdx.x, blockIdx.y, Team<256>{quick, sums, totals, 0}, shared);
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
  if (p.isPlanned(slot)) return;
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
  if (p.isPlanned(slot) || p.plans[p.heads[slot].head].kind == 0) return;
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
