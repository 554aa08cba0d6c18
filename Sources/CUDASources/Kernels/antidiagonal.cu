// Scores of groups: what groups of `stride` queries make of groups of `stride` keys, summed up over key blocks.
//
// By antidiagonals: with group a of queries q[S a + i] and group e of keys k[S e + i], i in 0 ..< S,
//   score(a, e) = scale / S * sum over i of q[S a + S - 1 - i] . k[S e + i],   e <= a,
// the sum along one antidiagonal of the S x S pairs of the two groups: every column and every offset crosses it. A row of
// scores is a product of two vectors of S * headDim elements, so the work is 1 / (2 S) of dense attention's, on the
// tensor cores; of it is done the part 1 / queryStride. Rows and keys that are not there count as zeros. Source:
// XAttention (arXiv 2503.16428), section 2.1.
//
// By means: score(a, e) = scale * mean(q of a) . mean(k of e), the mean of all S x S pairs of the two groups, for 1 / S of
// the work. Means are bf16, as group_means (pooled_shares.cu) leaves them.
//
// The row of scores goes through softmax, and the sums over key blocks are what selection wants. Its maximum is not known
// before all of it is, so each tile of 128 x 128 groups leaves sums relative to its own maximum, and the maximum.
//
// Grid: (score tiles of keys, score tiles of queries, slots). Block: 256. Dynamic shared memory: GroupLayout::bytes.
// Parameters: ShareParameters, by value. stride: 8 or 16; of means 16. mean_group_scores: q are the means of the part's
// groups, [partGroups][queryHeads][headDim], and k those of the keys' groups.

#include "shares.cuh"

using namespace mi;

namespace {

struct GroupLayout {
  static constexpr int threads = 256;
  /// Elements of every vector that are multiplied at a time.
  static constexpr int depth = 32;
  /// Elements between rows in shared memory: eight rows of a fragment meet no bank twice.
  static constexpr int rowStride = depth + 8;
  static constexpr int stages = 4;
  static constexpr int stageBytes = 2 * scoreTile * rowStride * 2;
  static constexpr int bytes = stages * stageBytes;
  /// Warps: two by four, 64 x 32 groups each.
  static constexpr int warpQueries = 64, warpKeys = 32;
};

extern __shared__ __align__(128) unsigned char groupMemory[];

template <int D, bool isMean>
__device__ __forceinline__ void groupScores(const ShareParameters& p) {
  typedef GroupLayout L;
  __shared__ float rowMaxima[scoreTile][4];
  const int slot = blockIdx.z;
  const int head = p.heads[slot].head;
  const int S = p.stride;
  const ScoredGroups groups(p);
  // Scored groups are counted from the first of the part's first query block.
  const int firstScored = p.partPosition / shareBlock * groups.ofBlock() + blockIdx.y * scoreTile;
  const int firstKeyGroup = blockIdx.x * scoreTile;
  const int keys = p.partPosition + p.partRows;
  if (firstKeyGroup > groups.group(firstScored + scoreTile - 1)) return;
  if ((long long)(groups.group(firstScored) - firstKeyGroup - scoreTile + 1) * S - (S - 1) >= p.window) return;
  if (groups.position(firstScored) >= keys) return;

  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const unsigned shared = sharedAddress(groupMemory);
  // Each thread copies 16 bytes of two queries and of two keys a stage.
  const int row = thread / 4, piece = thread % 4 * 8;
  const bf16* q = p.q + (long long)head * D + piece;
  const bf16* k = p.k + (long long)(head / p.groupSize) * p.kvHeadStride + piece;
  constexpr int slices = D / L::depth;
  const int steps = (isMean ? 1 : S) * slices;
  auto copy = [&](int step) {
    const unsigned stage = shared + step % L::stages * L::stageBytes;
    const int i = step / slices, element = step % slices * L::depth;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int local = row + 64 * half;
      const int queryRow = isMean ? (int)blockIdx.y * scoreTile + local
                                  : groups.position(firstScored + local) + S - 1 - i - p.partPosition;
      const bool isQuery = queryRow >= 0 && queryRow < (isMean ? p.partGroups : p.partRows);
      copyAsync16(stage + (local * L::rowStride + piece) * 2,
                  q + (isQuery ? (long long)queryRow * p.qStride + element : 0), isQuery);
      const int key = isMean ? firstKeyGroup + local : (firstKeyGroup + local) * S + i;
      const bool isKey = (isMean ? key * S : key) < keys;
      copyAsync16(stage + ((scoreTile + local) * L::rowStride + piece) * 2,
                  k + (isKey ? (long long)key * D + element : 0), isKey);
    }
  };

