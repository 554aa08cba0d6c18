// Sparse causal attention over a head's plan, portable tier: mma.sync, ldmatrix and cp.async, sm_80 and later.
//
//   o[r][h] = softmax over the computed keys j of (scale * q[r][h] . k[j]) times v[j],  logSumExp[r][h] = ln sum exp(...)
//
// Entry points: attention_d64, attention_d96, attention_d128 (head dimension), each
//   (AttentionParameters by value)
//   grid   x = queryHeads * pairs, pairs = (firstPosition + rows - 1) / 128 - firstPosition / 128 + 1; y = z = 1
//   block  x = 128
//   dynamic shared memory, bytes: 51968 (d64), 76544 (d96), 101120 (d128); above 48 KiB, so the attribute
//     CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES has to be set once
//   every element of o in the given rows is written; q and o may be the same memory; rows without keys get 0 and -infinity
//   strides and base addresses are multiples of 8 elements (16 bytes); rows > 0
//
// A block computes a pair of tile rows, 128 query positions, of one head. Every warp owns 16 rows of half 0 and 16 rows of
// half 1, so that a step which only one half computes still keeps the four schedulers of a multiprocessor busy. The work of
// a pair is a sequence of steps of 64 keys: first its tiles, descending, then the columns that no tile covers, gathered.
// While a step is computed the next one is copied. Columns are compacted, 128 at a time, into a ring in shared memory that
// runs ahead of the steps; their order in it is of no account.

#include "common.cuh"
#include "plans.cuh"

using mi::AttentionParameters;

