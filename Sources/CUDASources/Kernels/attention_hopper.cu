// Sparse causal attention over a head's plan on Hopper (sm_90a): bulk tensor copies and warpgroup products.
//
// The same function as attention.cu (the plan's kinds, columns, denseFrom, window; o and log-sum-exp), head dimensions 64 and 128.
//
// attention_hopper_d64, attention_hopper_d128
//   (AttentionParameters, HopperParameters, TensorMap queries, keys, values, columnKeys, columnValues), all by value
//   grid   x = multiprocessors (any number works: blocks take work items from a counter), y = z = 1
//   block  x = 384
//   dynamic shared memory, bytes: 100352 (d64), 199680 (d128); CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES has to be set
//   tensor maps: CUtensorMap of bf16, rank 3, element strides 1, no interleave, 128-byte swizzle, 256-byte L2 promotion, zero
//   fill outside; sizes with the innermost first, strides in bytes of the outer two, box
//     queries            {d, queryHeads, rows}          {2 d, 2 qStride}         {64, 1, 64}   at q
//     keys, values       {d, keys, kvHeads}             {2 d, 2 kvHeadStride}    {64, 64, 1}   at k and v
//     columnKeys/Values  {d, maximumColumns, queryHeads} {2 d, 2 d maximumColumns} {64, 64, 1}  at the workspaces below
//   keys of the map is firstPosition + rows: what lies beyond is never read, so it may hold anything
//   without columns in any plan the last two maps are never used (any valid maps)
//   HopperParameters.counter: one word that is zero before the first launch; every launch leaves it zero. One launch at a time
//
// gather_columns_d64, gather_columns_d128 (AttentionParameters, bf16* columnKeys, bf16* columnValues, int maximumColumns)
//   before the kernel above on the same stream, if any plan has columns
//   grid   x = maximumColumns / 8, y = queryHeads; block x = 256; no shared memory
//   columnKeys, columnValues: workspaces [queryHeads][maximumColumns][d] of bf16, maximumColumns a multiple of 64, at least every
//   plan's columnCount
//
// One thread block a multiprocessor, three warpgroups. The first plans and loads (hopper_plan.cuh); the two others each own 64 of
// a pair's 128 rows: scores by products from shared memory, weights in registers as the left operand of the second product. While
// a warpgroup's weights of one stage meet their values, it computes the exponentials of the next; and the two take turns, so that
// the products of one run under the exponentials of the other.

#include "hopper_plan.cuh"

#ifndef MI_STAGES
#define MI_STAGES 2
#endif
#ifndef MI_QUERY_BUFFERS
#define MI_QUERY_BUFFERS 2
#endif
#ifndef MI_PRODUCER_REGISTERS
#define MI_PRODUCER_REGISTERS 40
#define MI_CONSUMER_REGISTERS 232
#endif
#ifndef MI_SLACK
#define MI_SLACK 1
#endif
#ifndef MI_PINGPONG
#define MI_PINGPONG 1
#endif

namespace mi {

/// A half's rows: what one consumer warpgroup holds between stages.
template <int headDim> struct Rows {
  float s[64];              // scores, then weights, of 64 x 128 or (first 32) 64 x 64 keys
  float o[headDim / 2];     // output before division
  unsigned p[32];           // weights as A fragments
  float maximum[2], sum[2]; // of rows g and g + 8; the sum is this thread's share
};

/// Bits 0..<n of 64.
__device__ __forceinline__ unsigned long long lowBits(int n) {
  return n <= 0 ? 0ull : n >= 64 ? ~0ull : (1ull << n) - 1;
}

/// Writes -infinity to the scores of one block of 64 keys that its rows do not see. `s` points at the block's 32 scores.
template <int base, bool partials, int headDim>
__device__ __forceinline__ void maskBlock(Rows<headDim>& r, const Stage& stage, int block, int half,
                                          const AttentionParameters& a) {
  const int lane = threadIdx.x & 31, q = 2 * (lane & 3);
  const int firstRow = stage.row[half] + (threadIdx.x >> 5 & 3) * 16 + (lane >> 2);
  const int position = stage.position[block];
  const bool partial = partials && (stage.partial >> (2 * block + half) & 1);
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int row = firstRow + 8 * j;
    unsigned long long seen;
    if (position >= 0) {
      const int last = row - position;
      seen = lowBits(last + 1) & ~lowBits(last - a.window + 1);
    } else {
      seen = (unsigned long long)stage.mask[block][half][1] << 32 | stage.mask[block][half][0];
      if (partial) {
        const int* columns = a.heads[stage.head[0]].columns + ~position;
        for (int b = 0; b < 64; b += 8)
          for (int e = 0; e < 2; ++e)
            if ((seen >> (b + q + e) & 1) && row - columns[b + q + e] >= a.window) seen &= ~(1ull << (b + q + e));
      }
    }
    seen >>= q;
    const unsigned words[2] = {(unsigned)seen, (unsigned)(seen >> 32)};
#pragma unroll
    for (int b = 0; b < 8; ++b)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (!(words[b >> 2] >> (8 * (b & 3) + e) & 1)) r.s[base + 4 * b + 2 * j + e] = -infinity();
  }
}

