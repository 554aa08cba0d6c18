// Linear layers of a decoding step whose weights are in blocks, as GGUF files have them: several matrices of one format in a launch, with
// the norm of the input before them and the gate behind them.
//
// Every thread block makes the rows int8, with a scale for each 32 elements, in its shared memory. A warp, or a few, then compute an
// output at a time: lanes take pieces of the row of blocks, whose dot products are exact in int32. The norm is x * factor / root mean
// square, and the root divides at the end: int8 rows do not depend on it.
#ifndef MI_DECODING_BLOCKS_CUH
#define MI_DECODING_BLOCKS_CUH

#include "block_dots.cuh"
#include "decoding_row.cuh"
#include "dependent_launch.cuh"

namespace mi {

constexpr int blockThreads = 256, blockWarps = 8;
extern __shared__ __align__(16) int decodingRows[];

/// The words of shared memory that a row of int8 takes: [in] bytes, [in / 32] scales, [in / 16] sums, to a multiple of four.
__device__ __forceinline__ int rowWords(int in) { return (in / 4 + in / 32 + in / 16 + 3) / 4 * 4; }

__device__ __forceinline__ ByteRow byteRow(int row, int in) {
  const int* words = decodingRows + row * rowWords(in);
  return {words, (const float*)(words + in / 4), words + in / 4 + in / 32};
}

/// Makes the rows int8; all threads of the block. squareSums: [rows][warps], what the squares of the inputs add up to.
template <typename Inputs>
__device__ __forceinline__ void quantiseRows(
    const DecodingProduct& p, float (*squareSums)[blockWarps], const Inputs& inputs) {
  const int in = p.inputs;
  for (int row = 0; row < p.rows; ++row) {
    int* words = decodingRows + row * rowWords(in);
    float* scales = (float*)(words + in / 4);
    int* sums = (int*)(scales + in / 32);
    float squares = 0.0f;
#pragma unroll 2
    for (int base = 0; base < in; base += blockThreads * 8) {
      const int first = base + threadIdx.x * 8;
      const bool valid = first < in;
      float values[8] = {};
      if (valid) {
        const uint4 eight = inputs(p, row, first);
        const unsigned pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) values[2 * i] = lowFloat(pairs[i]), values[2 * i + 1] = highFloat(pairs[i]);
        if (p.norm) {
          float factors[8];
          AsFp32::load8(p.norm + first, factors);
#pragma unroll
          for (int i = 0; i < 8; ++i) squares += values[i] * values[i], values[i] *= factors[i];
        }
      }
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
    squares = warpSum(squares);
    if ((threadIdx.x & 31) == 0) squareSums[row][threadIdx.x >> 5] = squares;
  }
  __syncthreads();
}

/// `Inputs` and `Store`: where the rows come from and go to. Stored as heads, a unit is an element of the first half of a head and that
/// which is turned with it.
template <typename Format, int mostRows, bool gated, typename Inputs = RowInputs, typename Store = StoreRow>
__device__ __forceinline__ void decodingBlocks(
    const DecodingProduct& p, const Inputs& inputs = Inputs(), const Store& store = Store()) {
  constexpr bool heads = Store::storesHeads;
  constexpr int matrices = gated || heads ? 2 : 1, halves = heads ? 2 : 1;
  __shared__ float squareSums[mostRows][blockWarps];
  __shared__ float shared[blockWarps][mostRows][matrices];
  letKernelBehindBegin();
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int teams = blockWarps / p.parts, team = warp / p.parts, member = warp % p.parts;
  const int in = p.inputs, pieces = in / Format::piece;
  const long long rowBytes = (long long)(in / Format::elements) * Format::bytes;
  int outputs = p.matrices[0].outputs;
  if (!gated) outputs += p.matrices[1].outputs + p.matrices[2].outputs;
  outputs /= halves;

  // The matrix of a unit, and its output there.
  auto find = [&](int& unit) {
    int matrix = 0;
    if (!gated) {
      for (; matrix < 2 && unit >= p.matrices[matrix].outputs / halves; ++matrix) unit -= p.matrices[matrix].outputs / halves;
    }
    if (heads) unit = unit / store.halfHead() * 2 * store.halfHead() + unit % store.halfHead();
    return matrix;
  };
  auto weightsOf = [&](int matrix, int unit, int g) {
    return (const byte*)p.matrices[matrix + (heads ? 0 : g)].weight + (unit + (heads ? g * store.halfHead() : 0)) * rowBytes;
  };

  {
    // The first output's weights come to the second cache while the kernel in front ends.
    int unit = blockIdx.x * teams + team;
    if (unit < outputs) {
      const int matrix = find(unit);
#pragma unroll
      for (int g = 0; g < matrices; ++g) {
        const byte* row = weightsOf(matrix, unit, g);
        for (long long at = (member * 32 + lane) * 128; at < rowBytes; at += p.parts * 32 * 128)
          asm volatile("prefetch.global.L2 [%0];" ::"l"(row + at));
      }
    }
  }
  waitForKernelsInFront();
  quantiseRows(p, squareSums, inputs);

  for (int first = blockIdx.x * teams; first < outputs; first += gridDim.x * teams) {
    int unit = first + team;
    const bool valid = unit < outputs;
    if (!valid) unit = outputs - 1;
    const int matrix = find(unit);
    const DecodingMatrix& m = p.matrices[matrix];
    float sums[mostRows][matrices];
#pragma unroll
    for (int r = 0; r < mostRows; ++r)
#pragma unroll
      for (int g = 0; g < matrices; ++g) sums[r][g] = 0.0f;
    const byte* weights[matrices];
#pragma unroll
    for (int g = 0; g < matrices; ++g) weights[g] = weightsOf(matrix, unit, g);
#pragma unroll 2
    for (int piece = member * 32 + lane; piece < pieces; piece += p.parts * 32) {
#pragma unroll
      for (int r = 0; r < mostRows; ++r) {
        if (mostRows > 1 && r >= p.rows) break;
        const ByteRow x = byteRow(r, in);
#pragma unroll
        for (int g = 0; g < matrices; ++g) sums[r][g] += Format::dot(weights[g], piece, x);
      }
    }
    // Lane r keeps the sums of row r.
    float own[matrices] = {};
#pragma unroll
    for (int r = 0; r < mostRows; ++r) {
#pragma unroll
      for (int g = 0; g < matrices; ++g) {
        const float sum = warpSum(sums[r][g]);
        if (lane == r) own[g] = sum;
      }
    }
    if (p.parts > 1) {
#pragma unroll
      for (int g = 0; g < matrices; ++g)
        if (lane < mostRows) shared[warp][lane][g] = own[g];
      __syncthreads();
      if (member == 0 && lane < mostRows) {
        for (int other = 1; other < p.parts; ++other)
#pragma unroll
          for (int g = 0; g < matrices; ++g) own[g] += shared[warp + other][lane][g];
      }
      __syncthreads();
    }
    if (!valid || member != 0 || lane >= p.rows) continue;
    float scale = 1.0f;
    if (p.norm) {
      float sum = 0.0f;
#pragma unroll
      for (int w = 0; w < blockWarps; ++w) sum += squareSums[lane][w];
      scale = 1.0f / sqrtf(sum / (float)in + p.epsilon);
    }
    float result = own[0] * scale;
    if (m.bias) result += m.bias[unit];
    if (gated) {
      const DecodingMatrix& up = p.matrices[1];
      float factor = own[matrices - 1] * scale;
      if (up.bias) factor += up.bias[unit];
      // Rounded where gate and up are rounded that are computed apart.
      result = siluTimes(toFloat(toBF16(result)), toFloat(toBF16(factor)));
    }
    float other = 0.0f;
    if (heads) {
      other = own[matrices - 1] * scale;
      if (m.bias) other += m.bias[unit + store.halfHead()];
    }
    store(p, m, lane, unit, result, other, store.prepare(p, m, lane, unit));
  }
}

}  // namespace mi

