// Sparse causal attention over a head's plan, portable tier: mma.sync, ldmatrix and cp.async, sm_80 and later.
//
//   o[r][h] = softmax over the computed keys j of (scale * q[r][h] . k[j]) times v[j],  logSumExp[r][h] = ln sum exp(...)
//
// Entry points: attention_d64, attention_d96, attention_d128 (head dimension), each
//   (AttentionParameters by value)
//   grid   x = queryHeads * pairs, pairs = (firstPosition + rows - 1) / 128 - firstPosition / 128 + 1; y = z = 1
//   block  x = 128
//   dynamic shared memory, bytes: 50304 (d64), 74880 (d96), 99456 (d128); above 48 KiB, so the attribute
//     CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES has to be set once
//   every element of o in the given rows is written; q and o may be the same memory
//   strides and base addresses are multiples of 8 elements (16 bytes); rows > 0
//
// A block computes a pair of tile rows, 128 query positions, of one head. Every warp owns 16 rows of half 0 and 16 rows of
// half 1, so that a step which only one half computes still keeps the four schedulers of a multiprocessor busy. The work of
// a pair is a sequence of steps of 64 keys: first its tiles, descending, then the columns that no tile covers, gathered.
// While a step is computed the next one is copied; warp 0 meanwhile compacts columns into a ring in shared memory.

#include "common.cuh"

/// What one query head computes; 64 bytes, one per query head, in device memory. Tiles are 64 query positions x 64 keys.
struct HeadPlan {
  int kind;                ///< 0 dense, 1 bands (the same distances for every tile row), 2 rows (explicit tiles)
  int stepCount;           ///< kind 1: entries of `steps`
  const int* steps;        ///< kind 1: e * 4 + flags ascending, e = 2T + 1 - keyTile; kind 2: keyTile * 4 + flags, descending
  const int* stepOffsets;  ///< kind 2: [pairs of the planned chunk + 1] into `steps`
  const unsigned* bits;    ///< kind 1: bit d is set when tiles at distance d (tile row minus key tile) are computed
  const int* columns;      ///< ascending key positions, distinct
  int columnCount;
  int denseFrom;           ///< a tile row whose 64 positions reach this one is dense; INT_MAX: none
  int words;               ///< 32-bit words of `bits`
  int pad[2];
};

struct AttentionParameters {
  const bf16* q;       ///< [rows][queryHeads][headDim], row stride qStride
  bf16* o;             ///< [rows][queryHeads][headDim], row stride oStride
  float* logSumExp;    ///< [rows][queryHeads], or null
  const bf16* k;       ///< [kvHeads][capacity][headDim]; keys from firstPosition + rows on are never read
  const bf16* v;
  long long kvHeadStride;
  const HeadPlan* heads;
  int rows;
  int firstPosition;      ///< position of row 0
  int planFirstPosition;  ///< position of row 0 of the chunk that the plan was made for
  int qStride, oStride;   ///< elements
  int queryHeads;
  int groupSize;          ///< query heads a kv head
  int window;             ///< keys with i - j >= window are invisible; INT_MAX: none
  float scaleLog2;        ///< scale * log2(e), positive
};

