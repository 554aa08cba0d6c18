// One step of the portable attention kernel: 64 keys against the rows of a block, their scores, the
// running softmax and the products with the values.

#pragma once

#include "common.cuh"
#include "plans.cuh"

namespace mi {

struct Tile {
  static constexpr int rows = 128;  // query positions of a block: a pair of tile rows
  static constexpr int half = 64;   // query positions of a tile
  static constexpr int keys = 64;   // keys of a step
  static constexpr int threads = 128;
  static constexpr int ring =
      512;  // compacted columns in shared memory, which is to fit into 99 KiB (sm_86, sm_89)
  static constexpr int scan = 128;  // columns looked at in one go, 32 a warp
  static constexpr int ahead =
      ring - 2 * keys - scan;  // scans stop at this many columns behind those being copied
  static constexpr float slack =
      8.0f;  // log2: the running maximum moves only when a score exceeds it by more than this
};

/// Shared memory: q, two stages of k and v, the ring of columns, the columns of the next scan,
/// counters, the pair.
template <int D>
struct Layout {
  static constexpr int rowBytes = D * 2;
  static constexpr int keyBytes = Tile::keys * rowBytes;
  static constexpr int stages = Tile::rows * rowBytes;
  static constexpr int ring = stages + 4 * keyBytes;
  static constexpr int scan = ring + Tile::ring * 4;
  static constexpr int status = scan + Tile::scan * 4;
  static constexpr int pair = status + 64;
  static constexpr int bytes = pair + 192;
  // Threads side by side on one row in a copy; 96 = 3 * 32 elements takes three passes of 4
  // threads.
  static constexpr int rowThreads = D == 128 ? 16 : D == 64 ? 8 : 4;
  static constexpr int rowsAPass = Tile::threads / rowThreads;
  static constexpr int rowPasses = Tile::keys / rowsAPass;
  static constexpr int chunkPasses = D / 8 / rowThreads;

