// Products of few rows with a matrix in a format of its own: a warp computes one output of all rows, and reads each weight once.
#ifndef MI_FEW_ROWS_CUH
#define MI_FEW_ROWS_CUH

#include "numbers.cuh"

namespace mi {

/// Sums of one output, a row each; every lane has a part of them.
struct FewRows {
  /// Rows of x that one product takes.
  static constexpr int most = 8;
  float sums[most];

  __device__ __forceinline__ FewRows() {
#pragma unroll
    for (int r = 0; r < most; ++r) sums[r] = 0.0f;
  }

  /// Adds eight weights of the output, from column `first` on, times those of each row of x, [rows][in].
  __device__ __forceinline__ void add(const float (&weights)[8], const bf16* x, int rows, int in, int first) {
#pragma unroll
    for (int r = 0; r < most; ++r) {
      if (r >= rows) break;
      float values[8];
      AsBf16::load8(x + (long long)r * in + first, values);
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[r] += weights[i] * values[i];
    }
  }

  /// y[r][output] = the sum of all lanes + bias, added to what y holds if `accumulate`. y: [rows][out], fp32 if `isWide`, else bf16;
  /// bias: [out], or null. Called by the whole warp.
  __device__ __forceinline__ void store(
      const float* bias, void* y, int rows, int out, int output, int accumulate, int isWide) const {
#pragma unroll
    for (int r = 0; r < most; ++r) {
      if (r >= rows) break;
      float sum = warpSum(sums[r]);
      if ((threadIdx.x & 31) != 0) continue;
      if (bias) sum += bias[output];
      const long long place = (long long)r * out + output;
      if (isWide) {
        float* to = (float*)y + place;
        *to = accumulate ? *to + sum : sum;
      } else {
        bf16* to = (bf16*)y + place;
        AsBf16::store(to, accumulate ? AsBf16::load(to) + sum : sum);
      }
    }
  }
};

}  // namespace mi

#endif
