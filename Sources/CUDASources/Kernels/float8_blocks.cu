// Matrices of e4m3 with a factor for each block of so many rows and columns, as Hugging Face's checkpoints hold them: a matrix as bf16
// into scratch memory before a product of many rows, and products of few rows straight from the bytes. The same of the matrices of
// experts, which lie one behind the other, as their factors do. Sums and products are fp32, results are rounded to nearest.

#include "expert_tiles.cuh"
#include "few_rows.cuh"
#include "numbers.cuh"

using namespace mi;

namespace {

constexpr int threads = 256;

/// Where the factors lie. Blocks are a multiple of 8 columns wide, or as wide as the matrix.
struct Factors {
  const float* values;
  int rows, columns;
  /// Blocks beside each other, and the row of the whole matrix that row 0 is.
  int across, firstRow;

  __device__ __forceinline__ float at(int row, int column) const {
    return values[(long long)((firstRow + row) / rows) * across + column / columns];
  }
};

/// Eight elements of a row, times their factor.
__device__ __forceinline__ void read8(
    const unsigned char* bytes, long long place, float factor, float (&values)[8]) {
  const uint2 eight = *(const uint2*)(bytes + place);
  const unsigned word[2] = {eight.x, eight.y};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    unsigned low, high;
    fp8ToF16Pairs(word[i], low, high);
    unpackFp16(low, values[4 * i], values[4 * i + 1]);
    unpackFp16(high, values[4 * i + 2], values[4 * i + 3]);
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] *= factor;
}

/// A warp computes one output of one position. `each`: factors of a matrix.
template <bool gated>
__device__ __forceinline__ void fewExpertRows(
    const ExpertProduct& p, const int* experts, int blockRows, int blockColumns, int across, int each) {
  const int output = blockIdx.x * (threads / 32) + (threadIdx.x >> 5);
  if (output >= p.outputs) return;
  const int position = blockIdx.y, expert = experts[position];
  const long long row = ((long long)expert * p.outputs + output) * p.inputs;
  const unsigned char* weight = (const unsigned char*)p.weight;
  const unsigned char* up = (const unsigned char*)p.up;
  const Factors factors = {p.weightScales + (long long)expert * each, blockRows, blockColumns, across, 0};
  const Factors upFactors = {p.upScales + (long long)expert * each, blockRows, blockColumns, across, 0};
  const bf16* x = (const bf16*)p.x + (long long)position * p.inputs;
  float sum = 0.0f, upSum = 0.0f;
#pragma unroll 2
  for (int first = (threadIdx.x & 31) * 8; first < p.inputs; first += 32 * 8) {
    float values[8], weights[8];
    AsBf16::load8(x + first, values);
    read8(weight, row + first, factors.at(output, first), weights);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += values[i] * weights[i];
    if (gated) {
      read8(up, row + first, upFactors.at(output, first), weights);
#pragma unroll
      for (int i = 0; i < 8; ++i) upSum += values[i] * weights[i];
    }
  }
  sum = warpSum(sum);
  if (gated) upSum = warpSum(upSum);
  if ((threadIdx.x & 31) != 0) return;
  const long long own = (long long)experts[position] * p.outputs + output;
  if (p.bias) sum += p.bias[own];
  if (gated && p.upBias) upSum += p.upBias[own];
  if (gated) sum = gatedOutput(p, sum, upSum);
  AsBf16::store(p.y + (long long)position * p.outputs + output, sum);
}

}  // namespace

// y = the elements of `rows` rows. bytes: [rows][width], 8-byte aligned, width a multiple of 8; y: the same shape, 16-byte aligned.
// Grid: (rows * width / 8 + 255) / 256 blocks of 256 threads.
// Parameters: bytes, y, long long groups (rows * width / 8), int width, factors, int blockRows, int blockColumns, int across,
// int firstRow.
extern "C" __global__ void __launch_bounds__(256) dequantise_float8(
    const unsigned char* bytes, bf16* y, long long groups, int width, const float* factors, int blockRows, int blockColumns,
    int across, int firstRow) {
  const long long group = (long long)blockIdx.x * threads + threadIdx.x;
  if (group >= groups) return;
  const Factors scales = {factors, blockRows, blockColumns, across, firstRow};
  const int row = (int)(group / (width / 8)), column = (int)(group % (width / 8)) * 8;
  float values[8];
  read8(bytes, group * 8, scales.at(row, column), values);
  AsBf16::store8(y + group * 8, values);
}

// y = x * transpose(weight) + bias, added to what y holds if `accumulate`. x: [rows][in], up to 8 rows, 16-byte aligned; weight:
// [out][in], 8-byte aligned, in a multiple of 8; bias: [out] fp32, or null; y: [rows][out], fp32 if `isWide`, else bf16. A warp
// computes one output of all rows. Grid: (out + 7) / 8 blocks of 256 threads.
// Parameters: x, bytes, bias, y, int rows, int in, int out, int accumulate, int isWide, factors, int blockRows, int blockColumns,
// int across, int firstRow.
extern "C" __global__ void __launch_bounds__(256) linear_float8(
    const bf16* x, const unsigned char* bytes, const float* bias, void* y, int rows, int in, int out, int accumulate, int isWide,
    const float* factors, int blockRows, int blockColumns, int across, int firstRow) {
  const int o = blockIdx.x * (threads / 32) + (threadIdx.x >> 5);
  if (o >= out) return;
  const Factors scales = {factors, blockRows, blockColumns, across, firstRow};
  FewRows products;
#pragma unroll 2
  for (int first = (threadIdx.x & 31) * 8; first < in; first += 32 * 8) {
    float weights[8];
    read8(bytes, (long long)o * in + first, scales.at(o, first), weights);
    products.add(weights, x, rows, in, first);
  }
  products.store(bias, y, rows, out, o, accumulate, isWide);
}

// The elements of the matrices of experts, [matrices][rows][width], into y, [matrices][rows][width]. Grid: (groups + 255) / 256,
// matrices; 256 threads. Parameters: bytes, y, int groups (rows * width / 8), int width, factors, int blockRows, int blockColumns,
// int across, int each (factors of a matrix).
extern "C" __global__ void __launch_bounds__(256) dequantise_experts_float8(
    const unsigned char* bytes, bf16* y, int groups, int width, const float* factors, int blockRows, int blockColumns, int across,
    int each) {
  const int group = blockIdx.x * threads + threadIdx.x;
  if (group >= groups) return;
  const Factors scales = {factors + (long long)blockIdx.y * each, blockRows, blockColumns, across, 0};
  const int row = group / (width / 8), column = group % (width / 8) * 8;
  const long long place = ((long long)blockIdx.y * groups + group) * 8;
  float values[8];
  read8(bytes, place, scales.at(row, column), values);
  AsBf16::store8(y + place, values);
}

// As few_expert_linear and few_gated_experts of expert_products.cu; weightScales and upScales are the factors of blocks. Grid:
// (outputs + 7) / 8, positions; 256 threads. Parameters: ExpertProduct, const int* experts, int blockRows, int blockColumns,
// int across, int each (factors of a matrix).
extern "C" __global__ void __launch_bounds__(256) few_expert_linear_float8(
    const __grid_constant__ ExpertProduct p, const int* experts, int blockRows, int blockColumns, int across, int each) {
  fewExpertRows<false>(p, experts, blockRows, blockColumns, across, each);
}
extern "C" __global__ void __launch_bounds__(256) few_gated_experts_float8(
    const __grid_constant__ ExpertProduct p, const int* experts, int blockRows, int blockColumns, int across, int each) {
  fewExpertRows<true>(p, experts, blockRows, blockColumns, across, each);
}
