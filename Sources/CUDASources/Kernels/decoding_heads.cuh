// What a decoding step does to the heads of its rows between the projections and attention: norms of queries and keys, rotary
// embedding, and storing of keys and values. Row r is the next token of sequence r.
//
// Results are rounded where the kernels of elementwise.cu and kv.cu round them: behind the norm, behind the rotation, and to e4m3.

#ifndef MI_DECODING_HEADS_CUH
#define MI_DECODING_HEADS_CUH

#include "fp8.cuh"
#include "layouts.cuh"
#include "numbers.cuh"
#include "row_attention_tile.cuh"
#include "rotation.cuh"

namespace mi {

struct DecodingHeads {
  bf16* q;        ///< [rows][queryHeads][headDim], changed in place
  const bf16* k;  ///< [rows][kvHeads][headDim]
  const bf16* v;
  const float* qNorm;  ///< [headDim], or null
  const float* kNorm;
  const float* inverseFrequencies;  ///< [pairs]
  const SequenceRow* sequences;     ///< [rows]
  const int* positions;             ///< [rows]
  int rows, queryHeads, kvHeads, headDim;
  int pairs;  ///< elements beyond 2 * pairs are not turned
  int isInterleaved, isFp8;
  float attentionScaling, epsilon;
};
MI_CHECK_LAYOUT(DecodingHeads);

/// Where the results of one head go: back to a row, or to a cache.
struct HeadTarget {
  bf16* numbers;
  fp8* bytes;  ///< of an e4m3 cache, else null
  float inverse;

  __device__ __forceinline__ void store(int element, float value) const {
    const bf16 rounded = toBF16(value);
    if (bytes) {
      bytes[element] = (fp8)packFp8(toFloat(rounded) * inverse, 0.0f);
    } else {
      numbers[element] = rounded;
    }
  }
};

/// Heads of q, k or v in all rows.
__device__ __forceinline__ int decodingHeadItems(const DecodingHeads& a) { return a.rows * (a.queryHeads + 2 * a.kvHeads); }

/// One head, by a warp.
__device__ __forceinline__ void decodingHead(const DecodingHeads& a, int item) {
  const int lane = threadIdx.x & 31, heads = a.queryHeads + 2 * a.kvHeads;
  const int row = item / heads, head = item - row * heads;
  const bool isQuery = head < a.queryHeads, isKey = !isQuery && head < a.queryHeads + a.kvHeads;
  const int kvHead = head - a.queryHeads - (isKey ? 0 : a.kvHeads);
  const int position = a.positions[row];

  const bf16* source;
  HeadTarget target = {nullptr, nullptr, 1.0f};
  if (isQuery) {
    target.numbers = a.q + ((long long)row * a.queryHeads + head) * a.headDim;
    source = target.numbers;
  } else {
    source = (isKey ? a.k : a.v) + ((long long)row * a.kvHeads + kvHead) * a.headDim;
    const SequenceRow& sequence = a.sequences[row];
    void* cache = (void*)(isKey ? sequence.k : sequence.v);
    const long long place = kvHead * sequence.kvHeadStride + (long long)position * a.headDim;
    if (a.isFp8) {
      target.bytes = (fp8*)cache + place;
      target.inverse = 1.0f / (isKey ? sequence.keyScales : sequence.valueScales)[kvHead];
    } else {
      target.numbers = (bf16*)cache + place;
    }
  }
  if (!isQuery && !isKey) {
    for (int i = lane; i < a.headDim; i += 32) target.store(i, toFloat(source[i]));
    return;
  }

  const float* norm = isQuery ? a.qNorm : a.kNorm;
  float scale = 1.0f;
  if (norm) {
    float squares = 0.0f;
    for (int i = lane; i < a.headDim; i += 32) {
      const float value = toFloat(source[i]);
      squares += value * value;
    }
    scale = 1.0f / sqrtf(warpSum(squares) / (float)a.headDim + a.epsilon);
  }
  // Elements are read by the lane that writes them alone, and after the sum above by all: nothing is read behind a write.
  auto read = [&](int element) {
    const float value = toFloat(source[element]);
    return norm ? toFloat(toBF16(value * (scale * norm[element]))) : value;
  };
  for (int pair = lane; pair < a.pairs; pair += 32) {
    const int first = a.isInterleaved ? 2 * pair : pair, second = a.isInterleaved ? first + 1 : pair + a.pairs;
    float2 turn = cosineAndSine(__fmul_rn((float)position, a.inverseFrequencies[pair]));
    turn.x *= a.attentionScaling;
    turn.y *= a.attentionScaling;
    const float x = read(first), y = read(second);
    target.store(first, x * turn.x - y * turn.y);
    target.store(second, y * turn.x + x * turn.y);
  }
  for (int i = 2 * a.pairs + lane; i < a.headDim; i += 32) target.store(i, read(i));
}

}  // namespace mi

#endif
