// The consumer warpgroups of the Hopper attention kernel: scores by products from shared memory, weights in registers as the left
// operand of the second product. While the weights of one stage meet their values, a warpgroup computes the exponentials of the
// next; and the two take turns, so that the products of one run under the exponentials of the other.

#pragma once

#include "hopper_rows.cuh"

namespace mi {

/// A consumer warpgroup: one half's rows over all stages.
template <int headDim> struct Consumer {
  using Layout = SharedLayout<headDim>;
  static constexpr int stages = HopperTile::stages, queryBuffers = HopperTile::queryBuffers;

  /// s = q k^T of a whole stage or of one block of it, at `keys`.
  template <bool full> static __device__ __forceinline__ void scores(Rows<headDim>& r, unsigned queries, unsigned keys) {
    const unsigned long long a = operand(queries, 0, 1024), b = operand(keys, 0, 1024);
#pragma unroll
    for (int step = 0; step < headDim / 16; ++step) {
      const unsigned long long x = a + ((step >> 2) * Layout::blockBytes + (step & 3) * 32 >> 4);
      const unsigned long long y = b + ((step >> 2) * 2 * Layout::blockBytes + (step & 3) * 32 >> 4);
      if (full) multiplyShared128(r.s, x, y, step > 0); else multiplyShared64(r.s, x, y, step > 0);
    }
  }

  /// o += p v, of a whole stage or of one block of it, at `values`.
  template <bool full> static __device__ __forceinline__ void accumulate(Rows<headDim>& r, unsigned values) {
    const unsigned long long b = operand(values, 2 * Layout::blockBytes, 1024);
#pragma unroll
    for (int step = 0; step < (full ? 8 : 4); ++step)
      multiplyRegisters(r.o, r.p[4 * step], r.p[4 * step + 1], r.p[4 * step + 2], r.p[4 * step + 3], b + (2048 * step >> 4));
  }

  /// Adds what the stage before still owes to the output.
  template <bool full>
  static __device__ __forceinline__ void settle(Rows<headDim>& r, unsigned values, unsigned fullValues, unsigned phase,
                                                unsigned emptyValues) {
    barrierWait(fullValues, phase);
    pin(r.o);
    productsBegin();
    accumulate<full>(r, values);
    productsCommit();
    productsWait<0>();
    pin(r.o);
    if ((threadIdx.x & 31) == 0) barrierArrive(emptyValues);
  }

  template <bool full>
  static __device__ __forceinline__ void softmax(Rows<headDim>& r, float scale, float (&factor)[2], bool& keep) {
    constexpr int count = full ? 64 : 32;
    float top[2] = {r.maximum[0], r.maximum[1]};
#pragma unroll
    for (int i = 0; i < count; ++i) top[i >> 1 & 1] = fmaxf(top[i >> 1 & 1], r.s[i]);
    float shift[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      top[j] = quadMaximum(top[j]);
    }
    // The maximum moves only when a row exceeds it by more than the slack: weights stay far inside the range of bf16 and fp32, and
    // most stages then leave the output as it is.
    keep = __all_sync(0xffffffffu, (top[0] - r.maximum[0]) * scale <= HopperTile::slack && (top[1] - r.maximum[1]) * scale <= HopperTile::slack);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (keep) top[j] = r.maximum[j];
      shift[j] = top[j] == -infinity() ? 0.0f : top[j] * scale;
      factor[j] = exp2Approximate(r.maximum[j] * scale - shift[j]);
      r.maximum[j] = top[j];
      r.sum[j] *= factor[j];
    }
#pragma unroll
    for (int i = 0; i < count; ++i) {
      r.s[i] = exp2Approximate(r.s[i] * scale - shift[i >> 1 & 1]);
      r.sum[i >> 1 & 1] += r.s[i];
    }
  }

  struct Place {  // of a stage of the ring
    int slot, phase, own;  // slot: 8 * stage, the offset of its barriers
    unsigned keys, values;  // of the first block that the half uses
  };

