// Products of one row of activations with matrices of GGUF files, straight from the blocks: decoding, bound by memory.
//
// Every thread block makes the row int8, with a scale for each 32 elements, in its shared memory. A warp then computes an output at
// a time: its lanes take pieces of the row of blocks, whose dot products are exact in int32. A kernel for every format;
// block_dots.cuh reads the formats.

#include "block_dots.cuh"

using namespace mi;

namespace {

constexpr int threads = 256;
extern __shared__ __align__(16) int rowMemory[];

/// The row as bytes: [in] bytes, [in / 32] scales, [in / 16] sums. All threads of the block.
__device__ __forceinline__ ByteRow quantised(const bf16* x, int in) {
  int* words = rowMemory;
  float* scales = (float*)(words + in / 4);
  int* sums = (int*)(scales + in / 32);
  for (int base = 0; base < in; base += threads * 8) {
    const int first = base + threadIdx.x * 8;
    const bool valid = first < in;
    float values[8] = {};
    if (valid) AsBf16::load8(x + first, values);
    float largest = 0.0f, unusable = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) largest = fmaxf(largest, fabsf(values[i])), unusable += values[i] * 0.0f;
    // Four neighbouring lanes hold 32 elements.
#pragma unroll
    for (int step = 1; step < 4; step *= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
      unusable += __shfl_xor_sync(0xffffffffu, unusable, step);
    }
    // Smaller is no number that a model computes with, and its inverse would not be finite.
    const bool isZero = !(largest > 1e-30f);
    const float inverse = isZero ? 0.0f : 127.0f / largest;
    int sum = 0;
    unsigned word[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int q = __float2int_rn(values[i] * inverse);
      sum += q;
      word[i / 4] |= ((unsigned)q & 255u) << 8 * (i % 4);
    }
    const int both = sum + __shfl_xor_sync(0xffffffffu, sum, 1);
    if (!valid) continue;
    words[first / 4] = (int)word[0], words[first / 4 + 1] = (int)word[1];
    if (first % 16 == 0) sums[first / 16] = both;
    // An element that is no number makes the products none.
    if (first % 32 == 0) scales[first / 32] = (isZero ? 0.0f : largest / 127.0f) + unusable;
  }
  __syncthreads();
  return {words, scales, sums};
}

template <typename Format>
__device__ __forceinline__ void rowLinear(
    const bf16* x, const byte* blocks, const float* bias, void* y, int in, int out, int accumulate, int isWide) {
  const ByteRow row = quantised(x, in);
  const int warps = threads / 32, lane = threadIdx.x & 31, pieces = in / Format::piece;
  const long long rowBytes = (long long)(in / Format::elements) * Format::bytes;
  for (int o = blockIdx.x * warps + (threadIdx.x >> 5); o < out; o += gridDim.x * warps) {
    const byte* matrix = blocks + o * rowBytes;
    float sum = 0.0f;
#pragma unroll 2
    for (int piece = lane; piece < pieces; piece += 32) sum += Format::dot(matrix, piece, row);
    sum = warpSum(sum);
    if (lane != 0) continue;
    if (bias) sum += bias[o];
    if (isWide) {
      float* to = (float*)y + o;
      *to = accumulate ? *to + sum : sum;
    } else {
      bf16* to = (bf16*)y + o;
      AsBf16::store(to, accumulate ? AsBf16::load(to) + sum : sum);
    }
  }
}

}  // namespace

// row_FORMAT: y = transpose(weight) x + bias, added to what y holds if `accumulate`. x: [in], 16-byte aligned; weight: [out][in] in
// blocks; bias: [out] fp32, or null; y: [out], fp32 if `isWide`, else bf16. Grid: any number of blocks up to (out + 7) / 8, 256
// threads. Dynamic shared memory: in + in / 8 + in / 4 bytes.
// Parameters: x, blocks, bias, y, int in, int out, int accumulate, int isWide.
#define MI_ROW_KERNEL(name, Format)                                                                                    \
  extern "C" __global__ void __launch_bounds__(256) row_##name(                                                        \
      const bf16* x, const unsigned char* blocks, const float* bias, void* y, int in, int out, int accumulate, int isWide) { \
    rowLinear<Format>(x, blocks, bias, y, in, out, accumulate, isWide);                                                \
  }

// MI_FORMAT and MI_FORMAT_TYPE (q4_k, Q4_K) leave one format's kernels: a model has two or three, and each takes its time to compile.
#ifdef MI_FORMAT
#define MI_JOINED(first, second) first##second
#define MI_DOT_OF(Format) MI_JOINED(Dot, Format)
#define MI_OF_FORMAT(name, Format) MI_ROW_KERNEL(name, Format)
MI_OF_FORMAT(MI_FORMAT, MI_DOT_OF(MI_FORMAT_TYPE))
#else
MI_ROW_KERNEL(q4_0, DotQ4_0)
MI_ROW_KERNEL(q4_1, DotQ4_1)
MI_ROW_KERNEL(q5_0, DotQ5_0)
MI_ROW_KERNEL(q5_1, DotQ5_1)
MI_ROW_KERNEL(q8_0, DotQ8_0)
MI_ROW_KERNEL(q2_k, DotQ2_K)
MI_ROW_KERNEL(q3_k, DotQ3_K)
MI_ROW_KERNEL(q4_k, DotQ4_K)
MI_ROW_KERNEL(q5_k, DotQ5_K)
MI_ROW_KERNEL(q6_k, DotQ6_K)
MI_ROW_KERNEL(iq4_nl, DotIQ4_NL)
MI_ROW_KERNEL(iq4_xs, DotIQ4_XS)
MI_ROW_KERNEL(mxfp4, DotMXFP4)
#endif