namespace mi {

struct Tile {
  static constexpr int rows = 128;       // query positions of a block: a pair of tile rows
  static constexpr int half = 64;        // query positions of a tile
  static constexpr int keys = 64;        // keys of a step
  static constexpr int threads = 128;
  static constexpr int ring = 256;       // compacted columns in shared memory: three steps and a scan, rounded up
  static constexpr float slack = 8.0f;   // log2: the running maximum moves only when a score exceeds it by more than this
};

/// Shared memory: q, two stages of k and v, the ring of columns, the compaction's state.
template <int D> struct Layout {
  static constexpr int rowBytes = D * 2;
  static constexpr int keyBytes = Tile::keys * rowBytes;
  static constexpr int stages = Tile::rows * rowBytes;
  static constexpr int ring = stages + 4 * keyBytes;
  static constexpr int status = ring + Tile::ring * 4;
  static constexpr int bytes = status + 128;
  // Threads side by side on one row in a copy; 96 = 3 * 32 elements takes three passes of 4 threads.
  static constexpr int rowThreads = D == 128 ? 16 : D == 64 ? 8 : 4;
  static constexpr int rowsAPass = Tile::threads / rowThreads;
  static constexpr int chunkPasses = D / 8 / rowThreads;
};

/// Position of 16-byte chunk `chunk` of row `row`, so that eight rows' equal chunks lie in different banks.
template <int D> __device__ __forceinline__ int chunkOffset(int row, int chunk) {
  return row * D * 2 + ((D == 96 ? chunk ^ ((row >> 1) & 3) : chunk ^ (row & 7)) << 4);
}

/// Address of the fragment 16 * step elements to the right of the one at `address`.
template <int D> __device__ __forceinline__ unsigned fragmentAt(unsigned address, int step) {
  return D == 96 ? (address ^ ((step & 1) << 5)) + (step >> 1) * 64 : address ^ (step << 5);
}

/// The rows that one warp owns, 16 of each half.
template <int D> struct Rows {
  float o[2][D / 8][4];
  float maximum[2][2];  // of the scaled scores, log2 units; lags behind the true one by at most Tile::slack
  float sum[2][2];      // this thread's share
};

/// What masks a step needs; the same for all threads of a block.
struct StepMask {
  bool columns;        // keys are gathered: positions in the ring
  bool edge[2];        // a half's causal or window edge crosses the step
  unsigned need[2][2]; // columns: which of the 64 keys a half computes
  int firstKey;        // tiles
  const int* ring;     // columns
  int ringStart;
};

template <int D, int flags>
__device__ __forceinline__ void computeStep(Rows<D>& w, unsigned qAddress, unsigned kAddress, unsigned vAddress,
                                            const StepMask& mask, int firstRow, int window, float scaleLog2) {
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
      if (flags >> h & 1) loadMatrix4(q[h], fragmentAt<D>(qAddress, step) + h * Tile::half * rowBytes);
#pragma unroll
    for (int n = 0; n < 4; n++) {
      unsigned k[4];
      loadMatrix4(k, fragmentAt<D>(kAddress, step) + n * 16 * rowBytes);
#pragma unroll
      for (int h = 0; h < 2; h++)
        if (flags >> h & 1) {
          multiplyAdd(s[h][2 * n], q[h], k[0], k[1]);
          multiplyAdd(s[h][2 * n + 1], q[h], k[2], k[3]);
        }
    }
  }

  unsigned p[2][4][4];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    if (!(flags >> h & 1)) continue;
    const int row = firstRow + h * Tile::half;  // this thread's rows: row and row + 8

    if (mask.edge[h]) {
#pragma unroll
      for (int n = 0; n < 8; n++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int index = n * 8 + 2 * (lane & 3) + (j & 1);
          const int key = mask.columns ? mask.ring[(mask.ringStart + index) & (Tile::ring - 1)] >> 2 : mask.firstKey + index;
          const int distance = row + (j >> 1) * 8 - key;
          if (distance < 0 || distance >= window) s[h][n][j] = -infinity();
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
    top[0] = quadMaximum(top[0]) * scaleLog2;
    top[1] = quadMaximum(top[1]) * scaleLog2;
    // Rescaling is rare after the first steps: a maximum that lags a little only scales p and the sums by the same power.
    const bool moves = top[0] > w.maximum[h][0] + Tile::slack || top[1] > w.maximum[h][1] + Tile::slack;
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
      const float p0 = exp2Approximate(fmaf(s[h][n][0], scaleLog2, -m0));
      const float p1 = exp2Approximate(fmaf(s[h][n][1], scaleLog2, -m0));
      const float p2 = exp2Approximate(fmaf(s[h][n][2], scaleLog2, -m1));
      const float p3 = exp2Approximate(fmaf(s[h][n][3], scaleLog2, -m1));
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
        if (flags >> h & 1) {
          multiplyAdd(w.o[h][2 * n], p[h][step], v[0], v[1]);
          multiplyAdd(w.o[h][2 * n + 1], p[h][step], v[2], v[3]);
        }
    }
}

/// What the plan says about one pair; the same for all threads of a block.
struct Pair {
  HeadPlan plan;
  int firstTileRow;     // 2T
  int present;          // bit h: half h has rows in the chunk
  int dense;            // bit h: half h is dense
  int lowestTile[2];    // window
  int lowestKey[2];
  int listBegin, listEnd;

