// Where the single row of a decoding step comes from and goes to without a launch of its own: from what splits of attention have left, to
// queries and a cache.
#ifndef MI_DECODING_ROW_CUH
#define MI_DECODING_ROW_CUH

#include "decoding_heads.cuh"
#include "decoding_products.cuh"

namespace mi {

/// What a matrix of a product with heads gives.
struct HeadRole {
  static constexpr int query = 1, key = 2, value = 3;
};

/// Stores what a product gives as elements `element` and `element` + headDim / 2 of a head, which are turned together: no norms, and
/// every element turned, in halves.
struct StoreHeads {
  static constexpr bool storesHeads = true;

  const DecodingHeads& a;

  __device__ __forceinline__ int halfHead() const { return a.headDim / 2; }

  /// Where the first of the two goes, and their angle's cosine and sine.
  struct Prepared {
    bf16* target;
    float2 turn;
  };

  __device__ __forceinline__ Prepared prepare(const DecodingProduct&, const DecodingMatrix& m, int row, int output) const {
    const int head = output / a.headDim, element = output - head * a.headDim, position = a.positions[row];
    Prepared prepared = {nullptr, make_float2(1.0f, 0.0f)};
    if (m.role == HeadRole::query) {
      prepared.target = a.q + ((long long)row * a.queryHeads + head) * a.headDim + element;
    } else {
      const SequenceRow& sequence = a.sequences[row];
      prepared.target = (bf16*)(m.role == HeadRole::key ? sequence.k : sequence.v) + head * sequence.kvHeadStride +
          (long long)position * a.headDim + element;
    }
    if (m.role != HeadRole::value) {
      prepared.turn = cosineAndSine(__fmul_rn((float)position, a.inverseFrequencies[element]));
      prepared.turn.x *= a.attentionScaling;
      prepared.turn.y *= a.attentionScaling;
    }
    return prepared;
  }

  __device__ __forceinline__ void operator()(const DecodingProduct&, const DecodingMatrix& m, int, int, float result,
      float other, const Prepared& prepared) const {
    // Rounded where rows are that are turned apart.
    const float x = toFloat(toBF16(result)), y = toFloat(toBF16(other));
    const float2 turn = prepared.turn;
    const bool isTurned = m.role != HeadRole::value;
    prepared.target[0] = toBF16(isTurned ? x * turn.x - y * turn.y : x);
    prepared.target[a.headDim / 2] = toBF16(isTurned ? y * turn.x + x * turn.y : y);
  }
};

/// Inputs that the splits of attention of one row have left, merged as `combineHead` does it. Every block reads them all: there are few.
struct PartialInputs {
  const RowAttentionParameters& a;

  __device__ __forceinline__ uint4 operator()(const DecodingProduct& p, int, int input) const {
    constexpr int batch = 4;
    const int dims = p.inputs / a.queryHeads, head = input / dims;
    const long long count = a.queryHeads;
    const float4* partials = (const float4*)(a.workspace + (long long)head * dims + input % dims);
    const float2* statistics = (const float2*)(a.workspace + a.splits * count * dims) + head;
    float top = -infinity();
    for (int s = 0; s < a.splits; ++s) top = fmaxf(top, statistics[s * count].x);
    const float reference = top == -infinity() ? 0.0f : top;
    float r[8] = {}, total = 0.0f;
    for (int first = 0; first < a.splits; first += batch) {
      float2 part[batch];
      float4 low[batch], high[batch];
#pragma unroll
      for (int i = 0; i < batch; ++i) {
        const int split = min(first + i, a.splits - 1);
        part[i] = statistics[split * count];
        low[i] = partials[split * count * dims / 4];
        high[i] = partials[split * count * dims / 4 + 1];
      }
#pragma unroll
      for (int i = 0; i < batch; ++i) {
        if (first + i >= a.splits) break;
        const float weight = exp2Approximate(part[i].x - reference);
        total += weight * part[i].y;
        r[0] += weight * low[i].x, r[1] += weight * low[i].y, r[2] += weight * low[i].z, r[3] += weight * low[i].w;
        r[4] += weight * high[i].x, r[5] += weight * high[i].y, r[6] += weight * high[i].z, r[7] += weight * high[i].w;
      }
    }
    const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
    return make_uint4(toBF16Pair(r[0] * inverse, r[1] * inverse), toBF16Pair(r[2] * inverse, r[3] * inverse),
        toBF16Pair(r[4] * inverse, r[5] * inverse), toBF16Pair(r[6] * inverse, r[7] * inverse));
  }
};

}  // namespace mi

#endif
