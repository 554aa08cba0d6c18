// Everything a layer does beside products and attention: embedding, norms, rotary embedding,
// SwiGLU, biases, conversions. Activations are bf16, arithmetic is fp32, accesses are 16 bytes.
//
// All bases are 16-byte aligned; widths and strides are in elements and multiples of 8, unless an
// entry says otherwise. Grids are flat: blocks(n) = (n + 255) / 256 blocks of 256 threads, no dynamic
// shared memory, unless an entry says otherwise. Items of one launch stay below 2^32.

#include "numbers.cuh"
#include "reductions.cuh"
#include "rotation.cuh"

using namespace mi;

namespace {

struct Flat {
  static constexpr int threads = 256;
};

/// A warp copies a row, and has half a kilobyte a thread under way: a row's address is known only once
/// its id has come, and rows lie anywhere.
struct Embedding {
  static constexpr int rows = 8;
  static constexpr int batch = 8;
};

struct Norm {
  static constexpr int threads = 256;
  /// 16-byte pieces of a row that a thread keeps between the two passes.
  static constexpr int kept = 4;
};

struct Rotation {
  static constexpr int threads = 256;
  static constexpr int rows = 4;
  static constexpr int maximumPairs = 128;
};

__device__ __forceinline__ unsigned flatIndex() { return blockIdx.x * Flat::threads + threadIdx.x; }

template <typename From, typename To>
__device__ __forceinline__ void convertElements(
    const typename From::Element* x, typename To::Element* y, long long count) {
  const long long start = ((long long)blockIdx.x * Flat::threads + threadIdx.x) * 8;
  if (start + 8 <= count) {
    float values[8];
    From::load8(x + start, values);
    To::store8(y + start, values);
  } else {
    for (long long i = start; i < count; ++i) To::store(y + i, From::load(x + i));
  }
}

}  // namespace

// x[r] = table[ids[r]]. ids: [rows], each inside the vocabulary; table: [vocabulary][hidden] and x:
// [rows][hidden], bf16. Grid: (rows + 7) / 8. Parameters: ids, table, x, int rows, int hidden.
extern "C" __global__ void __launch_bounds__(256) embed(
    const int* ids, const bf16* table, bf16* x, int rows, int hidden) {
  const int row = blockIdx.x * Embedding::rows + (threadIdx.x >> 5);
  if (row >= rows) return;
  const int pieces = hidden / 8;
  const uint4* from = (const uint4*)(table + (long long)ids[row] * hidden);
  uint4* to = (uint4*)(x + (long long)row * hidden);
  for (int first = threadIdx.x & 31; first < pieces; first += Embedding::batch * 32) {
    uint4 kept[Embedding::batch];
#pragma unroll
    for (int i = 0; i < Embedding::batch; ++i) {
      if (first + i * 32 < pieces) kept[i] = from[first + i * 32];
    }
#pragma unroll
    for (int i = 0; i < Embedding::batch; ++i) {
      if (first + i * 32 < pieces) to[first + i * 32] = kept[i];
    }
  }
}

// y[r] = x[r] / sqrt(mean(x[r]^2) + epsilon) * weight. x, y: [rows][width] with row strides; y may be
// x. weight: [width] fp32. Grid: rows. Block: a multiple of 32 up to 256; best is width / 16 rounded
// up to a multiple of 32, at most 256. Rows up to 1024 wide are faster by rms_norm_narrow.
// Parameters: x, weight, y, int rows, int width, long long xStride, long long yStride, float epsilon.
extern "C" __global__ void __launch_bounds__(256) rms_norm(
    const bf16* x, const float* weight, bf16* y, int rows, int width, long long xStride,
    long long yStride, float epsilon) {
  __shared__ float sums[Norm::threads / 32];
  const int pieces = width / 8;
  x += blockIdx.x * xStride;
  y += blockIdx.x * yStride;
  uint4 kept[Norm::kept];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < Norm::kept; ++i) {
    const int piece = threadIdx.x + i * blockDim.x;
    if (piece < pieces) kept[i] = ((const uint4*)x)[piece];
  }