  /// Flags of key tile t that rows, causality and the window leave over.
  __device__ __forceinline__ int allowed(int t) const {
    int flags = present;
    if (t > firstTileRow || t < lowestTile[0]) flags &= ~1;
    if (t > firstTileRow + 1 || t < lowestTile[1]) flags &= ~2;
    return flags;
  }
  /// Flags of tile t in a kind 2 list, by bisection.
  __device__ __forceinline__ int listed(int t) const {
    int low = listBegin, high = listEnd;
    while (low < high) {
      const int middle = (low + high) >> 1;
      if ((plan.steps[middle] >> 2) > t) low = middle + 1;
      else high = middle;
    }
    if (low == listEnd) return 0;
    const int entry = plan.steps[low];
    return (entry >> 2) == t ? entry & 3 : 0;
  }
  __device__ __forceinline__ unsigned word(int distance) const {
    return distance >= 0 && (distance >> 5) < plan.words ? plan.bits[distance >> 5] : 0u;
  }
};

/// Compacts, in warp 0, the plan's columns to those that a half of the pair has to gather: not in its tiles, not at or
/// behind its own diagonal tile, inside the window. 64 columns a scan; their loads run one and two scans ahead.
struct ColumnScan {
  int next;          // index of the first column of `later`
  int end;
  int limit;         // columns from this key on are in diagonal tiles or invisible
  int current[2], later[2];
  unsigned words[2][2];
  int produced;
  bool exhausted;

  __device__ __forceinline__ int column(const Pair& pair, int index) const {
    return index < end ? pair.plan.columns[index] : 0x7fffffff;
  }
  __device__ __forceinline__ void loadWords(const Pair& pair) {
    if (pair.plan.kind != 1) return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int distance = pair.firstTileRow - (current[i] >> 6);
      words[i][0] = pair.word(distance);
      words[i][1] = pair.word(distance + 1);
    }
  }
  __device__ __forceinline__ void begin(const Pair& pair, int lane) {
    const int sparse = pair.present & ~pair.dense;
    produced = 0;
    end = pair.plan.columnCount;
    exhausted = pair.plan.kind == 0 || end == 0 || sparse == 0;
    if (exhausted) return;
    limit = (pair.firstTileRow + (sparse >> 1 & 1)) * Tile::keys;
    const int lowest = sparse & 1 ? pair.lowestKey[0] : pair.lowestKey[1];
    int low = 0, high = lowest > 0 ? end : 0;
    while (low < high) {
      const int middle = (low + high) >> 1;
      if (pair.plan.columns[middle] < lowest) low = middle + 1;
      else high = middle;
    }
    next = low + 64;
    current[0] = column(pair, low + lane);
    current[1] = column(pair, low + 32 + lane);
    later[0] = column(pair, low + 64 + lane);
    later[1] = column(pair, low + 96 + lane);
    loadWords(pair);
  }
  /// Scans until the ring holds `wanted` entries in all, or the columns end. An entry is column * 4 + flags.
  __device__ __forceinline__ void fill(const Pair& pair, int* ring, int wanted, int lane) {
    const int sparse = pair.present & ~pair.dense;
    while (!exhausted && produced < wanted) {
      bool behind = false;
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int c = current[i], distance = pair.firstTileRow - (c >> 6);
        const bool inside = c < limit;
        behind = behind || !inside;
        int flags = 0;
        if (inside) {
          int covered;
          if (pair.plan.kind == 1) {
            covered = (words[i][0] >> (distance & 31) & 1) | (words[i][1] >> ((distance + 1) & 31) & 1) << 1;
          } else {
            covered = pair.listed(c >> 6);
          }
          flags = sparse & ~covered;
          if (distance <= 0 || c < pair.lowestKey[0]) flags &= ~1;
          if (c < pair.lowestKey[1]) flags &= ~2;
        }
        const unsigned kept = __ballot_sync(0xffffffffu, flags != 0);
        if (flags != 0) ring[(produced + __popc(kept & ((1u << lane) - 1))) & (Tile::ring - 1)] = c * 4 + flags;
        produced += __popc(kept);
      }
      exhausted = __any_sync(0xffffffffu, behind);
      current[0] = later[0];
      current[1] = later[1];
      next += 64;
      later[0] = column(pair, next + lane);
      later[1] = column(pair, next + 32 + lane);
      loadWords(pair);
    }
    __syncwarp();
  }
};

