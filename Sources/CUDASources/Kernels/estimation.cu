// Softmax mass that the last rows of a chunk put on every key column and on every offset.
//
// For each wanted query head, with P = softmax(scale * q k^T) over j <= i (and i - j < window):
// vertical[j] = sum over rows of P[i, j], slash[o] = sum over rows of P[i, i - o].
// Source: MInference, section 3.2 and algorithm 2. Two launches over all heads of a layer; nothing of
// size rows x keys is stored: estimate_maxima_dD leaves each row's maximum and sum for each split of
// the keys, estimate_sums_dD combines them, computes the scores again and adds them up.
//
// One warp holds the 64 rows of one query head in registers and walks over the keys of its split, 64
// at a time; the warps of a block are heads of one group and share the keys' tiles. Diagonals are added
// up while the warp walks: in the fragments of the tensor core, row block minus key block names a
// diagonal up to a shift that depends on the lane alone, so eight accumulators in a ring hold the open
// ones and each is stored once. Only the 64 offsets where two splits meet get two additions, and two
// addends commute: results do not depend on the order of blocks.
//
// Parameters of both, in order (one struct, by value): see EstimationParameters.
// Grid: (splits, kvHeads * ceil(groupSize / warps)). Block: 32 * warps, warps = min(groupSize, 8).
// Dynamic shared memory: maxima 256 * (headDim + 8) bytes; sums that + 2688 * warps bytes.
// Splits: with warpsPerSM = 8: about multiprocessors * max(1, 8 / warps) / gridDim.y, at least 1;
// tiles = the 64-key tiles from max(0, firstPosition - window + 1) / 64 to the last key's;
// keysPerSplit = 64 * ceil(tiles / splits), then splits = ceil(64 * tiles / keysPerSplit).

#include "common.cuh"
#include "plans.cuh"

using namespace mi;

namespace {

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

template <int D>
__device__ __forceinline__ void rowMaxima(const EstimationParameters& p, unsigned char* memory) {
  const Place place = placeOfWarp(p);
  if (!__syncthreads_or(place.isActive)) return;
  const int lane = threadIdx.x & 31;
  if (place.isActive) {
    // The sums of the other launch are added to zeros; columns that no row sees stay zero.
    float* slash = p.slash + place.head * p.sumStride;
    float* vertical = p.vertical + place.head * p.sumStride;
    const int hidden = firstVisibleTile(p) * Tile::keys;
    for (int i = blockIdx.x * 32 + lane; i < place.keys; i += gridDim.x * 32) {
      slash[i] = 0;
      if (i < hidden) vertical[i] = 0;
    }
  }
  const bf16* k = p.k + blockIdx.y / ((p.groupSize + blockDim.x / 32 - 1) / (blockDim.x / 32)) *
                            p.kvHeadStride;
  unsigned queries[4][D / 16][4];
  float maxima[8], sums[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) maxima[i] = lowest, sums[i] = 0;
  if (place.isActive) loadQueries<D>(queries, p, place.head);
  const unsigned shared = sharedAddress(memory);
  constexpr unsigned stageBytes = Tile::keys * (D + 8) * 2;
  if (place.start < place.end) loadTile<D>(k, place.start, place.keys, shared);
  int stage = 0;
  for (int tileKey = place.start; tileKey < place.end; tileKey += Tile::keys, stage ^= 1) {
    copyAsyncWait<0>();
    __syncthreads();
    if (tileKey + Tile::keys < place.end) {
      loadTile<D>(k, tileKey + Tile::keys, place.keys, shared + (stage ^ 1) * stageBytes);
    }
    if (!place.isActive) continue;
    forScores<D>(
        queries, shared + stage * stageBytes, tileKey, p, [&](int, float (&scores)[2][4][4]) {
          // A maximum may lag behind by 2^16: sums stay far from overflow, and most tiles need no
          // correction.
          bool isBehind = false;
          float largest[8];
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            const int m = i / 2, c = i % 2 * 2;
            largest[i] = p.scaleLog2 * fmaxf(fmaxf(scores[0][m][c], scores[0][m][c + 1]),
                                             fmaxf(scores[1][m][c], scores[1][m][c + 1]));
            isBehind |= largest[i] > maxima[i] + 16.0f;
          }
          if (isBehind) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
              const float maximum = fmaxf(maxima[i], largest[i]);
              sums[i] *= exp2Approximate(maxima[i] - maximum);
              maxima[i] = maximum;
            }
          }
#pragma unroll
          for (int i = 0; i < 8; ++i) {
            const int m = i / 2, c = i % 2 * 2;
#pragma unroll
            for (int side = 0; side < 2; ++side) {
              sums[i] += exp2Approximate(fmaf(scores[side][m][c], p.scaleLog2, -maxima[i])) +
                         exp2Approximate(fmaf(scores[side][m][c + 1], p.scaleLog2, -maxima[i]));
            }
          }
        });
  }
  if (!place.isActive) return;
  float2* partial = p.partial + ((long long)place.head * p.splits + blockIdx.x) * Tile::rows;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float maximum = quadMaximum(maxima[i]);
    const float sum = quadSum(sums[i] * exp2Approximate(maxima[i] - maximum));
    if ((lane & 3) == 0) partial[8 * i + (lane >> 2)] = make_float2(maximum, sum);
  }
}

