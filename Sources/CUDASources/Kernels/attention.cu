// Sparse causal attention over a head's plan, portable tier: mma.sync, ldmatrix and cp.async, sm_80
// and later.
//
//   o[r][h] = softmax over the computed keys j of (scale * q[r][h] . k[j]) times v[j]
//   logSumExp[r][h] = ln sum exp(...)
//
// Entry points: attention_d64, attention_d96, attention_d128 (head dimension), each
//   (AttentionParameters by value)
//   grid   x = queryHeads * pairs, y = z = 1;
//     pairs = (firstPosition + rows - 1) / 128 - firstPosition / 128 + 1
//   block  x = 128
//   dynamic shared memory, bytes: 51968 (d64), 76544 (d96), 101120 (d128); above 48 KiB, so the
//     attribute CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES has to be set once
//   every element of o in the given rows is written; q and o may be the same memory; rows without
//     keys get 0 and -infinity
//   strides and base addresses are multiples of 8 elements (16 bytes); rows > 0
//
// A block computes a pair of tile rows, 128 query positions, of one head. Every warp owns 16 rows of
// half 0 and 16 rows of half 1, so that a step which only one half computes still keeps the four
// schedulers of a multiprocessor busy. The work of a pair is a sequence of steps of 64 keys
// (attention_step.cuh): first its tiles, descending, then the columns that no tile covers, gathered.
// While a step is computed the next one is copied. Columns are compacted, 128 at a time, into a ring
// in shared memory that runs ahead of the steps (attention_pair.cuh); their order in it does not
// matter.

#include "attention_pair.cuh"

using mi::AttentionParameters;

