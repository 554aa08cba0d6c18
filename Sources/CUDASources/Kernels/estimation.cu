// Softmax mass that the last rows of a chunk put on every key column and on every offset.
//
// For each wanted query head, with P = softmax(scale * q k^T) over j <= i (and i - j < window) and over the head's sink:
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

#include "estimation_scores.cuh"

using namespace mi;

namespace {

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

/// Log-sum-exp (base 2) of a row over all splits and the head's sink; +infinity for rows that are not there, so that
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
  if (p.sinks) {
    const float sink = p.sinks[head] * log2e;
    const float larger = fmaxf(maximum, sink);
    sum = sum * exp2Approximate(maximum - larger) + exp2Approximate(sink - larger);
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