template <int headDim, int stages, int queryBuffers> struct Consumer {
  using Layout = SharedLayout<headDim, stages, queryBuffers>;

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
    // The maximum moves only when a row exceeds it by more than 2^8: weights stay far inside the range of bf16 and fp32, and
    // most stages then leave the output as it is.
    keep = MI_SLACK && __all_sync(0xffffffffu, (top[0] - r.maximum[0]) * scale <= 8.0f && (top[1] - r.maximum[1]) * scale <= 8.0f);
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
    const bool turns = MI_PINGPONG && (use & 5) && (use & 10);
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

  static __device__ __forceinline__ void store(Rows<headDim>& r, const AttentionParameters& a, int firstRow, int head) {
    const int lane = threadIdx.x & 31, q = lane & 3;
    float scale[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float sum = quadSum(r.sum[j]);
      scale[j] = sum > 0.0f ? 1.0f / sum : 0.0f;
      const int row = firstRow + (threadIdx.x >> 5 & 3) * 16 + (lane >> 2) + 8 * j - a.firstPosition;
      const bool inside = row >= 0 && row < a.rows;
      if (inside && q == 0 && a.logSumExp)
        a.logSumExp[(long long)row * a.queryHeads + head] =
            sum > 0.0f ? (r.maximum[j] * a.scaleLog2 + log2Approximate(sum)) * ln2 : -infinity();
      bf16* to = a.o + (long long)row * a.oStride + (long long)head * headDim;
      // Four threads hold a row, two columns of every eight; after the exchange each holds eight columns that lie together.
#pragma unroll
      for (int group = 0; group < headDim / 32; ++group) {
        unsigned x[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int b = 4 * (4 * group + i) + 2 * j;
          x[i] = toBF16Pair(r.o[b] * scale[j], r.o[b + 1] * scale[j]);
        }
        unsigned y[4];
        // Transposes the 4 x 4 pairs of the quad: thread q gives its pair of block i to thread i.
        {
          const unsigned s0 = q & 1 ? x[0] : x[1], s1 = q & 1 ? x[2] : x[3];
          const unsigned r0 = __shfl_xor_sync(0xffffffffu, s0, 1), r1 = __shfl_xor_sync(0xffffffffu, s1, 1);
          y[0] = q & 1 ? r0 : x[0];
          y[1] = q & 1 ? x[1] : r0;
          y[2] = q & 1 ? r1 : x[2];
          y[3] = q & 1 ? x[3] : r1;
          const unsigned s2 = q & 2 ? y[0] : y[2], s3 = q & 2 ? y[1] : y[3];
          const unsigned r2 = __shfl_xor_sync(0xffffffffu, s2, 2), r3 = __shfl_xor_sync(0xffffffffu, s3, 2);
          x[0] = q & 2 ? r2 : y[0];
          x[1] = q & 2 ? r3 : y[1];
          x[2] = q & 2 ? y[2] : r2;
          x[3] = q & 2 ? y[3] : r3;
        }
        if (inside) *(uint4*)(to + 32 * group + 8 * q) = make_uint4(x[0], x[1], x[2], x[3]);
      }
    }
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
    if (MI_PINGPONG && half == 1) barrierArrive(1, 256);
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

template <int headDim>
__device__ __forceinline__ void attention(const AttentionParameters& a, const HopperParameters& h, const TensorMap& queries,
    const TensorMap& keys, const TensorMap& values, const TensorMap& columnKeys, const TensorMap& columnValues) {
  constexpr int stages = MI_STAGES, queryBuffers = MI_QUERY_BUFFERS;
  using Layout = SharedLayout<headDim, stages, queryBuffers>;
  extern __shared__ unsigned char memory[];
  const unsigned start = sharedAddress(memory), shared = (start + 1023) & ~1023u;
  Stage* info = (Stage*)(memory + (shared - start) + Layout::info);
  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; ++i) {
      barrierInitialize(shared + Layout::fullKeys + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyKeys + 8 * i, 8);
      barrierInitialize(shared + Layout::fullValues + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyValues + 8 * i, 8);
    }
    for (int i = 0; i < queryBuffers; ++i) {
      barrierInitialize(shared + Layout::fullQueries + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyQueries + 8 * i, 8);
    }
    for (int i = 0; i < Layout::queueDepth; ++i) {
      barrierInitialize(shared + Layout::fullQueue + 8 * i, 1);
      barrierInitialize(shared + Layout::emptyQueue + 8 * i, 1);
    }
    barrierInitializationFence();
  }
  __syncthreads();
  const int group = __shfl_sync(0xffffffffu, threadIdx.x >> 7, 0);
  if (group == 0) {
    releaseRegisters<MI_PRODUCER_REGISTERS>();
    Stage* queue = (Stage*)((unsigned char*)info + Layout::queue - Layout::info);
    if (threadIdx.x < 32) {
      Loader<headDim, stages, queryBuffers>::run(
          a, shared, (unsigned*)queue, (unsigned*)info, queries, keys, values, columnKeys, columnValues);
    } else if (threadIdx.x < 64) {
      Planner<headDim, stages, queryBuffers> p{a, h, shared, queue,
          (unsigned*)((unsigned char*)info + Layout::waitingMasks - Layout::info)};
      p.slot = p.slotPhase = 0;
      const int lane = threadIdx.x & 31, count = workItems(a, h);
      int index = lane == 0 ? (int)atomicAdd(h.counter, 1u) : 0;
      index = __shfl_sync(0xffffffffu, index, 0);
      while (index < count) {
        const int next = lane == 0 ? (int)atomicAdd(h.counter, 1u) : 0;
        p.run(index);
        index = __shfl_sync(0xffffffffu, next, 0);
      }
      if (lane == 0 && index == count + (int)gridDim.x - 1) *h.counter = 0;  // the last one to ask
      p.emitEnd();
    }
  } else {
    claimRegisters<MI_CONSUMER_REGISTERS>();
    Consumer<headDim, stages, queryBuffers>::run(a, shared, info, group - 1);
  }
}