namespace mi {

template <int D>
__device__ __forceinline__ void attention(const AttentionParameters& a) {
  using L = Layout<D>;
  extern __shared__ __align__(1024) unsigned char memory[];
  const unsigned base = sharedAddress(memory);
  int* ring = reinterpret_cast<int*>(memory + L::ring);
  int* added = reinterpret_cast<int*>(
      memory + L::status);  // [4]: entries that the scans of one iteration appended
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;

  // Blocks that run together share keys: kv head outermost, then pairs from the longest on, then
  // the heads of the group.
  const int keyEnd = a.firstPosition + a.rows;
  const int firstPair = a.firstPosition / Tile::rows,
            pairs = (keyEnd - 1) / Tile::rows - firstPair + 1;
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
          copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16,
              fromK + row * D + c * L::rowThreads * 8);
#pragma unroll
      for (int row = 0; row < Tile::keys; row += L::rowsAPass)
#pragma unroll
        for (int c = 0; c < L::chunkPasses; c++)
          copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16,
              fromV + row * D + c * L::rowThreads * 8);
    } else {
#pragma unroll
      for (int row = 0; row < Tile::keys; row += L::rowsAPass)
#pragma unroll
        for (int c = 0; c < L::chunkPasses; c++) {
          const bool valid = first + copyRow + row >= 0 && first + copyRow + row < keyEnd;
          const long long offset =
              valid ? row * D + c * L::rowThreads * 8 : -(long long)(first + copyRow) * D;
          copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16, fromK + offset, valid);
          copyAsync16(
              to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16, fromV + offset, valid);
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
          copyAsync16(
              to + row * L::rowBytes + c * L::rowThreads * 16, k + offset + c * L::rowThreads * 8);
          copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16,
              v + offset + c * L::rowThreads * 8);
        }
      } else {
        const bool valid = copyRow * L::rowPasses + i < count;
        const long long offset = (long long)(valid ? entries[i] >> 2 : 0) * D + copyChunk * 8;
#pragma unroll
        for (int c = 0; c < L::chunkPasses; c++) {
          copyAsync16(to + row * L::rowBytes + c * L::rowThreads * 16,
              k + offset + c * L::rowThreads * 8, valid);
          copyAsync16(to + L::keyBytes + row * L::rowBytes + c * L::rowThreads * 16,
              v + offset + c * L::rowThreads * 8, valid);
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
        copyAsync16(
            base + chunkOffset<D>(copyRow, copyChunk) + row * L::rowBytes + c * L::rowThreads * 16,
            q + (valid ? (long long)r * a.qStride : 0) + copyChunk * 8 + c * L::rowThreads * 8,
            valid);
    }
  }
  // As a rule a half with rows has its diagonal tile, so the first step is known before the plan:
  // its copy hides the plan's loads.
  const int present = (a.firstPosition < position + Tile::half ? firstHalf : 0) |
      (keyEnd > position + Tile::half ? secondHalf : 0);
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
    made.lowestKey[h] = maximum(lowest, a.firstKey);
    if (plan.kind == 0 || position + h * Tile::half + Tile::half - 1 >= plan.denseFrom)
      made.dense |= 1 << h;
  }
  made.sparse = present & ~made.dense;
  made.limit = minimum(position + (made.sparse & secondHalf ? Tile::half : 0), a.endKey);
  made.walkLowest = present & firstHalf ? made.lowestKey[0] : made.lowestKey[1];
  made.listBegin = 0;
  made.listEnd = plan.kind == 1 ? plan.stepCount : 0;
  if (plan.kind == 2) {
    const int index = pairIndex - a.planFirstPosition / Tile::rows;
    made.listBegin = plan.stepOffsets[index];
    made.listEnd = plan.stepOffsets[index + 1];
  }
  if (a.endKey <= position + Tile::half) {  // entries behind the part come first
    int high = made.listEnd;
    while (made.listBegin < high) {
      const int middle = (made.listBegin + high) >> 1;
      const int place = plan.steps[middle] >> StepEntry::placeShift;
      if ((plan.kind == 1 ? position + Tile::half - place : place * Tile::keys) >= a.endKey)
        made.listBegin = middle + 1;
      else
        high = middle;
    }
  }
  // Every tile of a dense half, then the list of a sparse one.
  const int dense = made.dense & present;
  const bool windowed = a.window != 0x7fffffff || a.firstKey > 0, reversed = plan.kind == 1;
  bool walks = dense != 0;
  int cursor = walks ? minimum(expected, (a.endKey - 1) & ~(Tile::keys - 1)) : made.listBegin;
  const int end = made.sparse ? made.listEnd : 0;
  int entry = !walks && cursor < end ? plan.steps[cursor] : 0;
  // What is seldom used lies in shared memory, for want of registers.
  Pair& pair = *reinterpret_cast<Pair*>(memory + L::pair);
  if (thread == 0) pair = made;
  __syncthreads();

  // The next tile step, none at the end of the tiles.
  auto nextTile = [&]() {
    int flags = 0, first = 0;
    while (walks && flags == 0) {
      first = cursor;
      cursor -= Tile::keys;
      flags = first > position ? dense & secondHalf : dense;
      if (windowed) flags &= pair.visible(first);
      if (cursor + Tile::keys <= pair.walkLowest || cursor < 0) {
        walks = false;
        cursor = pair.listBegin;
        entry = cursor < end ? pair.plan.steps[cursor] : 0;
      }
    }
    while (cursor < end && flags == 0) {
      first = reversed ? position + Tile::half - (entry >> StepEntry::placeShift)
                       : (entry >> StepEntry::placeShift) * Tile::keys;
      flags = entry & pair.sparse;
      if (first > position) flags &= secondHalf;
      cursor++;
      if (cursor < end) entry = pair.plan.steps[cursor];
      if (windowed) flags &= pair.visible(first);
      if (first <= -Tile::keys || (windowed && first + Tile::keys <= pair.walkLowest)) {
        flags = 0;
        cursor = end;
      }
    }
    return flags ? (first + Tile::keys) * 4 + flags : StepWord::none;
  };

  int step = nextTile();
  if (step &&
      (step >> StepWord::keyShift) - Tile::keys !=
          expected) {  // as of parts of an index: a thread overwrites what it copied itself
    copyAsyncWait<0>();
    copyTile(0, (step >> StepWord::keyShift) - Tile::keys);
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
  // Fragment addresses of this lane: q and v take rows 0..15 and the chunk pair by lane / 16, k the
  // other way round.
  const unsigned qAddress = base + chunkOffset<D>(warp * 16 + (lane & 15), lane >> 4);
  const unsigned kLane =
      base + L::stages + chunkOffset<D>((lane & 7) + (lane >> 4) * 8, lane >> 3 & 1);
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
      copyTile(stage ^ 1, (following >> StepWord::keyShift) - Tile::keys);
    } else if (produced - ringNext >= Tile::keys || (scanned && produced > ringNext)) {
      const int start = ringNext & (Tile::ring - 1),
                count = minimum(produced - ringNext, Tile::keys);
      following = StepWord::columns + start * 128 + count;
      copyColumns(stage ^ 1, start, count);
      ringNext += count;
    }
    if (!scanned && produced - ringNext < Tile::ahead)
      scan.run(pair, scanBuffer, ring, produced, added + (iteration & 3), lane);
    copyAsyncCommit();

    StepMask mask;
    mask.columns = step >= StepWord::columns;
    mask.ring = ring;
    mask.ringStart = step >> StepWord::ringShift & (Tile::ring - 1);
    mask.firstKey = (step >> StepWord::keyShift) - Tile::keys;
    int flags = step & StepWord::halves;
    if (mask.columns) {
      const int ringStart = mask.ringStart, ringCount = step & StepWord::count;
      const int place0 = L::place(lane), place1 = L::place(lane + 32);
      const int entry0 = place0 < ringCount ? ring[ringStart + place0] : 0;
      const int entry1 = place1 < ringCount ? ring[ringStart + place1] : 0;
#pragma unroll
      for (int h = 0; h < 2; h++) {
        mask.need[h][0] = __ballot_sync(0xffffffffu, entry0 >> h & 1);
        mask.need[h][1] = __ballot_sync(0xffffffffu, entry1 >> h & 1);
      }
      flags = (mask.need[0][0] | mask.need[0][1] ? firstHalf : 0) |
          (mask.need[1][0] | mask.need[1][1] ? secondHalf : 0);
      mask.edge[0] = mask.edge[1] = false;
      if (a.window != 0x7fffffff) {
        const int farthest = __reduce_min_sync(0xffffffffu,
            minimum(place0 < ringCount ? entry0 >> 2 : 0x7fffffff,
                place1 < ringCount ? entry1 >> 2 : 0x7fffffff));
#pragma unroll
        for (int h = 0; h < 2; h++)
          mask.edge[h] = position + h * Tile::half + Tile::half - 1 - farthest >= a.window;
      }
    } else {
#pragma unroll
      for (int h = 0; h < 2; h++)
        mask.edge[h] = mask.firstKey == position + h * Tile::half || mask.firstKey < a.firstKey ||
            mask.firstKey > a.endKey - Tile::keys ||
            position + h * Tile::half + Tile::half - 1 - mask.firstKey >= a.window;
    }
    const unsigned kAddress = kLane + stage * 2 * L::keyBytes,
                   vAddress = vLane + stage * 2 * L::keyBytes;
    if (flags == bothHalves)
      computeStep<D, bothHalves>(
          w, qAddress, kAddress, vAddress, mask, firstRow, a);
    else if (flags == firstHalf)
      computeStep<D, firstHalf>(
          w, qAddress, kAddress, vAddress, mask, firstRow, a);
    else if (flags == secondHalf)
      computeStep<D, secondHalf>(
          w, qAddress, kAddress, vAddress, mask, firstRow, a);

    if (following == 0 && scanned && produced == ringNext) break;
    step = following;
  }
  copyAsyncWait<0>();

  // Each warp read only its own rows of q, so it stages its output there without waiting for
  // others.
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

extern "C" __global__ void __launch_bounds__(128, 3) attention_d64(AttentionParameters a) {
  mi::attention<64>(a);
}
extern "C" __global__ void __launch_bounds__(128, 2) attention_d96(AttentionParameters a) {
  mi::attention<96>(a);
}
extern "C" __global__ void __launch_bounds__(128, 2) attention_d128(AttentionParameters a) {
  mi::attention<128>(a);
}