template <int D> __device__ __forceinline__ void attention(const AttentionParameters& a) {
  using L = Layout<D>;
  extern __shared__ __align__(1024) unsigned char memory[];
  const unsigned base = sharedAddress(memory);
  int* ring = reinterpret_cast<int*>(memory + L::ring);
  int* status = reinterpret_cast<int*>(memory + L::status);  // [2]: entries produced, * 2 + exhausted
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;

  // Blocks that run together share keys: kv head outermost, then pairs from the longest on, then the heads of the group.
  const int keyEnd = a.firstPosition + a.rows;
  const int firstPair = a.firstPosition / Tile::rows, pairs = (keyEnd - 1) / Tile::rows - firstPair + 1;
  const int member = blockIdx.x % a.groupSize, rest = blockIdx.x / a.groupSize;
  const int kvHead = rest / pairs, pairIndex = firstPair + pairs - 1 - rest % pairs;
  const int head = kvHead * a.groupSize + member;
  const int position = pairIndex * Tile::rows;
  const bf16* k = a.k + kvHead * a.kvHeadStride;
  const bf16* v = a.v + kvHead * a.kvHeadStride;

  Pair pair;
  pair.plan = a.heads[head];
  pair.firstTileRow = 2 * pairIndex;
  pair.present = (a.firstPosition < position + Tile::half ? 1 : 0) | (keyEnd > position + Tile::half ? 2 : 0);
  pair.dense = 0;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int first = maximum(position + h * Tile::half, a.firstPosition);
    const int lowest = a.window > first ? 0 : first - a.window + 1;
    pair.lowestKey[h] = lowest;
    pair.lowestTile[h] = lowest / Tile::keys;
    if (pair.plan.kind == 0 || position + h * Tile::half + Tile::half - 1 >= pair.plan.denseFrom) pair.dense |= 1 << h;
  }
  pair.listBegin = 0;
  pair.listEnd = pair.plan.kind == 1 ? pair.plan.stepCount : 0;
  if (pair.plan.kind == 2) {
    const int index = pairIndex - a.planFirstPosition / Tile::rows;
    pair.listBegin = pair.plan.stepOffsets[index];
    pair.listEnd = pair.plan.stepOffsets[index + 1];
  }
  const int lowestTile = pair.present & 1 ? pair.lowestTile[0] : pair.lowestTile[1];
  // With a dense half every tile is walked and the plan is asked about the other half; otherwise the list is walked.
  const bool walkAll = (pair.dense & pair.present) != 0;
  int cursor = walkAll ? pair.firstTileRow + (pair.present >> 1) : pair.listBegin;
  int entry = !walkAll && cursor < pair.listEnd ? pair.plan.steps[cursor] : 0;

  // The step in hand and the one being copied: tile >= 0, or columns at ringStart.
  int tile, flags, ringStart = 0, ringCount = 0;
  int ringNext = 0;

  // The next tile step, flags 0 at the end of the tiles.
  auto nextTile = [&](int& tile, int& flags) {
    flags = 0;
    tile = -1;
    if (walkAll) {
      while (cursor >= lowestTile && flags == 0) {
        tile = cursor--;
        int planned = pair.dense;
        if (pair.dense != 3 && (pair.present & ~pair.dense) != 0) {
          const int distance = pair.firstTileRow - tile;
          const int sparse = pair.plan.kind == 2 ? pair.listed(tile)
                                                 : (pair.word(distance) >> (distance & 31) & 1)
                                                       | (pair.word(distance + 1) >> ((distance + 1) & 31) & 1) << 1;
          planned |= sparse;
        }
        flags = planned & pair.allowed(tile);
      }
    } else {
      while (cursor < pair.listEnd && flags == 0) {
        tile = pair.plan.kind == 1 ? pair.firstTileRow + 1 - (entry >> 2) : entry >> 2;
        if (tile < lowestTile) {
          cursor = pair.listEnd;
          break;
        }
        flags = entry & 3 & pair.allowed(tile);
        cursor++;
        if (cursor < pair.listEnd) entry = pair.plan.steps[cursor];
      }
    }
  };

  const int copyRow = thread / L::rowThreads, copyChunk = thread % L::rowThreads;
  const unsigned copyTo = base + L::stages + chunkOffset<D>(copyRow, copyChunk);
  const int copyFrom = copyRow * D + copyChunk * 8;

  auto copyTile = [&](int stage, int tile) {
    const unsigned to = copyTo + stage * 2 * L::keyBytes;
    const int first = tile * Tile::keys;
    const bf16* fromK = k + (long long)first * D + copyFrom;
    const bf16* fromV = v + (long long)first * D + copyFrom;
    if (first + Tile::keys <= keyEnd) {
#pragma unroll
      for (int row = 0; row < Tile::keys; row += L::rowsAPass)
#pragma unroll
        for (int c = 0; c < L::chunkPasses; c++)
          copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16, fromK + row * D + c * L::rowThreads * 8);
#pragma unroll
      for (int row = 0; row < Tile::keys; row += L::rowsAPass)
#pragma unroll
        for (int c = 0; c < L::chunkPasses; c++)
          copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16, fromV + row * D + c * L::rowThreads * 8);
    } else {
#pragma unroll
      for (int row = 0; row < Tile::keys; row += L::rowsAPass)
#pragma unroll
        for (int c = 0; c < L::chunkPasses; c++) {
          const bool valid = first + copyRow + row < keyEnd;
          const long long offset = valid ? row * D + c * L::rowThreads * 8 : -(long long)copyRow * D;
          copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16, fromK + offset, valid);
          copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16, fromV + offset, valid);
        }
    }
  };
  auto copyColumns = [&](int stage, int start, int count) {
    const unsigned to = copyTo + stage * 2 * L::keyBytes;
#pragma unroll
    for (int row = 0; row < Tile::keys; row += L::rowsAPass) {
      const bool valid = copyRow + row < count;
      const int column = valid ? ring[(start + copyRow + row) & (Tile::ring - 1)] >> 2 : 0;
      const long long offset = (long long)column * D + copyChunk * 8;
#pragma unroll
      for (int c = 0; c < L::chunkPasses; c++) {
        copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16, k + offset + c * L::rowThreads * 8, valid);
        copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16, v + offset + c * L::rowThreads * 8, valid);
      }
    }
  };

  {
    const bf16* q = a.q + head * D;
#pragma unroll
    for (int row = 0; row < Tile::rows; row += L::rowsAPass) {
      const int r = position - a.firstPosition + copyRow + row;
      const bool valid = r >= 0 && r < a.rows;
#pragma unroll
      for (int c = 0; c < L::chunkPasses; c++)
        copyAsync16(base + chunkOffset<D>(copyRow, copyChunk) + row * L::rowBytes + c * L::rowThreads * 16,
                    q + (valid ? (long long)r * a.qStride : 0) + copyChunk * 8 + c * L::rowThreads * 8, valid);
    }
  }
  nextTile(tile, flags);  // a half with rows has its diagonal tile, so the first step is a tile
  if (flags) copyTile(0, tile);
  copyAsyncCommit();

  ColumnScan scan;
  if (warp == 0) {
    scan.begin(pair, lane);
    scan.fill(pair, ring, Tile::keys, lane);
    if (lane == 0) status[1] = scan.produced * 2 + scan.exhausted;
  }

  Rows<D> w;