#pragma unroll
  for (int i = 0; i < Norm::kept; ++i) {
    if ((int)(threadIdx.x + i * blockDim.x) >= pieces) continue;
    float values[8];
    AsBf16::unpack(kept[i], values);
#pragma unroll
    for (int j = 0; j < 8; ++j) squares += values[j] * values[j];
  }
  for (int piece = threadIdx.x + Norm::kept * blockDim.x; piece < pieces; piece += blockDim.x) {
    float values[8];
    AsBf16::load8(x + piece * 8, values);
#pragma unroll
    for (int j = 0; j < 8; ++j) squares += values[j] * values[j];
  }
  const float scale = 1.0f / sqrtf(blockSum(squares, sums) / (float)width + epsilon);
  auto finish = [&](int piece, float (&values)[8]) {
    float weights[8];
    AsFp32::load8(weight + piece * 8, weights);
#pragma unroll
    for (int j = 0; j < 8; ++j) values[j] *= scale * weights[j];
    AsBf16::store8(y + piece * 8, values);
  };
#pragma unroll
  for (int i = 0; i < Norm::kept; ++i) {
    const int piece = threadIdx.x + i * blockDim.x;
    if (piece >= pieces) continue;
    float values[8];
    AsBf16::unpack(kept[i], values);
    finish(piece, values);
  }
  for (int piece = threadIdx.x + Norm::kept * blockDim.x; piece < pieces; piece += blockDim.x) {
    float values[8];
    AsBf16::load8(x + piece * 8, values);
    finish(piece, values);
  }
}

// The same for rows of at most 1024 (heads, small models), dense: `lanes` threads norm a row, the power
// of two at or above width / 8, at most 32. Grid: blocks(rows * lanes).
// Parameters: x, weight, y, int rows, int width, float epsilon, int lanes.
extern "C" __global__ void __launch_bounds__(256) rms_norm_narrow(
    const bf16* x, const float* weight, bf16* y, int rows, int width, float epsilon, int lanes) {
  const unsigned row = flatIndex() / (unsigned)lanes;
  const int lane = threadIdx.x & (lanes - 1);
  const int pieces = row < (unsigned)rows ? width / 8 : 0;
  x += (long long)row * width;
  y += (long long)row * width;
  uint4 kept[Norm::kept];
#pragma unroll
  for (int i = 0; i < Norm::kept; ++i) {
    if (lane + i * lanes < pieces) kept[i] = ((const uint4*)x)[lane + i * lanes];
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < Norm::kept; ++i) {
    if (lane + i * lanes >= pieces) continue;
    float values[8];
    AsBf16::unpack(kept[i], values);
#pragma unroll
    for (int j = 0; j < 8; ++j) squares += values[j] * values[j];
  }
  for (int step = lanes / 2; step > 0; step >>= 1) {
    squares += __shfl_xor_sync(allLanes, squares, step);
  }
  const float scale = 1.0f / sqrtf(squares / (float)width + epsilon);
#pragma unroll
  for (int i = 0; i < Norm::kept; ++i) {
    const int piece = lane + i * lanes;
    if (piece >= pieces) continue;
    float values[8], weights[8];
    AsBf16::unpack(kept[i], values);
    AsFp32::load8(weight + piece * 8, weights);
#pragma unroll
    for (int j = 0; j < 8; ++j) values[j] *= scale * weights[j];
    AsBf16::store8(y + piece * 8, values);
  }
}