  float scores[4][4][4];
#pragma unroll
  for (int m = 0; m < 4; ++m) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) scores[m][n][c] = 0;
    }
  }
  const int warpRow = warp / 4 * L::warpQueries, warpColumn = warp % 4 * L::warpKeys;
  // Fragment addresses of this lane: queries take rows 0 ... 15 and the pair of 8 columns by lane / 16, keys the other way.
  const unsigned queryAddress = ((warpRow + (lane & 15)) * L::rowStride + (lane >> 4) * 8) * 2;
  const unsigned keyAddress =
      ((scoreTile + warpColumn + (lane & 7) + (lane >> 4) * 8) * L::rowStride + (lane >> 3 & 1) * 8) * 2;
#pragma unroll
  for (int step = 0; step < L::stages - 1; ++step) {
    if (step < steps) copy(step);
    copyAsyncCommit();
  }
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    copyAsyncWait<L::stages - 2>();
    __syncthreads();
    if (step + L::stages - 1 < steps) copy(step + L::stages - 1);
    copyAsyncCommit();
    const unsigned stage = shared + step % L::stages * L::stageBytes;
#pragma unroll
    for (int part = 0; part < L::depth / 16; ++part) {
      unsigned a[4][4], b[2][4];
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        loadMatrix4(a[m], stage + queryAddress + (16 * m * L::rowStride + 16 * part) * 2);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        loadMatrix4(b[n], stage + keyAddress + (16 * n * L::rowStride + 16 * part) * 2);
      }
#pragma unroll
      for (int m = 0; m < 4; ++m) {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          multiplyAdd(scores[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
        }
      }
    }
  }
  copyAsyncWait<0>();

  // Scores to base 2, hidden ones to minus infinity; the maximum of each row over the tile's keys.
  const int laneRow = warpRow + (lane >> 2), laneColumn = warpColumn + (lane & 3) * 2;
#pragma unroll
  for (int m = 0; m < 4; ++m) {
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      const int local = laneRow + 16 * m + 8 * side;
      float most = lowestScore;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[m][n][2 * side + e];
          const int offset = groups.group(firstScored + local) - (firstKeyGroup + laneColumn + 8 * n + e);
          const bool isVisible = offset >= 0 && (long long)offset * S - (S - 1) < p.window;
          score = isVisible ? score * p.scaleLog2 : -infinity();
          most = fmaxf(most, score);
        }
      }
      most = quadMaximum(most);
      if ((lane & 3) == 0) rowMaxima[local][warp % 4] = most;
    }
  }
  __syncthreads();
  const int keyBlocksOfTile = S;  // scoreTile * S / shareBlock
  float* const sums = p.sums + (long long)slot * p.partGroups * p.sumStride;
  float* const maxima = p.maxima + (long long)slot * p.partGroups * p.maximumStride;
#pragma unroll
  for (int m = 0; m < 4; ++m) {
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      const int local = laneRow + 16 * m + 8 * side;
      const int group = blockIdx.y * scoreTile + local;
      const float maximum = fmaxf(fmaxf(rowMaxima[local][0], rowMaxima[local][1]),
                                  fmaxf(rowMaxima[local][2], rowMaxima[local][3]));
      float own = 0;
      float before = 0;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const float sum = quadSum(exp2Approximate(scores[m][n][2 * side] - maximum) +
                                  exp2Approximate(scores[m][n][2 * side + 1] - maximum));
        // Eight groups of 16 are a block; of 8, half of one.
        if (S == 16) {
          if ((lane & 3) == n) own = sum;
        } else {
          if (n % 2 == 0) before = sum;
          else if ((lane & 3) == n / 2) own = before + sum;
        }
      }
      if (group < p.partGroups) {
        const int blocksOfWarp = keyBlocksOfTile / 4;
        if ((lane & 3) < blocksOfWarp) {
          sums[(long long)group * p.sumStride + blockIdx.x * keyBlocksOfTile + warp % 4 * blocksOfWarp + (lane & 3)] =
              own;
        }
        if (warp % 4 == 0 && (lane & 3) == 0) {
          maxima[(long long)group * p.maximumStride + blockIdx.x] = maximum;
        }
      }
    }
  }
}

}  // namespace

#define GROUP_SCORES(D)                                                                                     \
  extern "C" __global__ void __launch_bounds__(GroupLayout::threads, 2)                                     \
      antidiagonal_scores_d##D(const ShareParameters parameters) {                                          \
    groupScores<D, false>(parameters);                                                                      \
  }                                                                                                         \
  extern "C" __global__ void __launch_bounds__(GroupLayout::threads, 2)                                     \
      mean_group_scores_d##D(const ShareParameters parameters) {                                            \
    groupScores<D, true>(parameters);                                                                       \
  }
GROUP_SCORES(64)
GROUP_SCORES(96)
GROUP_SCORES(128)