#pragma unroll
  for (int h = 0; h < 2; h++) {
#pragma unroll
    for (int i = 0; i < 2; i++) w.maximum[h][i] = -infinity(), w.sum[h][i] = 0.0f;
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
      for (int j = 0; j < 4; j++) w.o[h][n][j] = 0.0f;
  }
  // Fragment addresses of this lane: q and v take rows 0..15 and the chunk pair by lane / 16, k the other way round.
  const unsigned qAddress = base + chunkOffset<D>(warp * 16 + (lane & 15), lane >> 4);
  const unsigned kLane = base + L::stages + chunkOffset<D>((lane & 7) + (lane >> 4) * 8, lane >> 3 & 1);
  const unsigned vLane = base + L::stages + L::keyBytes + chunkOffset<D>(lane & 15, lane >> 4);
  const int firstRow = position + warp * 16 + (lane >> 2);

  for (int iteration = 0; flags != 0; iteration++) {
    const int stage = iteration & 1;
    copyAsyncWait<0>();
    __syncthreads();

    int followingTile, followingFlags, followingStart = 0, followingCount = 0;
    nextTile(followingTile, followingFlags);
    if (followingFlags) {
      copyTile(stage ^ 1, followingTile);
    } else {
      // Written before the barrier above; the slot is written again only behind the next one.
      const int available = (status[stage ^ 1] >> 1) - ringNext;
      followingTile = -1;
      followingStart = ringNext;
      followingCount = minimum(available, Tile::keys);
      if (followingCount > 0) {
        copyColumns(stage ^ 1, followingStart, followingCount);
        followingFlags = 3;
        ringNext += followingCount;
      }
    }
    copyAsyncCommit();
    if (warp == 0) {
      scan.fill(pair, ring, ringNext + Tile::keys, lane);
      if (lane == 0) status[stage] = scan.produced * 2 + scan.exhausted;
    }

    StepMask mask;
    mask.columns = tile < 0;
    mask.ring = ring;
    mask.ringStart = ringStart;
    mask.firstKey = tile * Tile::keys;
    if (mask.columns) {
      const int entry0 = lane < ringCount ? ring[(ringStart + lane) & (Tile::ring - 1)] : 0;
      const int entry1 = lane + 32 < ringCount ? ring[(ringStart + lane + 32) & (Tile::ring - 1)] : 0;
#pragma unroll
      for (int h = 0; h < 2; h++) {
        mask.need[h][0] = __ballot_sync(0xffffffffu, entry0 >> h & 1);
        mask.need[h][1] = __ballot_sync(0xffffffffu, entry1 >> h & 1);
      }
      flags = ((mask.need[0][0] | mask.need[0][1]) != 0 ? 1 : 0) | ((mask.need[1][0] | mask.need[1][1]) != 0 ? 2 : 0);
      // The first column is the farthest one.
      const int farthest = ring[ringStart & (Tile::ring - 1)] >> 2;
#pragma unroll
      for (int h = 0; h < 2; h++) mask.edge[h] = position + h * Tile::half + Tile::half - 1 - farthest >= a.window;
    } else {
#pragma unroll
      for (int h = 0; h < 2; h++)
        mask.edge[h] = tile == pair.firstTileRow + h
                       || position + h * Tile::half + Tile::half - 1 - mask.firstKey >= a.window;
    }
    const unsigned kAddress = kLane + stage * 2 * L::keyBytes, vAddress = vLane + stage * 2 * L::keyBytes;
    if (flags == 3) computeStep<D, 3>(w, qAddress, kAddress, vAddress, mask, firstRow, a.window, a.scaleLog2);
    else if (flags == 1) computeStep<D, 1>(w, qAddress, kAddress, vAddress, mask, firstRow, a.window, a.scaleLog2);
    else computeStep<D, 2>(w, qAddress, kAddress, vAddress, mask, firstRow, a.window, a.scaleLog2);

    tile = followingTile;
    flags = followingFlags;
    ringStart = followingStart;
    ringCount = followingCount;
  }
  copyAsyncWait<0>();

  // Each warp read only its own rows of q, so it stages its output there without waiting for others.
  __syncwarp();