/// Copies the columns of every head to consecutive rows, up to the next multiple of 64 with zeros.
template <int headDim>
__device__ __forceinline__ void gatherColumns(const AttentionParameters& a, bf16* columnKeys, bf16* columnValues, int maximum) {
  const int head = blockIdx.y;
  const HeadPlan& plan = a.heads[head];
  const int i = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
  if (plan.kind == 0 || i >= (plan.columnCount + 63 & ~63)) return;
  constexpr int chunks = headDim / 8;
  const long long from = (long long)(head / a.groupSize) * a.kvHeadStride
      + (i < plan.columnCount ? (long long)plan.columns[i] * headDim : 0);
  const long long to = ((long long)head * maximum + i) * headDim;
  for (int chunk = lane; chunk < 2 * chunks; chunk += 32) {
    const int part = 8 * (chunk % chunks);
    const uint4 x = i < plan.columnCount ? *(const uint4*)((chunk < chunks ? a.k : a.v) + from + part) : make_uint4(0, 0, 0, 0);
    *(uint4*)((chunk < chunks ? columnKeys : columnValues) + to + part) = x;
  }
}

}  // namespace mi

#define MI_HOPPER(D)                                                                                             \
  extern "C" __global__ void __launch_bounds__(384, 1) attention_hopper_d##D(                                    \
      const __grid_constant__ AttentionParameters a, const __grid_constant__ HopperParameters h,                 \
      const __grid_constant__ TensorMap queries, const __grid_constant__ TensorMap keys,                         \
      const __grid_constant__ TensorMap values, const __grid_constant__ TensorMap columnKeys,                    \
      const __grid_constant__ TensorMap columnValues) {                                                          \
    mi::attention<D>(a, h, queries, keys, values, columnKeys, columnValues);                                     \
  }                                                                                                              \
  extern "C" __global__ void __launch_bounds__(256) gather_columns_d##D(                                         \
      const __grid_constant__ AttentionParameters a, bf16* columnKeys, bf16* columnValues, int maximumColumns) { \
    mi::gatherColumns<D>(a, columnKeys, columnValues, maximumColumns);                                           \
  }

MI_HOPPER(64)
MI_HOPPER(128)
