// Matrices of GGUF files: a layer's matrix as bf16 into scratch memory before a product of many rows, products of few rows
// straight from the blocks, and rows of an embedding. A kernel of each kind for every format; blocks.cuh reads the formats.
// Sums and products are fp32, results are rounded to nearest.

#include "blocks.cuh"
#include "few_rows.cuh"

using namespace mi;

namespace {

constexpr int threads = 256;

template <typename Format> __device__ __forceinline__ void dequantise(const byte* blocks, bf16* y, long long groups) {
  const long long group = (long long)blockIdx.x * threads + threadIdx.x;
  if (group >= groups) return;
  const long long first = group * 8;
  float values[8];
  Format::read8(blocks + first / Format::elements * Format::bytes, (int)(first % Format::elements), values);
  AsBf16::store8(y + first, values);
}

template <typename Format>
__device__ __forceinline__ void embedRow(const int* ids, const byte* table, bf16* x, int hidden) {
  const byte* row = table + (long long)ids[blockIdx.x] * (hidden / Format::elements) * Format::bytes;
  for (int first = threadIdx.x * 8; first < hidden; first += threads * 8) {
    float values[8];
    Format::read8(row + first / Format::elements * Format::bytes, first % Format::elements, values);
    AsBf16::store8(x + (long long)blockIdx.x * hidden + first, values);
  }
}

template <typename Format>
__device__ __forceinline__ void fewRowsLinear(
    const bf16* x, const byte* blocks, const float* bias, void* y, int rows, int in, int out, int accumulate, int isWide) {
  const int o = blockIdx.x * (threads / 32) + (threadIdx.x >> 5);
  if (o >= out) return;
  const byte* row = blocks + (long long)o * (in / Format::elements) * Format::bytes;
  FewRows products;
  for (int first = (threadIdx.x & 31) * 8; first < in; first += 32 * 8) {
    float weights[8];
    Format::read8(row + first / Format::elements * Format::bytes, first % Format::elements, weights);
    products.add(weights, x, rows, in, first);
  }
  products.store(bias, y, rows, out, o, accumulate, isWide);
}

}  // namespace

// dequantise_FORMAT: y = the elements of consecutive blocks. y: 8 * groups elements, 16-byte aligned. Grid: (groups + 255) / 256
// blocks of 256 threads. Parameters: blocks, y, long long groups.
//
// embed_FORMAT: x[r] = table[ids[r]]. ids: [rows], each inside the vocabulary; table: rows of `hidden` elements, a multiple of the
// format's block; x: [rows][hidden]. Grid: rows, 256 threads. Parameters: ids, table, x, int hidden.
//
// linear_FORMAT: y = x * transpose(weight) + bias, added to what y holds if `accumulate`. x: [rows][in], up to 8 rows, 16-byte
// aligned; weight: [out][in] in blocks; bias: [out] fp32, or null; y: [rows][out], fp32 if `isWide`, else bf16. Grid:
// (out + 7) / 8 blocks of 256 threads. Parameters: x, blocks, bias, y, int rows, int in, int out, int accumulate, int isWide.
#define MI_BLOCK_KERNELS(name, Format)                                                                        \
  extern "C" __global__ void __launch_bounds__(256)                                                           \
      dequantise_##name(const unsigned char* blocks, bf16* y, long long groups) {                             \
    dequantise<Format>(blocks, y, groups);                                                                    \
  }                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256)                                                           \
      embed_##name(const int* ids, const unsigned char* table, bf16* x, int hidden) {                         \
    embedRow<Format>(ids, table, x, hidden);                                                                  \
  }                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256) linear_##name(                                            \
      const bf16* x, const unsigned char* blocks, const float* bias, void* y, int rows, int in, int out,      \
      int accumulate, int isWide) {                                                                           \
    fewRowsLinear<Format>(x, blocks, bias, y, rows, in, out, accumulate, isWide);                             \
  }

// MI_FORMAT and MI_FORMAT_TYPE (q4_k, Q4_K) leave one format's kernels: a model has two or three, and each takes its time to compile.
#ifdef MI_FORMAT
#define MI_OF_FORMAT(name, Format) MI_BLOCK_KERNELS(name, Format)
MI_OF_FORMAT(MI_FORMAT, MI_FORMAT_TYPE)
#else
MI_BLOCK_KERNELS(q4_0, Q4_0)
MI_BLOCK_KERNELS(q4_1, Q4_1)
MI_BLOCK_KERNELS(q5_0, Q5_0)
MI_BLOCK_KERNELS(q5_1, Q5_1)
MI_BLOCK_KERNELS(q8_0, Q8_0)
MI_BLOCK_KERNELS(q2_k, Q2_K)
MI_BLOCK_KERNELS(q3_k, Q3_K)
MI_BLOCK_KERNELS(q4_k, Q4_K)
MI_BLOCK_KERNELS(q5_k, Q5_K)
MI_BLOCK_KERNELS(q6_k, Q6_K)
MI_BLOCK_KERNELS(iq4_nl, IQ4_NL)
MI_BLOCK_KERNELS(iq4_xs, IQ4_XS)
MI_BLOCK_KERNELS(mxfp4, MXFP4)
#endif
