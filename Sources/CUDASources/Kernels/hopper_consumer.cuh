// The consumer warpgroups of the Hopper attention kernel: scores by products from shared memory,
// weights in registers as the left operand of the second product. While the weights of one stage
// meet their values, a warpgroup computes the exponentials of the next; and the two take turns, so
// that the products of one run under the exponentials of the other. What is left of a warpgroup's
// own chain bounds the speed: it looks for no maximum after the first stage, and reads one word
// group a stage.

#pragma once

#include "hopper_rows.cuh"

namespace mi {

/// A consumer warpgroup: one half's rows over all stages.
template <int headDim>
struct Consumer {
  using Layout = SharedLayout<headDim>;
  static constexpr int stages = HopperTile::stages, queryBuffers = HopperTile::queryBuffers;

  /// s = q k^T of a stage at `keys`.
  static __device__ __forceinline__ void scores(Rows<headDim>& r, unsigned queries, unsigned keys) {
    const unsigned long long a = operand(queries, 0, 1024), b = operand(keys, 0, 1024);
#pragma unroll
    for (int step = 0; step < headDim / 16; ++step) {
      const unsigned long long x = a + ((step >> 2) * Layout::blockBytes + (step & 3) * 32 >> 4);
      const unsigned long long y =
          b + ((step >> 2) * 2 * Layout::blockBytes + (step & 3) * 32 >> 4);
      multiplyShared128(r.s, x, y, step > 0);
    }
  }

  /// o += p v of a stage at `values`.
  static __device__ __forceinline__ void accumulate(Rows<headDim>& r, unsigned values) {
    const unsigned long long b = operand(values, 2 * Layout::blockBytes, 1024);
#pragma unroll
    for (int step = 0; step < 8; ++step)
      multiplyRegisters(r.o, r.p[4 * step], r.p[4 * step + 1], r.p[4 * step + 2], r.p[4 * step + 3],
          b + (2048 * step >> 4));
  }

  /// Adds what the stage before still owes to the output.
  static __device__ __forceinline__ void settle(Rows<headDim>& r, unsigned values,
      unsigned fullValues, unsigned phase, unsigned emptyValues) {
    barrierWait(fullValues, phase);
    runProducts(r.o, [&] { accumulate(r, values); });
    if ((threadIdx.x & 31) == 0) barrierArrive(emptyValues);
  }

  /// Masks those blocks of a stage that `mine` names, Stage::firstBlock and Stage::secondBlock.
  template <bool partials, bool weights>
  static __device__ __forceinline__ void mask(
      Rows<headDim>& r, const AttentionParameters& a, const Stage& stage, int mine, int half) {
    if (mine & Stage::firstBlock) maskBlock<0, partials, weights>(r, stage, 0, half, a);
    if (mine & Stage::secondBlock) maskBlock<32, partials, weights>(r, stage, 1, half, a);
  }

  /// Weights from scores, relative to the maximum so far, which moves; the output follows it.
  static __device__ __forceinline__ void moveMaximum(Rows<headDim>& r, float scale) {
    constexpr int count = 64;
    float top[2] = {-infinity(), -infinity()}, factor[2];
#pragma unroll
    for (int i = 0; i < count; ++i) top[i >> 1 & 1] = fmaxf(top[i >> 1 & 1], r.s[i]);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float shift = fmaxf(r.shift[j], quadMaximum(top[j]) * scale);
      top[j] = shift == -infinity() ? 0.0f : shift;
      factor[j] = exp2Approximate(r.shift[j] - top[j]);
      r.shift[j] = shift;
      r.sum[j] *= factor[j];
    }
#pragma unroll
    for (int i = 0; i < count; ++i) {
      r.s[i] = exp2Approximate(r.s[i] * scale - top[i >> 1 & 1]);
      r.sum[i >> 1 & 1] += r.s[i];
    }
#pragma unroll
    for (int i = 0; i < headDim / 2; ++i) r.o[i] *= factor[i >> 1 & 1];
  }

  static __device__ __forceinline__ void pack(Rows<headDim>& r) {
#pragma unroll
    for (int i = 0; i < 32; ++i) r.p[i] = toBF16Pair(r.s[2 * i], r.s[2 * i + 1]);
  }

