// The consumer warpgroups of attention with fp8 operands. The order of work is that of
// hopper_consumer.cuh: while the weights of one stage meet their values, a warpgroup computes the
// exponentials of the next, and the two warpgroups take turns. Sums that grew in the tensor cores
// for a while are added up in fp32, in shared memory, because those keep 14 bits.
//
// One kind of step is what ptxas keeps its products apart for; with several it runs them one after
// the other (its note C7511).

#pragma once

#include "hopper_fp8_plan.cuh"
#include "hopper_rows.cuh"

namespace mi {

struct Fp8State {
  float s[64];               // scores, then weights, of 64 x 128 keys
  float o[64];               // output since the last hand-over to the totals
  unsigned p[16];            // weights as A fragments
  unsigned q[16];            // queries likewise
  float maximum[2], sum[2];  // of rows g and g + 8, scores in the product's own units; the sum is
                             // this thread's share
  float scale[2];            // from there to log2
  float since[2];            // by which the totals are to be multiplied
  int pending;               // stages in o
  bool totals;               // the totals hold something
};

struct Fp8Consumer {
  using Layout = Fp8Layout;

  /// Queries to A fragments.
  static __device__ __forceinline__ void loadQueries(Fp8State& r, const unsigned char* queries) {
    const int row = (threadIdx.x >> 5 & 3) * 16 + (threadIdx.x >> 2 & 7);
    const unsigned char* from = queries + row * 128 + 4 * (threadIdx.x & 3);
#pragma unroll
    for (int i = 0; i < 16; ++i)
      r.q[i] = *(const unsigned*)(from + (i & 1) * 1024 + (((i >> 1) ^ (row & 7)) << 4));
  }

  /// s = q k^T.
  static __device__ __forceinline__ void scores(Fp8State& r, unsigned keys) {
    const unsigned long long b = operand(keys, 0, 1024);
#pragma unroll
    for (int step = 0; step < 4; ++step)
      multiplyFp8(r.s, r.q[4 * step], r.q[4 * step + 1], r.q[4 * step + 2], r.q[4 * step + 3],
          b + 2 * step, step > 0);
  }

  /// o += p v, or = at the begin of a window.
  static __device__ __forceinline__ void accumulate(Fp8State& r, unsigned values) {
    const unsigned long long b = operand64(values);
#pragma unroll
    for (int step = 0; step < 4; ++step)
      multiplyFp8(r.o, r.p[4 * step], r.p[4 * step + 1], r.p[4 * step + 2], r.p[4 * step + 3],
          b + ((step >> 1) * fp8BlockBytes + (step & 1) * 32 >> 4), step > 0 ? 1 : r.pending);
  }

  /// Writes -infinity to the scores of one block that its rows do not see.
  template <int base>
  static __device__ __forceinline__ void mask(
      Fp8State& r, const Stage& stage, int block, int half, const AttentionParameters& a) {
    const int lane = threadIdx.x & 31, q = 2 * (lane & 3);
    const int firstRow = stage.row[half] + (threadIdx.x >> 5 & 3) * 16 + (lane >> 2);
    const int position = stage.position[block];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const bool tile = position < columnBlock;
      const int last = tile ? firstRow + 8 * j - position : 63,
                first = tile ? last - a.window + 1 : 0;
      unsigned long long seen =
          (unsigned long long)stage.mask[block][half][1] << 32 | stage.mask[block][half][0];
      seen = (seen & lowBits(last + 1) & ~lowBits(first)) >> q;
      const unsigned words[2] = {(unsigned)seen, (unsigned)(seen >> 32)};
#pragma unroll
      for (int b = 0; b < 8; ++b)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (!(words[b >> 2] >> (8 * (b & 3) + e) & 1))
            r.s[base + 4 * b + 2 * j + e] = -infinity();
    }
  }

