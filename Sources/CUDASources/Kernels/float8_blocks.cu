// Matrices of e4m3 with a factor for each block of so many rows and columns, as Hugging Face's checkpoints hold them: a matrix as bf16
// into scratch memory before a product of many rows, and products of few rows straight from the bytes. Sums and products are fp32,
// results are rounded to nearest.

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
