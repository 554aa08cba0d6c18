// Products of few rows with the matrices of their experts: a warp computes one output of one position, and reads the weights as they
// are stored.
#ifndef MI_FEW_EXPERT_ROWS_CUH
#define MI_FEW_EXPERT_ROWS_CUH

#include "expert_tiles.cuh"
#include "numbers.cuh"

namespace mi {

/// Eight elements of x from `first` on; e4m3 without its row's factor.
__device__ __forceinline__ void readInput(const ExpertProduct& p, long long row, int first, float (&values)[8]) {
  if (!p.xScales) return AsBf16::load8((const bf16*)p.x + row * p.inputs + first, values);
  const uint2 words = *(const uint2*)((const unsigned char*)p.x + row * p.inputs + first);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const unsigned word = i == 0 ? words.x : words.y;
    const unsigned even = fp8HighBytesToBF16Pair(word << 8 & 0xff00ff00u), odd = fp8HighBytesToBF16Pair(word & 0xff00ff00u);
    values[4 * i] = lowFloat(even), values[4 * i + 1] = lowFloat(odd);
    values[4 * i + 2] = highFloat(even), values[4 * i + 3] = highFloat(odd);
  }
}

/// A format is one of blocks.cuh's, or of dense elements. `experts`: the expert of each position.
template <typename Format, bool gated>
__device__ __forceinline__ void fewExpertRows(const ExpertProduct& p, const int* experts) {
  const int output = blockIdx.x * 8 + (threadIdx.x >> 5);
  if (output >= p.outputs) return;
  const int position = blockIdx.y, lane = threadIdx.x & 31;
  const long long row = (long long)experts[position] * p.outputs + output;
  const long long rowBytes = (long long)(p.inputs / Format::elements) * Format::bytes;
  const unsigned char* weight = (const unsigned char*)p.weight + row * rowBytes;
  const unsigned char* up = (const unsigned char*)p.up + row * rowBytes;
  float sum = 0.0f, upSum = 0.0f;
#pragma unroll 4
  for (int first = lane * 8; first < p.inputs; first += 32 * 8) {
    const long long block = (long long)(first / Format::elements) * Format::bytes;
    float x[8], w[8];
    readInput(p, position, first, x);
    Format::read8(weight + block, first % Format::elements, w);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += x[i] * w[i];
    if (gated) {
      Format::read8(up + block, first % Format::elements, w);
#pragma unroll
      for (int i = 0; i < 8; ++i) upSum += x[i] * w[i];
    }
  }
  sum = warpSum(sum);
  if (gated) upSum = warpSum(upSum);
  if (lane != 0) return;
  const float factor = p.xScales ? p.xScales[position] : 1.0f;
  sum *= p.weightScales ? factor * p.weightScales[row] : factor;
  if (p.bias) sum += p.bias[row];
  if (gated) {
    upSum *= p.upScales ? factor * p.upScales[row] : factor;
    if (p.upBias) upSum += p.upBias[row];
    sum = gatedOutput(p, sum, upSum);
  }
  AsBf16::store(p.y + (long long)position * p.outputs + output, sum);
}

}  // namespace mi

// few_expert_linear_FORMAT and few_gated_experts_FORMAT: as expert_linear and gated_experts, for few positions. The weights are in the
// format; x is e4m3 where it has factors, else bf16. Grid: (outputs + 7) / 8, positions; 256 threads. Parameters: ExpertProduct, const
// int* experts.
#define MI_FEW_EXPERT_ROWS(name, Format)                                                                          \
  extern "C" __global__ void __launch_bounds__(256)                                                               \
      few_expert_linear_##name(const __grid_constant__ ExpertProduct p, const int* experts) {                    \
    fewExpertRows<Format, false>(p, experts);                                                                     \
  }                                                                                                               \
  extern "C" __global__ void __launch_bounds__(256)                                                               \
      few_gated_experts_##name(const __grid_constant__ ExpertProduct p, const int* experts) {                    \
    fewExpertRows<Format, true>(p, experts);                                                                      \
  }

#endif