/// Log-sum-exp (base 2) of a row over all splits; +infinity for rows that are not there, so that
/// their weights are zero.
__device__ __forceinline__ float combined(const EstimationParameters& p, int head, int row) {
  const float2* partial = p.partial + (long long)head * p.splits * Tile::rows + row;
  float maximum = lowest, sum = 0;
#pragma unroll 4
  for (int split = 0; split < p.splits; ++split) {
    const float2 part = partial[split * Tile::rows];
    const float larger = fmaxf(maximum, part.x);
    sum = sum * exp2Approximate(maximum - larger) + part.y * exp2Approximate(part.x - larger);
    maximum = larger;
  }
  return row < p.rows ? maximum + log2f(sum) : infinity();
}

/// Stores the diagonals that no later key block reaches, and opens new ones in their place.
__device__ __forceinline__ void closeDiagonals(
    float (&open)[2][8], int block, float* streams, float (&carried)[2]) {
  const int lane = threadIdx.x & 31;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    const float value = open[e][7 - block];
    streams[(2 * (lane & 3) + e) * Tile::streamStride + 8 * (7 - block) + (lane >> 2)] = value;
    carried[e] = value;
    open[e][7 - block] = 0;
  }
}

/// Adds the 64 offsets from firstOffset on, whose diagonals are complete, to the head's sums.
__device__ __forceinline__ void addDiagonals(
    const float* streams, float* slash, int firstOffset, int keys) {
  const int lane = threadIdx.x & 31;
  __syncwarp();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int x = lane + 32 * half;
    float sum = 0;
#pragma unroll
    for (int stream = 0; stream < 8; ++stream) {
      sum += streams[stream * Tile::streamStride + x + stream];
    }
    const int offset = firstOffset + x;
    if (offset >= 0 && offset < keys) atomicAdd(slash + offset, sum);
  }
  __syncwarp();
}