#pragma unroll
  for (int h = 0; h < 2; h++) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float sum = quadSum(w.sum[h][i]);
      const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
      const int local = h * Tile::half + warp * 16 + (lane >> 2) + i * 8;
      const int r = position - a.firstPosition + local;
      if (a.logSumExp != nullptr && (lane & 3) == 0 && r >= 0 && r < a.rows)
        a.logSumExp[(long long)r * a.queryHeads + head] =
            sum > 0.0f ? (w.maximum[h][i] + log2Approximate(sum)) * ln2 : -infinity();
#pragma unroll
      for (int n = 0; n < D / 8; n++)
        *reinterpret_cast<unsigned*>(memory + chunkOffset<D>(local, n) + (lane & 3) * 4) =
            toBF16Pair(w.o[h][n][2 * i] * inverse, w.o[h][n][2 * i + 1] * inverse);
    }
    __syncwarp();
    bf16* o = a.o + head * D;
    constexpr int laneRows = 32 / L::rowThreads;
#pragma unroll
    for (int row = 0; row < 16; row += laneRows) {
      const int local = h * Tile::half + warp * 16 + row + lane / L::rowThreads;
      const int r = position - a.firstPosition + local;
      if (r < 0 || r >= a.rows) continue;
#pragma unroll
      for (int c = 0; c < L::chunkPasses; c++) {
        const int chunk = lane % L::rowThreads + c * L::rowThreads;
        *reinterpret_cast<uint4*>(o + (long long)r * a.oStride + chunk * 8) =
            *reinterpret_cast<const uint4*>(memory + chunkOffset<D>(local, chunk));
      }
    }
  }
}

}  // namespace mi

extern "C" __global__ void __launch_bounds__(128, 2) attention_d64(AttentionParameters a) { mi::attention<64>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) attention_d96(AttentionParameters a) { mi::attention<96>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) attention_d128(AttentionParameters a) { mi::attention<128>(a); }