namespace mi {

struct Tile {
  static constexpr int rows = 128;       // query positions of a block: a pair of tile rows
  static constexpr int half = 64;        // query positions of a tile
  static constexpr int keys = 64;        // keys of a step
  static constexpr int threads = 128;
  static constexpr int ring = 512;       // compacted columns in shared memory, which is to fit into 99 KiB (sm_86, sm_89)
  static constexpr int scan = 128;       // columns looked at in one go, 32 a warp
  static constexpr int ahead = ring - 2 * keys - scan;  // scans stop at this many columns behind those being copied
  static constexpr float slack = 8.0f;   // log2: the running maximum moves only when a score exceeds it by more than this
};

/// Shared memory: q, two stages of k and v, the ring of columns, the columns of the next scan, counters, the pair.
template <int D> struct Layout {
  static constexpr int rowBytes = D * 2;
  static constexpr int keyBytes = Tile::keys * rowBytes;
  static constexpr int stages = Tile::rows * rowBytes;
  static constexpr int ring = stages + 4 * keyBytes;
  static constexpr int scan = ring + Tile::ring * 4;
  static constexpr int status = scan + Tile::scan * 4;
  static constexpr int pair = status + 64;
  static constexpr int bytes = pair + 192;
  // Threads side by side on one row in a copy; 96 = 3 * 32 elements takes three passes of 4 threads.
  static constexpr int rowThreads = D == 128 ? 16 : D == 64 ? 8 : 4;
  static constexpr int rowsAPass = Tile::threads / rowThreads;
  static constexpr int rowPasses = Tile::keys / rowsAPass;
  static constexpr int chunkPasses = D / 8 / rowThreads;

  /// Where the column of a step's key row stands among the step's 64 in the ring: one thread copies neighbours.
  static __device__ __forceinline__ int place(int row) { return row % rowsAPass * rowPasses + row / rowsAPass; }
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
  bool columns;        // keys are gathered: positions in the ring; a tile's first key may be before 0
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
          const int key = mask.columns ? mask.ring[mask.ringStart + Layout<D>::place(index)] >> 2 : mask.firstKey + index;
          const int distance = row + (j >> 1) * 8 - key;
          if (distance < 0 || distance >= window || key < 0) s[h][n][j] = -infinity();
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
  int dense;            // bit h: half h is dense, whether it has rows or not
  int sparse;           // bit h: half h has rows and is not dense
  int limit;            // columns from this key on are in diagonal tiles or invisible to sparse halves
  int lowestKey[2];     // window
  int listBegin, listEnd;
  int walkLowest;       // the lowest key that either half may compute

  /// Flags of the halves whose window reaches the 64 keys from `first` on.
  __device__ __forceinline__ int visible(int first) const {
    return (first + Tile::keys > lowestKey[0] ? 1 : 0) | (first + Tile::keys > lowestKey[1] ? 2 : 0);
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
  /// Flags of the halves whose bands hold the key x positions before half 0's first, x > -64 or anything for that half.
  __device__ __forceinline__ int inBands(int x) const {
    const int bucket = x >> 6;
    const unsigned before = bucket >= 0 ? plan.starts[bucket] : noStart;
    const unsigned here = bucket >= -1 ? plan.starts[bucket + 1] : noStart;
    const unsigned after = bucket >= -1 ? plan.starts[bucket + 2] : noStart;
    return (coveredByBands(before, here, x) ? 1 : 0) | (coveredByBands(here, after, x) ? 2 : 0);
  }
};

/// Compacts the plan's columns to those that a half of the pair has to gather: not in its tiles, not at or behind its own
/// diagonal tile, inside the window. Each warp looks at 32 of every 128 columns, copied to its part of `buffer` at the scan
/// before: with the steps' own copies they are there one barrier later.
struct ColumnScan {
  int next;  // index of the scan's first column of this warp

  __device__ __forceinline__ void fetch(const Pair& pair, int* buffer, int lane) const {
    const bool valid = next + lane < pair.plan.columnCount;
    copyAsync4(sharedAddress(buffer + lane), pair.plan.columns + (valid ? next + lane : 0), valid);
  }
  /// Returns false when there is nothing to scan.
  __device__ __forceinline__ bool begin(const Pair& pair, int* buffer, int warp, int lane) {
    if (pair.plan.kind == 0 || pair.plan.columnCount == 0 || pair.sparse == 0) return false;
    const int lowest = pair.sparse & 1 ? pair.lowestKey[0] : pair.lowestKey[1];
    int low = 0, high = lowest > 0 ? pair.plan.columnCount : 0;
    while (low < high) {
      const int middle = (low + high) >> 1;
      if (pair.plan.columns[middle] < lowest) low = middle + 1;
      else high = middle;
    }
    next = low + warp * 32;
    fetch(pair, buffer, lane);
    return true;
  }
  /// Appends to the ring behind `produced` entries; an entry is column * 4 + flags. Adds the number of entries, and 65536
  /// at the columns' end, to `added`.
  __device__ __forceinline__ void run(const Pair& pair, int* buffer, int* ring, int produced, int* added, int lane) {
    const int column = next + lane < pair.plan.columnCount ? buffer[lane] : 0x7fffffff;
    const int distance = pair.firstTileRow - (column >> 6);
    const bool behind = column >= pair.limit;
    int flags = 0;
    if (!behind) {
      const int covered = pair.plan.kind == 1 ? pair.inBands(pair.firstTileRow * Tile::half - column) : pair.listed(column >> 6);
      flags = pair.sparse & ~covered;
      if (distance <= 0 || column < pair.lowestKey[0]) flags &= ~1;
      if (column < pair.lowestKey[1]) flags &= ~2;
    }
    const unsigned kept = __ballot_sync(0xffffffffu, flags != 0);
    const int end = __any_sync(0xffffffffu, behind) ? 65536 : 0;
    int first = 0;
    if (lane == 0) first = atomicAdd(added, __popc(kept) + end) & 65535;
    first = __shfl_sync(0xffffffffu, first, 0) + produced;
    if (flags) ring[(first + __popc(kept & ((1u << lane) - 1))) & (Tile::ring - 1)] = column * 4 + flags;
    next += Tile::scan;
    fetch(pair, buffer, lane);
  }
};

template <int D> __device__ __forceinline__ void attention(const AttentionParameters& a) {
  using L = Layout<D>;
  extern __shared__ __align__(1024) unsigned char memory[];
  const unsigned base = sharedAddress(memory);
  int* ring = reinterpret_cast<int*>(memory + L::ring);
  int* added = reinterpret_cast<int*>(memory + L::status);  // [4]: entries that the scans of one iteration appended
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

  const int copyRow = thread / L::rowThreads, copyChunk = thread % L::rowThreads;
  const unsigned copyTo = base + L::stages + chunkOffset<D>(copyRow, copyChunk);
  const int copyFrom = copyRow * D + copyChunk * 8;

  auto copyTile = [&](int stage, int first) {
    const unsigned to = copyTo + stage * 2 * L::keyBytes;
    const bf16* fromK = k + (long long)first * D + copyFrom;
    const bf16* fromV = v + (long long)first * D + copyFrom;
    if (first >= 0 && first + Tile::keys <= keyEnd) {
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
          const bool valid = first + copyRow + row >= 0 && first + copyRow + row < keyEnd;
          const long long offset = valid ? row * D + c * L::rowThreads * 8 : -(long long)(first + copyRow) * D;
          copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16, fromK + offset, valid);
          copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16, fromV + offset, valid);
        }
    }
  };
  auto copyColumns = [&](int stage, int start, int count) {
    const unsigned to = copyTo + stage * 2 * L::keyBytes;
    int entries[L::rowPasses];
    const int* from = ring + start + copyRow * L::rowPasses;  // start is a multiple of 64
#pragma unroll
    for (int i = 0; i < L::rowPasses; i += 2) {
      const int2 two = *reinterpret_cast<const int2*>(from + i);
      entries[i] = two.x;
      entries[i + 1] = two.y;
    }
#pragma unroll
    for (int row = 0; row < Tile::keys; row += L::rowsAPass) {
      const int i = row / L::rowsAPass;
      if (count == Tile::keys) {
        const long long offset = (long long)(entries[i] >> 2) * D + copyChunk * 8;
#pragma unroll
        for (int c = 0; c < L::chunkPasses; c++) {
          copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16, k + offset + c * L::rowThreads * 8);
          copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16, v + offset + c * L::rowThreads * 8);
        }
      } else {
        const bool valid = copyRow * L::rowPasses + i < count;
        const long long offset = (long long)(valid ? entries[i] >> 2 : 0) * D + copyChunk * 8;
#pragma unroll
        for (int c = 0; c < L::chunkPasses; c++) {
          copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16, k + offset + c * L::rowThreads * 8, valid);
          copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16, v + offset + c * L::rowThreads * 8, valid);
        }
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
  // As a rule a half with rows has its diagonal tile, so the first step is known before the plan: its copy hides the plan's
  // loads.
  const int present = (a.firstPosition < position + Tile::half ? 1 : 0) | (keyEnd > position + Tile::half ? 2 : 0);
  const int expected = position + (present >> 1) * Tile::half;
  copyTile(0, expected);
  copyAsyncCommit();
  if (thread < 4) added[thread] = 0;

  const HeadPlan plan = a.heads[head];
  Pair made;
  made.plan = plan;
  made.firstTileRow = 2 * pairIndex;
  made.dense = 0;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int first = maximum(position + h * Tile::half, a.firstPosition);
    const int lowest = a.window > first ? 0 : first - a.window + 1;
    made.lowestKey[h] = lowest;
    if (plan.kind == 0 || position + h * Tile::half + Tile::half - 1 >= plan.denseFrom) made.dense |= 1 << h;
  }
  made.sparse = present & ~made.dense;
  made.limit = position + (made.sparse & 2 ? Tile::half : 0);
  made.walkLowest = present & 1 ? made.lowestKey[0] : made.lowestKey[1];
  made.listBegin = 0;
  made.listEnd = plan.kind == 1 ? plan.stepCount : 0;
  if (plan.kind == 2) {
    const int index = pairIndex - a.planFirstPosition / Tile::rows;
    made.listBegin = plan.stepOffsets[index];
    made.listEnd = plan.stepOffsets[index + 1];
  }
  // Every tile of a dense half, then the list of a sparse one.
  const int dense = made.dense & present;
  const bool windowed = a.window != 0x7fffffff, reversed = plan.kind == 1;
  bool walks = dense != 0;
  int cursor = walks ? expected : made.listBegin;
  const int end = made.sparse ? made.listEnd : 0;
  int entry = !walks && cursor < end ? plan.steps[cursor] : 0;
  // What is seldom used lies in shared memory, for want of registers.
  Pair& pair = *reinterpret_cast<Pair*>(memory + L::pair);
  if (thread == 0) pair = made;
  __syncthreads();

  // A step is one word, so that the next one takes one register: (first key + 64) * 4 + flags, or columnStep + place in the
  // ring * 128 + number of columns, or 0 for none.
  constexpr int columnStep = 1 << 30;

  // The next tile step, 0 at the end of the tiles.
  auto nextTile = [&]() {
    int flags = 0, first = 0;
    while (walks && flags == 0) {
      first = cursor;
      cursor -= Tile::keys;
      flags = first > position ? dense & 2 : dense;
      if (windowed) flags &= pair.visible(first);
      if (cursor + Tile::keys <= pair.walkLowest || cursor < 0) {
        walks = false;
        cursor = pair.listBegin;
        entry = cursor < end ? pair.plan.steps[cursor] : 0;
      }
    }
    while (cursor < end && flags == 0) {
      first = reversed ? position + Tile::half - (entry >> 2) : (entry >> 2) * Tile::keys;
      flags = entry & pair.sparse;
      if (first > position) flags &= 2;
      cursor++;
      if (cursor < end) entry = pair.plan.steps[cursor];
      if (windowed) flags &= pair.visible(first);
      if (first <= -Tile::keys || (windowed && first + Tile::keys <= pair.walkLowest)) {
        flags = 0;
        cursor = end;
      }
    }
    return flags ? (first + Tile::keys) * 4 + flags : 0;
  };

  int step = nextTile();
  if (step && (step >> 2) - Tile::keys != expected) {  // as of parts of an index: a thread overwrites what it copied itself
    copyAsyncWait<0>();
    copyTile(0, (step >> 2) - Tile::keys);
    copyAsyncCommit();
  }
  ColumnScan scan;
  int* scanBuffer = reinterpret_cast<int*>(memory + L::scan) + warp * 32;
  bool scanned = !scan.begin(pair, scanBuffer, warp, lane);
  copyAsyncCommit();
  int produced = 0, ringNext = 0;

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

  for (int iteration = 0;; iteration++) {
    const int stage = iteration & 1;
    copyAsyncWait<0>();
    __syncthreads();

    // Four counters in turn: added to in one iteration, read in the next, cleared in the one after.
    const int sum = added[(iteration + 3) & 3];
    produced += sum & 65535;
    scanned = scanned || sum >= 65536;
    if (thread == 0) added[(iteration + 2) & 3] = 0;

    int following = nextTile();
    if (following) {
      copyTile(stage ^ 1, (following >> 2) - Tile::keys);
    } else if (produced - ringNext >= Tile::keys || (scanned && produced > ringNext)) {
      const int start = ringNext & (Tile::ring - 1), count = minimum(produced - ringNext, Tile::keys);
      following = columnStep + start * 128 + count;
      copyColumns(stage ^ 1, start, count);
      ringNext += count;
    }
    if (!scanned && produced - ringNext < Tile::ahead)
      scan.run(pair, scanBuffer, ring, produced, added + (iteration & 3), lane);
    copyAsyncCommit();

    StepMask mask;
    mask.columns = step >= columnStep;
    mask.ring = ring;
    mask.ringStart = step >> 7 & (Tile::ring - 1);
    mask.firstKey = (step >> 2) - Tile::keys;
    int flags = step & 3;
    if (mask.columns) {
      const int ringStart = mask.ringStart, ringCount = step & 127;
      const int place0 = L::place(lane), place1 = L::place(lane + 32);
      const int entry0 = place0 < ringCount ? ring[ringStart + place0] : 0;
      const int entry1 = place1 < ringCount ? ring[ringStart + place1] : 0;
#pragma unroll
      for (int h = 0; h < 2; h++) {
        mask.need[h][0] = __ballot_sync(0xffffffffu, entry0 >> h & 1);
        mask.need[h][1] = __ballot_sync(0xffffffffu, entry1 >> h & 1);
      }
      flags = (mask.need[0][0] | mask.need[0][1] ? 1 : 0) | (mask.need[1][0] | mask.need[1][1] ? 2 : 0);
      mask.edge[0] = mask.edge[1] = false;
      if (a.window != 0x7fffffff) {
        const int farthest = __reduce_min_sync(0xffffffffu, minimum(place0 < ringCount ? entry0 >> 2 : 0x7fffffff,
                                                                    place1 < ringCount ? entry1 >> 2 : 0x7fffffff));
#pragma unroll
        for (int h = 0; h < 2; h++) mask.edge[h] = position + h * Tile::half + Tile::half - 1 - farthest >= a.window;
      }
    } else {
#pragma unroll
      for (int h = 0; h < 2; h++)
        mask.edge[h] = mask.firstKey == position + h * Tile::half || mask.firstKey < 0
                       || position + h * Tile::half + Tile::half - 1 - mask.firstKey >= a.window;
    }
    const unsigned kAddress = kLane + stage * 2 * L::keyBytes, vAddress = vLane + stage * 2 * L::keyBytes;
    if (flags == 3) computeStep<D, 3>(w, qAddress, kAddress, vAddress, mask, firstRow, a.window, a.scaleLog2);
    else if (flags == 1) computeStep<D, 1>(w, qAddress, kAddress, vAddress, mask, firstRow, a.window, a.scaleLog2);
    else if (flags == 2) computeStep<D, 2>(w, qAddress, kAddress, vAddress, mask, firstRow, a.window, a.scaleLog2);

    if (following == 0 && scanned && produced == ringNext) break;
    step = following;
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

extern "C" __global__ void __launch_bounds__(128, 3) attention_d64(AttentionParameters a) { mi::attention<64>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) attention_d96(AttentionParameters a) { mi::attention<96>(a); }
extern "C" __global__ void __launch_bounds__(128, 2) attention_d128(AttentionParameters a) { mi::attention<128>(a); }