template <int D>
__device__ __forceinline__ void columnAndOffsetSums(
    const EstimationParameters& p, unsigned char* memory) {
  const Place place = placeOfWarp(p);
  if (!__syncthreads_or(place.isActive) || place.start >= place.end) return;
  const int lane = threadIdx.x & 31;
  const int group = lane >> 2, pair = lane & 3;
  const bf16* k = p.k + blockIdx.y / ((p.groupSize + blockDim.x / 32 - 1) / (blockDim.x / 32)) *
                            p.kvHeadStride;
  const unsigned shared = sharedAddress(memory);
  constexpr unsigned stageBytes = Tile::keys * (D + 8) * 2;
  loadTile<D>(k, place.start, place.keys, shared);

  unsigned queries[4][D / 16][4];
  float logSums[8];
  if (place.isActive) {
    loadQueries<D>(queries, p, place.head);
    const float low = combined(p, place.head, lane);
    const float high = combined(p, place.head, lane + 32);
    if (p.logSumExp && blockIdx.x == 0) {
      float* target = p.logSumExp + place.head;
      if (lane < p.rows) target[(long long)lane * p.queryHeads] = low * ln2;
      if (lane + 32 < p.rows) target[(long long)(lane + 32) * p.queryHeads] = high * ln2;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      logSums[i] = __shfl_sync(0xffffffffu, i < 4 ? low : high, (8 * i + group) & 31);
    }
  }
  float* vertical = p.vertical + place.head * p.sumStride;
  float* slash = p.slash + place.head * p.sumStride;
  // Stream 2 * pair + e holds, at w, the sums over rows and keys with row - key block = w; offset o is
  // the sum of entry o + stream over the streams.
  float* streams = (float*)(memory + Tile::stages * stageBytes) +
                   threadIdx.x / 32 * 8 * Tile::streamStride;
  // open[e][(row block - key block) mod 8], blocks of 8.
  float open[2][8];
  float carried[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < 8; ++i) open[0][i] = 0, open[1][i] = 0;

  int stage = 0;
  int tileKey = place.start;
  for (; tileKey < place.end; tileKey += Tile::keys, stage ^= 1) {
    copyAsyncWait<0>();
    __syncthreads();
    if (tileKey + Tile::keys < place.end) {
      loadTile<D>(k, tileKey + Tile::keys, place.keys, shared + (stage ^ 1) * stageBytes);
    }
    if (!place.isActive) continue;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      streams[(2 * pair + e) * Tile::streamStride + 64 + group] = carried[e];
    }
    forScores<D>(
        queries, shared + stage * stageBytes, tileKey, p, [&](int n, float (&scores)[2][4][4]) {
          float columns[2][2] = {};
#pragma unroll
          for (int side = 0; side < 2; ++side) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
#pragma unroll
              for (int e = 0; e < 2; ++e) {
                const float weight = exp2Approximate(
                    fmaf(scores[side][i / 2][i % 2 * 2 + e], p.scaleLog2, -logSums[i]));
                columns[side][e] += weight;
                open[e][(i - (2 * n + side)) & 7] += weight;
              }
            }
            closeDiagonals(open, 2 * n + side, streams, carried);
          }
          // Sum over the eight lanes of a column, each step halving what a lane keeps.
          float kept[2];
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const float given = lane & 16 ? columns[0][e] : columns[1][e];
            kept[e] = (lane & 16 ? columns[1][e] : columns[0][e]) +
                      __shfl_xor_sync(0xffffffffu, given, 16);
          }
          const float given = lane & 8 ? kept[0] : kept[1];
          float sum = (lane & 8 ? kept[1] : kept[0]) + __shfl_xor_sync(0xffffffffu, given, 8);
          sum += __shfl_xor_sync(0xffffffffu, sum, 4);
          const int key = tileKey + 16 * n + 8 * (lane >> 4) + 2 * pair + (lane >> 3 & 1);
          if ((lane & 4) == 0 && key < place.keys) vertical[key] = sum;
        });
    addDiagonals(streams, slash, p.firstPosition - tileKey, place.keys);
  }
  if (!place.isActive) return;
#pragma unroll
  for (int e = 0; e < 2; ++e) {
    streams[(2 * pair + e) * Tile::streamStride + 64 + group] = carried[e];
  }
#pragma unroll
  for (int block = 0; block < 8; ++block) closeDiagonals(open, block, streams, carried);
  addDiagonals(streams, slash, p.firstPosition - tileKey, place.keys);
}

extern __shared__ __align__(128) unsigned char estimationMemory[];

}  // namespace

#define ESTIMATE(D)                                                                       \
  extern "C" __global__ void __launch_bounds__(256) estimate_maxima_d##D(                 \
      const EstimationParameters parameters) {                                            \
    rowMaxima<D>(parameters, estimationMemory);                                           \
  }                                                                                       \
  extern "C" __global__ void __launch_bounds__(256) estimate_sums_d##D(                   \
      const EstimationParameters parameters) {                                            \
    columnAndOffsetSums<D>(parameters, estimationMemory);                                 \
  }
ESTIMATE(64)
ESTIMATE(96)
ESTIMATE(128)