  /// The scores of one warp's 16 rows once more, without the other warps of the group.
  static __device__ __forceinline__ void scoresOfWarp(
      Rows<headDim>& r, unsigned queries, unsigned keys) {
    const int lane = threadIdx.x & 31, g = lane >> 2, swizzle = g << 4;
    const unsigned row = queries + (16 * (threadIdx.x >> 5 & 3) + g) * 128;
#pragma unroll
    for (int i = 0; i < 64; ++i) r.s[i] = 0.0f;
#pragma unroll 1
    for (int step = 0; step < headDim / 16; ++step) {
      const int part = step >> 2, low = (32 * (step & 3) + 4 * (lane & 3)) ^ swizzle,
                high = low ^ 16;
      const unsigned x = row + part * Layout::blockBytes,
                     y = keys + part * 2 * Layout::blockBytes + g * 128;
      const unsigned a[4] = {loadShared(x + low), loadShared(x + 1024 + low), loadShared(x + high),
          loadShared(x + 1024 + high)};
#pragma unroll
      for (int b = 0; b < 16; ++b) {
        float c[4] = {r.s[4 * b], r.s[4 * b + 1], r.s[4 * b + 2], r.s[4 * b + 3]};
        multiplyAdd(c, a, loadShared(y + 1024 * b + low), loadShared(y + 1024 * b + high));
#pragma unroll
        for (int i = 0; i < 4; ++i) r.s[4 * b + i] = c[i];
      }
    }
  }

  struct Place {      // of a stage of the ring
    int slot, phase;  // slot: 8 * stage, the offset of its barriers
    bool own;         // the half computes it
    unsigned keys, values;
  };

  /// The first stage of an item, one that follows others which this half passed over, or one whose
  /// columns the window cuts: nothing runs beside it, and the maximum is taken from it.
  static __device__ __forceinline__ void begin(Rows<headDim>& r, const AttentionParameters& a,
      unsigned shared, unsigned queries, const Stage& current, int4 header, const Place& now,
      int half) {
    const bool turns = header.y == bothHalves;
    if (turns) barrierSync(1 + half, 256);
    pin(r.s);
    productsBegin();
    scores(r, queries, now.keys);
    productsCommit();
    if (turns) barrierArrive(2 - half, 256);
    productsWait<0>();
    pin(r.s);
    const int mine = header.z >> half & Stage::anyBlock;
    if (mine) mask<true, false>(r, a, current, mine, half);
    moveMaximum(r, a.scaleLog2);
    __syncwarp();
    if ((threadIdx.x & 31) == 0) barrierArrive(shared + Layout::emptyKeys + now.slot);
    pin(r.s);
    pin(r.o);
    pack(r);
  }

  /// One stage: scores of this one while the weights of the one before meet their values. Weights
  /// are relative to the maximum that `begin` found: bf16 and fp32 hold them with the same
  /// precision whatever that is, until they leave the range of exponents.
  static __device__ __forceinline__ void step(Rows<headDim>& r, const AttentionParameters& a,
      unsigned shared, unsigned queries, const Stage& current, int4& nextHeader,
      const Stage* following, const Place& now, const Place& then, int half, unsigned next,
      int nextPhase) {
    const int4 header = nextHeader;
    constexpr int count = 64;
    const bool leader = (threadIdx.x & 31) == 0;
    const bool turns = header.y == bothHalves;
    if (turns) barrierSync(1 + half, 256);
    pin(r.s);
    pin(r.o);
    productsBegin();
    scores(r, queries, now.keys);
    productsCommit();
    barrierWait(shared + Layout::fullValues + then.slot, then.phase);
    productsBegin();
    accumulate(r, then.values);
    productsCommit();
    if (turns) barrierArrive(2 - half, 256);
    productsWait<1>();
    pin(r.s);
    const float scale = a.scaleLog2;
    float sum[2][2] = {{r.sum[0], 0.0f}, {r.sum[1], 0.0f}};
#pragma unroll
    for (int i = 0; i < count; ++i) {
      r.s[i] = exp2Approximate(r.s[i] * scale - r.shift[i >> 1 & 1]);
      sum[i >> 1 & 1][i & 1] += r.s[i];
    }
    pin(r.s);
    // A loop ends a block of code: the exponentials stay before it, and so run under the products.
    barrierWait(next, nextPhase);
    nextHeader = *(const int4*)following;
    productsWait<0>();
    pin(r.s);  // or the weights would be rounded while their registers are still read
    pin(r.o);
    if (leader) barrierArrive(shared + Layout::emptyValues + then.slot);
    const int mine = header.z >> half & Stage::anyBlock;
    if (mine) {  // only now: branches while products run make ptxas serialise them
      mask<false, true>(r, a, current, mine, half);
      sum[0][0] = r.sum[0], sum[1][0] = r.sum[1], sum[0][1] = sum[1][1] = 0.0f;
#pragma unroll
      for (int i = 0; i < count; ++i) sum[i >> 1 & 1][i & 1] += r.s[i];
    }
    pack(r);
    sum[0][0] += sum[0][1];
    sum[1][0] += sum[1][1];
    // Not so where a sum is out of range or not a number, or a row has had no key yet.
    const bool good = sum[0][0] < HopperTile::limit && sum[1][0] < HopperTile::limit &&
        r.shift[0] != -infinity() && r.shift[1] != -infinity();
    if (__all_sync(0xffffffffu, good)) {
      r.sum[0] = sum[0][0];
      r.sum[1] = sum[1][0];
    } else {
      scoresOfWarp(r, queries, now.keys);
      if (mine) mask<false, false>(r, a, current, mine, half);
      moveMaximum(r, scale);
      pin(r.s);
      pin(r.o);
      pack(r);
    }
    __syncwarp();
    if (leader) barrierArriveAgain(shared + Layout::emptyKeys + now.slot);
  }