  /// Where the column of a step's key row stands among the step's 64 in the ring: one thread copies
  /// neighbours.
  static __device__ __forceinline__ int place(int row) {
    return row % rowsAPass * rowPasses + row / rowsAPass;
  }
};

/// Position of 16-byte chunk `chunk` of row `row`, so that eight rows' equal chunks lie in
/// different banks.
template <int D>
__device__ __forceinline__ int chunkOffset(int row, int chunk) {
  return row * D * 2 + ((D == 96 ? chunk ^ ((row >> 1) & 3) : chunk ^ (row & 7)) << 4);
}

/// Address of the fragment 16 * step elements to the right of the one at `address`.
template <int D>
__device__ __forceinline__ unsigned fragmentAt(unsigned address, int step) {
  return D == 96 ? (address ^ ((step & 1) << 5)) + (step >> 1) * 64 : address ^ (step << 5);
}

/// The rows that one warp owns, 16 of each half.
template <int D>
struct Rows {
  float o[2][D / 8][4];
  float maximum[2][2];  // of the scaled scores, log2 units; lags behind the true one by at most
                        // Tile::slack
  float sum[2][2];      // this thread's share
};

/// What masks a step needs; the same for all threads of a block.
struct StepMask {
  bool columns;  // keys are gathered: positions in the ring; a tile's first key may be before 0
  bool edge[2];  // a half's causal or window edge crosses the step
  unsigned need[2][2];  // columns: which of the 64 keys a half computes
  int firstKey;         // tiles
  const int* ring;      // columns
  int ringStart;
};

/// Computes one step for the `halves` of the pair, bits as in plans.cuh.
template <int D, int halves>
__device__ __forceinline__ void computeStep(Rows<D>& w, unsigned qAddress, unsigned kAddress,
    unsigned vAddress, const StepMask& mask, int firstRow, const AttentionParameters& a) {
  constexpr int rowBytes = Layout<D>::rowBytes;
  const int lane = threadIdx.x & 31;

  float s[2][8][4];
#pragma unroll
  for (int h = 0; h < 2; h++)
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
      for (int j = 0; j < 4; j++) s[h][n][j] = 0.0f;

#pragma unroll
  for (int step = 0; step < D / 16; step++) {
    unsigned q[2][4];
#pragma unroll
    for (int h = 0; h < 2; h++)
      if (halves >> h & 1)
        loadMatrix4(q[h], fragmentAt<D>(qAddress, step) + h * Tile::half * rowBytes);
#pragma unroll
    for (int n = 0; n < 4; n++) {
      unsigned k[4];
      loadMatrix4(k, fragmentAt<D>(kAddress, step) + n * 16 * rowBytes);
#pragma unroll
      for (int h = 0; h < 2; h++)
        if (halves >> h & 1) {
          multiplyAdd(s[h][2 * n], q[h], k[0], k[1]);
          multiplyAdd(s[h][2 * n + 1], q[h], k[2], k[3]);
        }
    }
  }

  unsigned p[2][4][4];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    if (!(halves >> h & 1)) continue;
    const int row = firstRow + h * Tile::half;  // this thread's rows: row and row + 8

    if (mask.edge[h]) {
#pragma unroll
      for (int n = 0; n < 8; n++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int index = n * 8 + 2 * (lane & 3) + (j & 1);
          const int key = mask.columns ? mask.ring[mask.ringStart + Layout<D>::place(index)] >> 2
                                       : mask.firstKey + index;
          const int distance = row + (j >> 1) * 8 - key;
          if (distance < 0 || distance >= a.window || key < a.firstKey || key >= a.endKey)
            s[h][n][j] = -infinity();
        }
    }
    if (mask.columns && (mask.need[h][0] & mask.need[h][1]) != 0xffffffffu) {
#pragma unroll
      for (int n = 0; n < 8; n++) {
        const unsigned bits = mask.need[h][n >> 2] >> ((n & 3) * 8 + 2 * (lane & 3));
#pragma unroll
        for (int j = 0; j < 4; j++)
          if (!(bits >> (j & 1) & 1)) s[h][n][j] = -infinity();
      }
    }

    float top[2] = {s[h][0][0], s[h][0][2]};
#pragma unroll
    for (int n = 0; n < 8; n++) {
      top[0] = fmaxf(top[0], fmaxf(s[h][n][0], s[h][n][1]));
      top[1] = fmaxf(top[1], fmaxf(s[h][n][2], s[h][n][3]));
    }
    top[0] = quadMaximum(top[0]) * a.scaleLog2;
    top[1] = quadMaximum(top[1]) * a.scaleLog2;
    // Rescaling is rare after the first steps: a maximum that lags a little only scales p and the
    // sums by the same power.
    const bool moves =
        top[0] > w.maximum[h][0] + Tile::slack || top[1] > w.maximum[h][1] + Tile::slack;
    if (__any_sync(0xffffffffu, moves)) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const float now = fmaxf(top[i], w.maximum[h][i]);
        const float factor = now == w.maximum[h][i] ? 1.0f : exp2Approximate(w.maximum[h][i] - now);
        w.maximum[h][i] = now;
        w.sum[h][i] *= factor;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
          w.o[h][n][2 * i] *= factor;
          w.o[h][n][2 * i + 1] *= factor;
        }
      }
    }
    const float m0 = w.maximum[h][0] == -infinity() ? 0.0f : w.maximum[h][0];
    const float m1 = w.maximum[h][1] == -infinity() ? 0.0f : w.maximum[h][1];
#pragma unroll
    for (int n = 0; n < 8; n++) {
      const float p0 = exp2Approximate(fmaf(s[h][n][0], a.scaleLog2, -m0));
      const float p1 = exp2Approximate(fmaf(s[h][n][1], a.scaleLog2, -m0));
      const float p2 = exp2Approximate(fmaf(s[h][n][2], a.scaleLog2, -m1));
      const float p3 = exp2Approximate(fmaf(s[h][n][3], a.scaleLog2, -m1));
      w.sum[h][0] += p0 + p1;
      w.sum[h][1] += p2 + p3;
      p[h][n >> 1][(n & 1) * 2] = toBF16Pair(p0, p1);
      p[h][n >> 1][(n & 1) * 2 + 1] = toBF16Pair(p2, p3);
    }
  }

#pragma unroll
  for (int step = 0; step < 4; step++)
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
      unsigned v[4];
      loadMatrix4Transposed(v, fragmentAt<D>(vAddress, n) + step * 16 * rowBytes);
#pragma unroll
      for (int h = 0; h < 2; h++)
        if (halves >> h & 1) {
          multiplyAdd(w.o[h][2 * n], p[h][step], v[0], v[1]);
          multiplyAdd(w.o[h][2 * n + 1], p[h][step], v[2], v[3]);
        }
    }
}

}  // namespace mi