  /// One stage: scores of this one while the weights of the one before (0: none, 1: one block, 2: whole) meet their values.
  template <bool full, int before, bool masked>
  static __device__ __forceinline__ void step(Rows<headDim>& r, const AttentionParameters& a, unsigned shared, unsigned queries,
                                              const Stage& current, const Place& now, const Place& then, int half,
                                              unsigned next, int nextPhase) {
    const bool leader = (threadIdx.x & 31) == 0;
    const int use = current.use;
    const int edge = current.edge;
    const bool turns = (use & 5) && (use & 10);
    if (turns) barrierSync(1 + half, 256);
    pin(r.s);
    pin(r.o);
    productsBegin();
    scores<full>(r, queries, now.keys);
    productsCommit();
    if (before) {
      barrierWait(shared + Layout::fullValues + then.slot, then.phase);
      productsBegin();
      accumulate<before == 2>(r, then.values);
      productsCommit();
    }
    if (turns) barrierArrive(2 - half, 256);
    if (before) productsWait<1>(); else productsWait<0>();
    pin(r.s);
    const int mine = full ? edge >> half & 5 : edge >> (half + 2 * (now.own >> 1)) & 1;
    if (masked && mine) {
      if (full) {
        if (mine & 1) maskBlock<0, !before>(r, current, 0, half, a);
        if (mine & 4) maskBlock<32, !before>(r, current, 1, half, a);
      } else {
        maskBlock<0, !before>(r, current, now.own >> 1, half, a);
      }
      __syncwarp();
      if (leader) barrierArriveAgain(shared + Layout::emptyKeys + now.slot);
    } else if (leader) {
      barrierArrive(shared + Layout::emptyKeys + now.slot);
    }
    float factor[2];
    bool keep;
    softmax<full>(r, a.scaleLog2, factor, keep);
    pin(r.s);
    pin(r.sum);
    // A loop ends a block of code: the exponentials stay before it, and so run under the products.
    barrierWait(next, nextPhase);
    if (before) {
      productsWait<0>();
      pin(r.s);  // or the weights would be rounded while their registers are still read
      pin(r.o);
      if (leader) barrierArrive(shared + Layout::emptyValues + then.slot);
    }
    if (!keep) {
#pragma unroll
      for (int i = 0; i < headDim / 2; ++i) r.o[i] *= factor[i >> 1 & 1];
    }
    pin(r.o);
#pragma unroll
    for (int i = 0; i < (full ? 32 : 16); ++i) r.p[i] = toBF16Pair(r.s[2 * i], r.s[2 * i + 1]);
  }

  static __device__ __forceinline__ void finish(Rows<headDim>& r, unsigned shared, const Place& then) {
    const unsigned full = shared + Layout::fullValues + then.slot, empty = shared + Layout::emptyValues + then.slot;
    if (then.own == 3) settle<true>(r, then.values, full, then.phase, empty);
    else if (then.own) settle<false>(r, then.values, full, then.phase, empty);
  }

  static __device__ __forceinline__ void run(const AttentionParameters& a, unsigned shared, const Stage* info, int half) {
    Rows<headDim> r;
    const bool leader = (threadIdx.x & 31) == 0;
    // Where barriers lie is kept apart from where tiles lie, and looks different in every thread: ptxas 13.0 to 13.5 otherwise
    // computes the addresses in uniform registers, under predicates, and confuses this stage's with the last one's.
    const int zero = opaqueZero();
    int stage = 0, phase = 0, tileCount = 0;
    if (half == 1) barrierArrive(1, 256);
    barrierWait(shared + Layout::fullKeys, 0);
    int tile = info[0].tile;
    while (tile >= 0) {
      const int firstRow = info[stage].row[half], head = info[stage].head[half];
      const int buffer = tileCount % queryBuffers;
      const unsigned queries = shared + buffer * Layout::queryBytes + half * Layout::halfQueryBytes;
      barrierWait(shared + Layout::fullQueries + 8 * buffer, tileCount / queryBuffers & 1);
#pragma unroll
      for (int i = 0; i < headDim / 2; ++i) r.o[i] = 0.0f;
      r.maximum[0] = r.maximum[1] = -infinity();
      r.sum[0] = r.sum[1] = 0.0f;
      Place then;
      then.own = then.slot = then.phase = 0;
      then.keys = then.values = 0;
      do {
        const Stage& current = info[stage];
        const int use = current.use;
        Place now;
        now.slot = 8 * stage + zero;
        now.phase = phase;
        now.own = (use >> half & 1) | (use >> (half + 1) & 2);
        const unsigned offset = stage * Layout::stageBytes + (now.own == 2 ? Layout::blockBytes : 0);
        now.keys = shared + Layout::keys + offset;
        now.values = shared + Layout::values + offset;
        if (++stage == stages) stage = 0, phase ^= 1;
        const unsigned next = shared + Layout::fullKeys + 8 * stage + zero;
        const int nextPhase = phase;
        // Whole stages follow each other, then single blocks: only those are pipelined, the turns between them are not.
        if (now.own == 3 && then.own == 3 && current.partial == 0) {
          step<true, 2, true>(r, a, shared, queries, current, now, then, half, next, nextPhase);
        } else if (now.own == 3) {
          finish(r, shared, then);
          step<true, 0, true>(r, a, shared, queries, current, now, then, half, next, nextPhase);
        } else if (now.own && (then.own == 1 || then.own == 2) && (current.edge >> (half + 2 * (now.own >> 1)) & 1) == 0) {
          step<false, 1, false>(r, a, shared, queries, current, now, then, half, next, nextPhase);
        } else if (now.own) {
          finish(r, shared, then);
          step<false, 0, true>(r, a, shared, queries, current, now, then, half, next, nextPhase);
        } else {
          // The ring would stand still if this half kept its last stage while it passes over others.
          if (leader) barrierArrive(shared + Layout::emptyKeys + now.slot);
          finish(r, shared, then);
          barrierWait(shared + Layout::fullValues + now.slot, now.phase);
          if (leader) barrierArrive(shared + Layout::emptyValues + now.slot);
          barrierWait(next, nextPhase);
        }
        then = now;
      } while (info[stage].tile == tile);
      if (leader) barrierArrive(shared + Layout::emptyQueries + 8 * buffer);
      finish(r, shared, then);
      store(r, a, firstRow, head);
      ++tileCount;
      tile = info[stage].tile;
    }
  }
};

}  // namespace mi