// Turns x in place: pair p of every head by the angle float32(position) * inverseFrequencies[p],
// rounded to float32, with cosine and sine times attentionScaling; elements beyond 2 * pairs pass
// through. x: [rows][heads][headDim] with a row stride (q and k of a fused projection may be turned in
// one launch); row r stands at firstPosition + r < 2^20. interleaved: 0 pairs p with p + pairs, 1 pairs
// 2p with 2p + 1. pairs <= 128. position: what is added to firstPosition, or null.
// Grid: (rows + 3) / 4. Block: 256.
// Parameters: x, inverseFrequencies, int rows, int heads, int headDim, int pairs, long long rowStride,
// int firstPosition, float attentionScaling, int interleaved, const int* position.
extern "C" __global__ void __launch_bounds__(256) rotate(
    bf16* x, const float* inverseFrequencies, int rows, int heads, int headDim, int pairs,
    long long rowStride, int firstPosition, float attentionScaling, int interleaved,
    const int* position) {
  __shared__ float2 turns[Rotation::rows * Rotation::maximumPairs];
  if (position) firstPosition += *position;
  const int firstRow = blockIdx.x * Rotation::rows;
  const int rowCount = min(Rotation::rows, rows - firstRow);
  for (int i = threadIdx.x; i < rowCount * pairs; i += Rotation::threads) {
    const int row = i / pairs;
    const int pair = i - row * pairs;
    float2 turn = cosineAndSine(
        __fmul_rn((float)(firstPosition + firstRow + row), inverseFrequencies[pair]));
    turn.x *= attentionScaling;
    turn.y *= attentionScaling;
    turns[row * Rotation::maximumPairs + pair] = turn;
  }
  __syncthreads();
  x += firstRow * rowStride;

  if (!interleaved && pairs % 8 == 0) {
    const unsigned pieces = pairs / 8;
    const unsigned rowItems = heads * pieces;
    for (unsigned i = threadIdx.x; i < rowCount * rowItems; i += Rotation::threads) {
      const unsigned row = i / rowItems;
      const unsigned head = (i - row * rowItems) / pieces;
      const unsigned piece = i - row * rowItems - head * pieces;
      bf16* first = x + row * rowStride + head * headDim + piece * 8;
      const float2* turn = turns + row * Rotation::maximumPairs + piece * 8;
      float a[8], b[8];
      AsBf16::load8(first, a);
      AsBf16::load8(first + pairs, b);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float2 t = turn[j];
        const float turned = a[j] * t.x - b[j] * t.y;
        b[j] = b[j] * t.x + a[j] * t.y;
        a[j] = turned;
      }
      AsBf16::store8(first, a);
      AsBf16::store8(first + pairs, b);
    }
  } else if (interleaved && pairs % 4 == 0) {
    const unsigned pieces = pairs / 4;
    const unsigned rowItems = heads * pieces;
    for (unsigned i = threadIdx.x; i < rowCount * rowItems; i += Rotation::threads) {
      const unsigned row = i / rowItems;
      const unsigned head = (i - row * rowItems) / pieces;
      const unsigned piece = i - row * rowItems - head * pieces;
      bf16* first = x + row * rowStride + head * headDim + piece * 8;
      const float2* turn = turns + row * Rotation::maximumPairs + piece * 4;
      float values[8];
      AsBf16::load8(first, values);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 t = turn[j];
        const float a = values[2 * j], b = values[2 * j + 1];
        values[2 * j] = a * t.x - b * t.y;
        values[2 * j + 1] = b * t.x + a * t.y;
      }
      AsBf16::store8(first, values);
    }
  } else {
    const unsigned rowItems = heads * pairs;
    for (unsigned i = threadIdx.x; i < rowCount * rowItems; i += Rotation::threads) {
      const unsigned row = i / rowItems;
      const unsigned head = (i - row * rowItems) / pairs;
      const unsigned pair = i - row * rowItems - head * pairs;
      bf16* base = x + row * rowStride + head * headDim;
      bf16* first = base + (interleaved ? 2 * pair : pair);
      bf16* second = first + (interleaved ? 1 : pairs);
      const float2 t = turns[row * Rotation::maximumPairs + pair];
      const float a = toFloat(*first), b = toFloat(*second);
      AsBf16::store(first, a * t.x - b * t.y);
      AsBf16::store(second, b * t.x + a * t.y);
    }
  }
}

