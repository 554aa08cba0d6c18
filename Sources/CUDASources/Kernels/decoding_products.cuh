// Products of a decoding step: what a launch computes, and what is done with its sums.
#ifndef MI_DECODING_PRODUCTS_CUH
#define MI_DECODING_PRODUCTS_CUH

#include "layouts.cuh"
#include "numbers.cuh"

namespace mi {

/// A matrix and where its product goes.
struct DecodingMatrix {
  const void* weight;  ///< [outputs][inputs]
  /// Factors of e4m3: of output o and input i scales[(firstRow + o) / scaleRows * scalesAcross + i / scaleColumns].
  const float* scales;
  const float* bias;  ///< [outputs], or null
  void* y;            ///< [rows][outputs]
  int outputs;
  int scaleRows, scaleColumns, scalesAcross, firstRow;
  int role;  ///< `HeadRole`, where the product is stored as heads
};
MI_CHECK_LAYOUT(DecodingMatrix);

/// y = norm(x) * transpose(weight) + bias of up to three matrices, or silu(gate) * up of the first two.
struct DecodingProduct {
  const bf16* x;      ///< [rows][inputs], 16-byte aligned
  const float* norm;  ///< [inputs], or null: x as it is
  DecodingMatrix matrices[3];
  int rows;    ///< up to 8
  int inputs;  ///< a multiple of 8; e4m3: of 16
  int isGated;
  int isWide;      ///< y is fp32, else bf16
  int accumulate;  ///< added to what y holds
  int parts;       ///< warps that share an output; blocks of GGUF alone
  float epsilon;
};
MI_CHECK_LAYOUT(DecodingProduct);

/// Eight inputs of a row, as they are.
struct RowInputs {
  __device__ __forceinline__ uint4 operator()(const DecodingProduct& p, int row, int input) const {
    return *(const uint4*)(p.x + (long long)row * p.inputs + input);
  }
};

/// Stores a product of one row.
struct StoreRow {
  static constexpr bool storesHeads = false;

  /// What is read before the sums are there.
  struct Prepared {
    float before;
  };

  __device__ __forceinline__ int halfHead() const { return 0; }
  __device__ __forceinline__ Prepared prepare(const DecodingProduct& p, const DecodingMatrix& m, int row, int output) const;
  __device__ __forceinline__ void operator()(const DecodingProduct& p, const DecodingMatrix& m, int row, int output,
      float result, float other, const Prepared& prepared) const;
};

/// Sixteen bytes that no kernel writes and that are used once.
__device__ __forceinline__ uint4 loadWeights(const void* from) {
  uint4 x;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
      : "l"(from));
  return x;
}

/// The result of one output of one row. `before`: what y holds, where that is added.
__device__ __forceinline__ void storeProduct(
    const DecodingProduct& p, const DecodingMatrix& m, int row, int output, float sum, float before) {
  const long long place = (long long)row * m.outputs + output;
  if (p.isWide) {
    ((float*)m.y)[place] = before + sum;
  } else {
    AsBf16::store((bf16*)m.y + place, before + sum);
  }
}

__device__ __forceinline__ float previousValue(
    const DecodingProduct& p, const DecodingMatrix& m, int row, int output) {
  if (!p.accumulate) return 0.0f;
  const long long place = (long long)row * m.outputs + output;
  return p.isWide ? ((const float*)m.y)[place] : AsBf16::load((const bf16*)m.y + place);
}

__device__ __forceinline__ StoreRow::Prepared StoreRow::prepare(
    const DecodingProduct& p, const DecodingMatrix& m, int row, int output) const {
  return {previousValue(p, m, row, output)};
}

__device__ __forceinline__ void StoreRow::operator()(const DecodingProduct& p, const DecodingMatrix& m, int row, int output,
    float result, float, const Prepared& prepared) const {
  storeProduct(p, m, row, output, result, prepared.before);
}

__device__ __forceinline__ float siluTimes(float gate, float up) { return __fdividef(gate, 1.0f + __expf(-gate)) * up; }

}  // namespace mi

#endif