  static __device__ __forceinline__ void finish(
      Rows<headDim>& r, unsigned shared, const Place& then) {
    const unsigned full = shared + Layout::fullValues + then.slot,
                   empty = shared + Layout::emptyValues + then.slot;
    if (then.own) settle(r, then.values, full, then.phase, empty);
  }

  static __device__ __forceinline__ void run(
      const AttentionParameters& a, unsigned shared, const Stage* info, int half) {
    Rows<headDim> r;
    const bool leader = (threadIdx.x & 31) == 0;
    // Where barriers lie is kept apart from where tiles lie, and looks different in every thread:
    // ptxas 13.0 to 13.5 otherwise computes the addresses in uniform registers, under predicates,
    // and confuses this stage's with the last one's.
    const int zero = opaqueZero();
    int stage = 0, phase = 0, tileCount = 0;
    if (half == 1) barrierArrive(1, 256);
    barrierWait(shared + Layout::fullKeys, 0);
    int4 header = *(const int4*)info;  // tile, use, edge, partial of the stage at hand
    while (header.x >= 0) {
      const int tile = header.x;
      const int firstRow = info[stage].row[half], head = info[stage].head[half];
      const int buffer = tileCount % queryBuffers;
      const unsigned queries = shared + buffer * Layout::queryBytes + half * Layout::halfQueryBytes;
      barrierWait(shared + Layout::fullQueries + 8 * buffer, tileCount / queryBuffers & 1);
#pragma unroll
      for (int i = 0; i < headDim / 2; ++i) r.o[i] = 0.0f;
      r.shift[0] = r.shift[1] = -infinity();
      r.sum[0] = r.sum[1] = 0.0f;
      Place then;
      then.own = false;
      then.slot = then.phase = 0;
      then.keys = then.values = 0;
      do {
        const Stage& current = info[stage];
        Place now;
        now.slot = 8 * stage + zero;
        now.phase = phase;
        now.own = header.y >> half & 1;
        now.keys = shared + Layout::keys + stage * Layout::stageBytes;
        now.values = shared + Layout::values + stage * Layout::stageBytes;
        if (++stage == stages) stage = 0, phase ^= 1;
        const unsigned next = shared + Layout::fullKeys + 8 * stage + zero;
        const int nextPhase = phase;
        if (now.own && then.own && header.w == 0) {
          step(r, a, shared, queries, current, header, info + stage, now, then, half, next,
              nextPhase);
        } else {
          // A stage of the other half alone: the loader gives back its values. All lanes have read
          // what it is.
          __syncwarp();
          if (!now.own && leader) barrierArrive(shared + Layout::emptyKeys + now.slot);
          finish(r, shared, then);
          if (now.own) begin(r, a, shared, queries, current, header, now, half);
          barrierWait(next, nextPhase);
          header = *(const int4*)(info + stage);
        }
        then = now;
        // More such stages, while this half keeps its last values: with too many of them the ring
        // would stand still.
        for (int passed = 0;
            passed < HopperTile::mostPassed && header.x == tile && !(header.y >> half & 1);
            ++passed) {
          __syncwarp();
          if (leader) barrierArrive(shared + Layout::emptyKeys + 8 * stage + zero);
          if (++stage == stages) stage = 0, phase ^= 1;
          barrierWait(shared + Layout::fullKeys + 8 * stage + zero, phase);
          header = *(const int4*)(info + stage);
        }
      } while (header.x == tile);
      if (leader) barrierArrive(shared + Layout::emptyQueries + 8 * buffer);
      finish(r, shared, then);
      store(r, a, firstRow, head);
      ++tileCount;
    }
  }
};

}  // namespace mi
