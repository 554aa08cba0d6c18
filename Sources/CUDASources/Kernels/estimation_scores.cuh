// Scores of a chunk's last rows with the keys of a split: what both passes of estimation.cu go through.
//
// One warp holds the 64 rows of one query head in registers and walks over the keys of its split, 64 at a time; the warps of
// a block are heads of one group and share the keys' tiles.
#ifndef MI_ESTIMATION_SCORES_CUH
#define MI_ESTIMATION_SCORES_CUH

#include "common.cuh"
#include "plans.cuh"

namespace mi {

struct Tile {
  static constexpr int rows = 64;
  static constexpr int keys = 64;
  static constexpr int stages = 2;
  /// Floats between the eight streams of open diagonals: at least 72, and 4 modulo 16 so that a
  /// warp's stores meet no bank twice.
  static constexpr int streamStride = 84;
};

/// Stands for minus infinity where differences are taken.
constexpr float lowest = -1e30f;

struct EstimationParameters {
  /// [rows][queryHeads][headDim] bf16, row r at firstPosition + r; rows <= 64.
  const bf16* q;
  /// [kvHeads][capacity][headDim] bf16; keys = firstPosition + rows are read.
  const bf16* k;
  /// [queryHeads]; heads with wanted == 0 are left alone.
  const HeadBudget* budgets;
  /// Scratch, [queryHeads][splits][64] pairs of float: a row's maximum and sum, base 2.
  float2* partial;
  /// [queryHeads][sumStride] fp32, `keys` entries each; every entry is written.
  float* vertical;
  float* slash;
  /// [rows][queryHeads] fp32, natural logarithm, of wanted heads; may be null.
  float* logSumExp;
  /// [queryHeads] fp32, natural logarithm: sinks, which a row's softmax is over too; may be null.
  const float* sinks;
  long long kvHeadStride;
  long long sumStride;
  int rows, firstPosition, qStride, queryHeads, groupSize;
  /// INT_MAX: none.
  int window;
  int splits, keysPerSplit;
  /// scale * log2(e).
  float scaleLog2;
};
MI_CHECK_LAYOUT(EstimationParameters);

/// One warp's place in the work.
struct Place {
  int head, start, end, keys;
  bool isActive;
};

template <int D>
__device__ __forceinline__ void loadTile(
    const bf16* k, int firstKey, int keys, unsigned shared) {
  constexpr int pieces = D / 8;
  for (int i = threadIdx.x; i < Tile::keys * pieces; i += blockDim.x) {
    const int row = i / pieces;
    const int piece = i - row * pieces;
    const bool isValid = firstKey + row < keys;
    const bf16* source = k + (isValid ? (long long)(firstKey + row) * D + piece * 8 : 0);
    copyAsync16(shared + (row * (D + 8) + piece * 8) * 2, source, isValid);
  }
  copyAsyncCommit();
}

/// Calls visit(n, scores) for 16 keys at a time of the tile in shared memory, scores[side][m] the
/// accumulators of keys 16n + 8 side and rows 16m, scaled to base 2, -infinity where masked.
template <int D, typename Visit>
__device__ __forceinline__ void forScores(
    const unsigned (&queries)[4][D / 16][4], unsigned shared, int tileKey,
    const EstimationParameters& p, Visit visit) {
  const int lane = threadIdx.x & 31;
  const int group = lane >> 2, pair = lane & 3;
  // The last key of the tile is after the first row, or its first key outside the last row's window.
  const bool isMasked = tileKey + Tile::keys - 1 > p.firstPosition ||
                        p.firstPosition + p.rows - 1 - tileKey >= p.window;
  const unsigned row = shared + ((lane & 7) * (D + 8) + (lane >> 3) * 8) * 2;
#pragma unroll
  for (int n = 0; n < Tile::keys / 16; ++n) {
    float scores[2][4][4];
#pragma unroll
    for (int side = 0; side < 2; ++side) {
#pragma unroll
      for (int m = 0; m < 4; ++m) {
#pragma unroll
        for (int c = 0; c < 4; ++c) scores[side][m][c] = 0;
      }
    }
#pragma unroll
    for (int step = 0; step < D / 32; ++step) {
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        unsigned b[4];
        loadMatrix4(b, row + ((16 * n + 8 * side) * (D + 8) + step * 32) * 2);
#pragma unroll
        for (int m = 0; m < 4; ++m) multiplyAdd(scores[side][m], queries[m][2 * step], b[0], b[1]);
#pragma unroll
        for (int m = 0; m < 4; ++m) {
          multiplyAdd(scores[side][m], queries[m][2 * step + 1], b[2], b[3]);
        }
      }
    }
    if (isMasked) {
#pragma unroll
      for (int side = 0; side < 2; ++side) {
#pragma unroll
        for (int m = 0; m < 4; ++m) {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            const int offset = p.firstPosition + 16 * m + 8 * (c >> 1) + group -
                               (tileKey + 16 * n + 8 * side + 2 * pair + (c & 1));
            if (offset < 0 || offset >= p.window) scores[side][m][c] = -infinity();
          }
        }
      }
    }
    visit(n, scores);
  }
}

template <int D>
__device__ __forceinline__ void loadQueries(
    unsigned (&queries)[4][D / 16][4], const EstimationParameters& p, int head) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int m = 0; m < 4; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = 16 * m + 8 * half + (lane >> 2);
      const bf16* source = p.q + (long long)row * p.qStride + head * D + (lane & 3) * 2;
#pragma unroll
      for (int step = 0; step < D / 16; ++step) {
        const bool isValid = row < p.rows;
        queries[m][step][half] = isValid ? *(const unsigned*)(source + step * 16) : 0;
        queries[m][step][half + 2] = isValid ? *(const unsigned*)(source + step * 16 + 8) : 0;
      }
    }
  }
}

__device__ __forceinline__ int firstVisibleTile(const EstimationParameters& p) {
  return max(0, p.firstPosition - p.window + 1) / Tile::keys;
}

__device__ __forceinline__ Place placeOfWarp(const EstimationParameters& p) {
  const int warps = blockDim.x / 32;
  const int parts = (p.groupSize + warps - 1) / warps;
  const int inGroup = blockIdx.y % parts * warps + threadIdx.x / 32;
  Place place;
  place.head = blockIdx.y / parts * p.groupSize + inGroup;
  place.isActive = inGroup < p.groupSize && p.budgets[place.head].wanted != 0;
  place.keys = p.firstPosition + p.rows;
  place.start = firstVisibleTile(p) * Tile::keys + blockIdx.x * p.keysPerSplit;
  place.end = min(place.keys, place.start + p.keysPerSplit);
  return place;
}

}  // namespace mi

#endif