  /// Hands o over to the totals.
  static __device__ __forceinline__ void handOver(Fp8State& r, float4* total) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float4 x = make_float4(0, 0, 0, 0);
      if (r.totals) x = total[128 * i];
      x.x = x.x * r.since[0] + r.o[4 * i];
      x.y = x.y * r.since[0] + r.o[4 * i + 1];
      x.z = x.z * r.since[1] + r.o[4 * i + 2];
      x.w = x.w * r.since[1] + r.o[4 * i + 3];
      total[128 * i] = x;
    }
    r.since[0] = r.since[1] = 1.0f;
    r.pending = 0;
    r.totals = true;
  }

  static __device__ __forceinline__ void softmax(Fp8State& r, float (&factor)[2], bool& keep) {
    float top[2] = {r.maximum[0], r.maximum[1]};
#pragma unroll
    for (int i = 0; i < 64; ++i) top[i >> 1 & 1] = fmaxf(top[i >> 1 & 1], r.s[i]);
    float shift[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) top[j] = quadMaximum(top[j]);
    keep = __all_sync(0xffffffffu,
        (top[0] - r.maximum[0]) * r.scale[0] <= Fp8Tile::slack &&
            (top[1] - r.maximum[1]) * r.scale[1] <= Fp8Tile::slack);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (keep) top[j] = r.maximum[j];
      const float level = top[j] == -infinity() ? 0.0f : top[j] * r.scale[j];
      factor[j] = exp2Approximate(r.maximum[j] * r.scale[j] - level);
      shift[j] = level - Fp8Tile::peak;
      r.maximum[j] = top[j];
      r.sum[j] *= factor[j];
    }
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      r.s[i] = exp2Approximate(r.s[i] * r.scale[i >> 1 & 1] - shift[i >> 1 & 1]);
      r.sum[i >> 1 & 1] += r.s[i];
    }
  }

  /// Adds what the stage before still owes to the output, and leaves no weights.
  static __device__ __forceinline__ void settle(Fp8State& r, unsigned values, unsigned empty) {
    runProducts(r.o, [&] { accumulate(r, values); });
    if ((threadIdx.x & 31) == 0) barrierArrive(empty);
    ++r.pending;
#pragma unroll
    for (int i = 0; i < 16; ++i) r.p[i] = 0;
  }

  /// One stage: its scores while the weights of the one before meet their values. Without one
  /// before, the weights are zero.
  static __device__ __forceinline__ void step(Fp8State& r, const AttentionParameters& a,
      float4* total, const Stage& current, int half, unsigned keys, unsigned values, bool before,
      unsigned empty, unsigned next, int nextPhase) {
    const bool leader = (threadIdx.x & 31) == 0;
    const int masked = current.edge >> half & Stage::anyBlock;
    const bool turns = current.use == bothHalves;
    if (turns) barrierSync(1 + half, 256);
    pin(r.s);
    pin(r.o);
    productsBegin();
    scores(r, keys);
    productsCommit();
    accumulate(r, values);
    productsCommit();
    if (turns) barrierArrive(2 - half, 256);
    productsWait<1>();
    pin(r.s);
    if (masked) {
      if (masked & Stage::firstBlock) mask<0>(r, current, 0, half, a);
      if (masked & Stage::secondBlock) mask<32>(r, current, 1, half, a);
    }
    float factor[2];
    bool keep;
    softmax(r, factor, keep);
    pin(r.s);
    pin(r.sum);
    // A loop ends a block of code: the exponentials stay before it, and so run under the products.
    barrierWait(next, nextPhase);
    productsWait<0>();
    pin(r.s);  // or the weights would be rounded while their registers are still read
    pin(r.o);
    if (before) {
      if (leader) barrierArrive(empty);
      ++r.pending;
    }
    if (r.pending >= Fp8Tile::window) handOver(r, total);
    if (!keep) {
      r.since[0] *= factor[0];
      r.since[1] *= factor[1];
#pragma unroll
      for (int i = 0; i < 64; ++i) r.o[i] *= factor[i >> 1 & 1];
    }
    pin(r.o);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int from = 16 * (i >> 2) + 8 * (i >> 1 & 1) + 2 * (i & 1);
      r.p[i] = packFp8(r.s[from], r.s[from + 1], r.s[from + 4], r.s[from + 5]);
    }
  }

  /// Divides, and writes the rows of the chunk and their log-sum-exp. `firstRow` is the position of
  /// the half's first row.
  static __device__ __forceinline__ void store(Fp8State& r, const AttentionParameters& a,
      const Fp8Rows& rows, float4* total, int half, int firstRow, int head) {
    const int lane = threadIdx.x & 31, q = lane & 3,
              inHalf = (threadIdx.x >> 5 & 3) * 16 + (lane >> 2);
    if (r.totals || r.pending == 0) {
      if (r.pending == 0) {
#pragma unroll
        for (int i = 0; i < 64; ++i) r.o[i] = 0.0f;
      }
      if (r.totals) {
#pragma unroll
        for (int i = 0; i < 16; ++i) {
          const float4 x = total[128 * i];
          r.o[4 * i] += x.x * r.since[0];
          r.o[4 * i + 1] += x.y * r.since[0];
          r.o[4 * i + 2] += x.z * r.since[1];
          r.o[4 * i + 3] += x.w * r.since[1];
        }
      }
    }
    float scale[2];
    bool any[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float sum = quadSum(r.sum[j]);
      any[j] = sum > 0.0f;
      scale[j] = any[j] ? rows.valueScale / sum : 0.0f;
      const int row = firstRow + inHalf + 8 * j - a.firstPosition;
      if (row >= 0 && row < a.rows && q == 0 && a.logSumExp)
        a.logSumExp[(long long)row * a.queryHeads + head] = any[j]
            ? (r.maximum[j] * r.scale[j] + rows.bias[64 * half + inHalf + 8 * j] +
                  log2Approximate(sum) - Fp8Tile::peak) *
                ln2
            : -infinity();
    }
#pragma unroll
    for (int group = 0; group < 4; ++group) {
      unsigned x[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 mean = *(const float2*)(rows.valueMean + 32 * group + 8 * i + 2 * q);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int b = 4 * (4 * group + i) + 2 * j;
          x[j][i] =
              any[j] ? toBF16Pair(r.o[b] * scale[j] + mean.x, r.o[b + 1] * scale[j] + mean.y) : 0u;
        }
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int row = firstRow + inHalf + 8 * j - a.firstPosition;
        transposeQuad(x[j]);
        if (row >= 0 && row < a.rows)
          *(uint4*)(a.o + (long long)row * a.oStride + (long long)head * 128 + 32 * group + 8 * q) =
              make_uint4(x[j][0], x[j][1], x[j][2], x[j][3]);
      }
    }
  }

  static __device__ __forceinline__ void run(const AttentionParameters& a, unsigned char* base,
      unsigned shared, const Stage* info, int half) {
    Fp8State r;
    const bool leader = (threadIdx.x & 31) == 0;
    float4* const total = (float4*)(base + Layout::totals + 32768 * half) + (threadIdx.x & 127);
    // As in hopper_consumer.cuh: barrier addresses that look different in every thread.
    const int zero = opaqueZero();
    int stage = 0, phase = 0, tileCount = 0;
    if (half == 1) barrierArrive(1, 256);
    barrierWait(shared + Layout::full, 0);
    int tile = info[0].tile;
    while (tile >= 0) {
      const int firstRow = info[stage].row[half], head = info[stage].head[half];
      const int buffer = tileCount % Layout::queryBuffers;
      const Fp8Rows& rows =
          *(const Fp8Rows*)(base + Layout::rows + (tileCount & 1) * sizeof(Fp8Rows));
      barrierWait(shared + Layout::fullQueries + 8 * buffer, tileCount / Layout::queryBuffers & 1);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        r.maximum[j] = -infinity();
        r.sum[j] = 0.0f;
        r.since[j] = 1.0f;
        r.scale[j] =
            rows.scale[64 * half + (threadIdx.x >> 5 & 3) * 16 + (threadIdx.x >> 2 & 7) + 8 * j];
      }
      loadQueries(r, base + buffer * Layout::queryBytes + half * Layout::halfQueryBytes);
      __syncwarp();
      if (leader) barrierArrive(shared + Layout::emptyQueries + 8 * buffer);
#pragma unroll
      for (int i = 0; i < 16; ++i) r.p[i] = 0;
      r.pending = 0;
      r.totals = false;
      bool before = false;
      int passed = 0;  // stages since the one whose values are still to come
      unsigned values = shared + Layout::keys + Layout::values, empty = 0;
      do {
        const Stage& current = info[stage];
        const bool own = current.use >> half & 1;
        const unsigned keys = shared + Layout::keys + stage * Layout::stageBytes;
        const unsigned nowEmpty = shared + Layout::empty + 8 * stage + zero;
        if (++stage == Layout::stages) stage = 0, phase ^= 1;
        const unsigned next = shared + Layout::full + 8 * stage + zero;
        if (own) {
          step(r, a, total, current, half, keys, values, before, empty, next, phase);
          before = true;
          passed = 0;
          values = keys + Layout::values;
          empty = nowEmpty;
        } else {
          // The ring would stand still if this half kept its last stage while it passes over too
          // many others.
          if (before && ++passed > Fp8Tile::mostPassed) {
            settle(r, values, empty);
            before = false;
          }
          if (leader) barrierArrive(nowEmpty);
          barrierWait(next, phase);
        }
      } while (info[stage].tile == tile);
      if (before) settle(r, values, empty);
      store(r, a, rows, total, half, firstRow, head);
      ++tileCount;
      tile = info[stage].tile;
    }
  }
};

}  // namespace mi