// decoding_blocks_FORMAT_ROWS and gated_decoding_blocks_FORMAT_ROWS, for up to so many rows. parts: 1, 2, 4 or 8. Grid: any number of
// blocks up to the outputs of all matrices (gated: of the first) / (8 / parts), rounded up; 256 threads. Dynamic shared memory: rows *
// (in + in / 8 + in / 4) bytes, each row to a multiple of 16. Parameters: DecodingProduct.
//
// heads_decoding_blocks_FORMAT: one row; the matrices give heads, and units are half as many as outputs. DecodingHeads follow.
// partials_decoding_blocks_FORMAT: one row, which is what attention has left. RowAttentionParameters follow.
#define MI_DECODING_BLOCKS(name, Format, rows)                                                       \
  extern "C" __global__ void __launch_bounds__(256)                                                  \
      decoding_blocks_##name##_##rows(const __grid_constant__ mi::DecodingProduct p) {               \
    mi::decodingBlocks<Format, rows, false>(p);                                                      \
  }                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256)                                                  \
      gated_decoding_blocks_##name##_##rows(const __grid_constant__ mi::DecodingProduct p) {         \
    mi::decodingBlocks<Format, rows, true>(p);                                                       \
  }
#define MI_DECODING_BLOCKS_OF_ROW(name, Format)                                                      \
  MI_DECODING_BLOCKS(name, Format, 1)                                                                \
  extern "C" __global__ void __launch_bounds__(256) heads_decoding_blocks_##name(                    \
      const __grid_constant__ mi::DecodingProduct p, const __grid_constant__ mi::DecodingHeads a) {  \
    mi::decodingBlocks<Format, 1, false>(p, mi::RowInputs(), mi::StoreHeads{a});                     \
  }                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256) partials_decoding_blocks_##name(                 \
      const __grid_constant__ mi::DecodingProduct p,                                                 \
      const __grid_constant__ RowAttentionParameters a) {                                            \
    mi::decodingBlocks<Format, 1, false>(p, mi::PartialInputs{a});                                   \
  }

// MI_FORMAT and MI_FORMAT_TYPE (q4_k, Q4_K) leave one format's kernels: a model has two or three, and each takes its time to compile.
#ifdef MI_FORMAT
#define MI_JOINED(first, second) first##second
#define MI_DOT_OF(Format) MI_JOINED(mi::Dot, Format)
#define MI_OF_FORMAT(kernels, name, Format) kernels(name, Format)
#define MI_EVERY_FORMAT(kernels) MI_OF_FORMAT(kernels, MI_FORMAT, MI_DOT_OF(MI_FORMAT_TYPE))
#else
#define MI_EVERY_FORMAT(kernels) \
  kernels(q4_0, mi::DotQ4_0) \
  kernels(q4_1, mi::DotQ4_1) \
  kernels(q5_0, mi::DotQ5_0) \
  kernels(q5_1, mi::DotQ5_1) \
  kernels(q8_0, mi::DotQ8_0) \
  kernels(q2_k, mi::DotQ2_K) \
  kernels(q3_k, mi::DotQ3_K) \
  kernels(q4_k, mi::DotQ4_K) \
  kernels(q5_k, mi::DotQ5_K) \
  kernels(q6_k, mi::DotQ6_K) \
  kernels(iq4_nl, mi::DotIQ4_NL) \
  kernels(iq4_xs, mi::DotIQ4_XS) \
  kernels(mxfp4, mi::DotMXFP4)
#endif

#endif