// y = silu(gate) * up. [rows][width] each, with row strides; y may be gate or up, and gate and up may
// be the halves of one fused tensor. Grid: blocks(rows * width / 8).
// Parameters: gate, up, y, int rows, int width, long long gateStride, long long upStride,
// long long yStride.
extern "C" __global__ void __launch_bounds__(256) swiglu(
    const bf16* gate, const bf16* up, bf16* y, int rows, int width, long long gateStride,
    long long upStride, long long yStride) {
  const unsigned pieces = (unsigned)width / 8;
  const unsigned item = flatIndex();
  if (item >= (unsigned)rows * pieces) return;
  const unsigned row = item / pieces;
  const unsigned piece = item - row * pieces;
  float values[8], factors[8];
  AsBf16::load8(gate + row * gateStride + piece * 8, values);
  AsBf16::load8(up + row * upStride + piece * 8, factors);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    values[j] = __fdividef(values[j], 1.0f + __expf(-values[j])) * factors[j];
  }
  AsBf16::store8(y + row * yStride + piece * 8, values);
}

// x[r] += bias. x: [rows][width] with a row stride; bias: [width] fp32. Grid: blocks(rows * width / 8).
// Parameters: x, bias, int rows, int width, long long stride.
extern "C" __global__ void __launch_bounds__(256) add_bias(
    bf16* x, const float* bias, int rows, int width, long long stride) {
  const unsigned pieces = (unsigned)width / 8;
  const unsigned item = flatIndex();
  if (item >= (unsigned)rows * pieces) return;
  const unsigned row = item / pieces;
  const unsigned piece = item - row * pieces;
  float values[8], offsets[8];
  bf16* place = x + row * stride + piece * 8;
  AsBf16::load8(place, values);
  AsFp32::load8(bias + piece * 8, offsets);
#pragma unroll
  for (int j = 0; j < 8; ++j) values[j] += offsets[j];
  AsBf16::store8(place, values);
}

// y[r] = x[ids[r]], bit for bit: rows of `width` units of two bytes. Grid: rows. Parameters: x, ids, y, int width.
extern "C" __global__ void __launch_bounds__(256) gather_rows(
    const unsigned short* x, const int* ids, unsigned short* y, int width) {
  const unsigned short* from = x + (long long)ids[blockIdx.x] * width;
  unsigned short* to = y + (long long)blockIdx.x * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) to[i] = from[i];
}

// x += y, both of `count` bf16 (any count). Grid: (count + 2047) / 2048.
// Parameters: x, y, long long count.
extern "C" __global__ void __launch_bounds__(256) add(bf16* x, const bf16* y, long long count) {
  const long long start = ((long long)blockIdx.x * Flat::threads + threadIdx.x) * 8;
  if (start + 8 <= count) {
    float a[8], b[8];
    AsBf16::load8(x + start, a);
    AsBf16::load8(y + start, b);
#pragma unroll
    for (int j = 0; j < 8; ++j) a[j] += b[j];
    AsBf16::store8(x + start, a);
  } else {
    for (long long i = start; i < count; ++i) AsBf16::store(x + i, toFloat(x[i]) + toFloat(y[i]));
  }
}

// y = x, element by element, in another format (nearest, ties to even). Any count; x is not y.
// Grid: (count + 2047) / 2048. Parameters: x, y, long long count.
#define CONVERT(NAME, FROM, TO)                                                   \
  extern "C" __global__ void __launch_bounds__(256) NAME(                         \
      const FROM::Element* x, TO::Element* y, long long count) {                  \
    convertElements<FROM, TO>(x, y, count);                                       \
  }
CONVERT(convert_fp32_bf16, AsFp32, AsBf16)
CONVERT(convert_fp32_fp16, AsFp32, AsFp16)
CONVERT(convert_bf16_fp32, AsBf16, AsFp32)
CONVERT(convert_bf16_fp16, AsBf16, AsFp16)
CONVERT(convert_fp16_fp32, AsFp16, AsFp32)
CONVERT(convert_fp16_bf16, AsFp16, AsBf16)
#undef CONVERT

// y[i] = value for `count` 32-bit words (any count). Grid: (count + 1023) / 1024.
// Parameters: y, unsigned value, long long count.
extern "C" __global__ void __launch_bounds__(256) fill(
    unsigned* y, unsigned value, long long count) {
  const long long start = ((long long)blockIdx.x * Flat::threads + threadIdx.x) * 4;
  if (start + 4 <= count) {
    *(uint4*)(y + start) = make_uint4(value, value, value, value);
  } else {
    for (long long i = start; i < count; ++i) y[i] = value;
  }
}
