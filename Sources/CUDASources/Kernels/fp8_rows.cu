// Inputs of linear layers in fp8 e4m3 with one factor a row: value = scale of the row * stored.
//
// A row's scale is its largest magnitude / 448, and 1 for a row of zeros. A row with NaN or
// infinity stays one: its stored numbers or its scale are not finite. A row is read once and kept
// in registers as bf16, what the same step without quantization would write, between its sums and
// its quantization.
//
// x, gate, up: bf16, widths and strides in elements and multiples of 8; y: fp8, dense; scales:
// [rows] fp32. Grid: rows. Block: a multiple of 32 up to 1024; best is width / 32 rounded up to a
// multiple of 32.

#include "fp8.cuh"
#include "reductions.cuh"

using namespace mi;

namespace {

struct Quantization {
  static constexpr int threads = 1024;
  /// 16-byte pieces of a row that a thread keeps.
  static constexpr int kept = 4;
};

/// The largest over the block, in every thread. `shared`: one element a warp. All threads call it.
__device__ __forceinline__ float blockMaximum(float value, float* shared) {
  value = warpMaximum(value);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = value;
  __syncthreads();
  float largest = shared[0];
  for (int warp = 1; warp < (int)blockDim.x >> 5; ++warp) largest = fmaxf(largest, shared[warp]);
  return largest;
}

/// Unlike fmaxf, NaN wins: a row that holds one gets a scale that is none.
__device__ __forceinline__ float magnitude(float largest, const uint4& piece) {
  float values[8];
  AsBf16::unpack(piece, values);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const float size = fabsf(values[j]);
    largest = size < infinity() ? fmaxf(largest, size) : infinity();
  }
  return largest;
}

/// Eight numbers times `factor`, to fp8.
__device__ __forceinline__ uint2 quantized(const uint4& piece, float factor) {
  float values[8];
  AsBf16::unpack(piece, values);
#pragma unroll
  for (int j = 0; j < 8; ++j) values[j] *= factor;
  return make_uint2(packFp8(values[0], values[1]) | packFp8(values[2], values[3]) << 16,
      packFp8(values[4], values[5]) | packFp8(values[6], values[7]) << 16);
}

/// The pieces of a row that this thread keeps in registers.
__device__ __forceinline__ void loadFirst(
    uint4 (&first)[Quantization::kept], const uint4* row, int pieces) {
#pragma unroll
  for (int i = 0; i < Quantization::kept; ++i) {
    const int place = threadIdx.x + i * blockDim.x;
    if (place < pieces) first[i] = row[place];
  }
}

/// Quantizes one row. `piece(i)` gives its i-th eight numbers as bf16; `first` holds those that
/// this thread has computed already.
template <typename Piece>
__device__ __forceinline__ void quantizeRow(uint4 (&first)[Quantization::kept], Piece piece,
    unsigned char* y, float* scale, int pieces, float* shared) {
  float largest = 0;
#pragma unroll
  for (int i = 0; i < Quantization::kept; ++i) {
    if ((int)(threadIdx.x + i * blockDim.x) < pieces) largest = magnitude(largest, first[i]);
  }
  const int rest = threadIdx.x + Quantization::kept * blockDim.x;
  for (int i = rest; i < pieces; i += blockDim.x) largest = magnitude(largest, piece(i));
  largest = blockMaximum(largest, shared);
  const float factor = largest > 0 ? largestFp8 / largest : 1.0f;
  if (threadIdx.x == 0) *scale = largest > 0 ? largest / largestFp8 : 1.0f;
#pragma unroll
  for (int i = 0; i < Quantization::kept; ++i) {
    const int place = threadIdx.x + i * blockDim.x;
    if (place < pieces) ((uint2*)y)[place] = quantized(first[i], factor);
  }
  for (int i = rest; i < pieces; i += blockDim.x) ((uint2*)y)[i] = quantized(piece(i), factor);
}

}  // namespace

// y = x. Also for weights, whose rows are output channels.
// Parameters: x, y, scales, int width, long long xStride.
extern "C" __global__ void __launch_bounds__(1024)
    quantize_rows(const bf16* x, unsigned char* y, float* scales, int width, long long xStride) {
  __shared__ float shared[Quantization::threads / 32];
  const uint4* row = (const uint4*)(x + blockIdx.x * xStride);
  const int pieces = width / 8;
  uint4 first[Quantization::kept];
  loadFirst(first, row, pieces);
  quantizeRow(
      first, [row](int i) { return row[i]; }, y + (long long)blockIdx.x * width,
      scales + blockIdx.x, pieces, shared);
}

// y = x / sqrt(mean(x^2) + epsilon) * weight, as rms_norm of elementwise.cu rounds it to bf16.
// weight: [width] fp32. Parameters: x, weight, y, scales, int width, long long xStride, float
// epsilon.
extern "C" __global__ void __launch_bounds__(1024) rms_norm_rows(const bf16* x, const float* weight,
    unsigned char* y, float* scales, int width, long long xStride, float epsilon) {
  __shared__ float shared[Quantization::threads / 32];
  const uint4* row = (const uint4*)(x + blockIdx.x * xStride);
  const int pieces = width / 8;
  uint4 first[Quantization::kept];
  loadFirst(first, row, pieces);
  float squares = 0;
  auto add = [&squares](const uint4& piece) {
    float values[8];
    AsBf16::unpack(piece, values);
#pragma unroll
    for (int j = 0; j < 8; ++j) squares += values[j] * values[j];
  };
#pragma unroll
  for (int i = 0; i < Quantization::kept; ++i) {
    if ((int)(threadIdx.x + i * blockDim.x) < pieces) add(first[i]);
  }
  for (int i = threadIdx.x + Quantization::kept * blockDim.x; i < pieces; i += blockDim.x)
    add(row[i]);
  const float scale = 1.0f / sqrtf(blockSum(squares, shared) / (float)width + epsilon);
  auto normed = [scale, weight](const uint4& piece, int i) {
    float values[8], weights[8];
    AsBf16::unpack(piece, values);
    AsFp32::load8(weight + i * 8, weights);
#pragma unroll
    for (int j = 0; j < 8; ++j) values[j] *= scale * weights[j];
    return AsBf16::pack(values);
  };
#pragma unroll
  for (int i = 0; i < Quantization::kept; ++i) {
    const int place = threadIdx.x + i * blockDim.x;
    if (place < pieces) first[i] = normed(first[i], place);
  }
  quantizeRow(
      first, [row, normed](int i) { return normed(row[i], i); }, y + (long long)blockIdx.x * width,
      scales + blockIdx.x, pieces, shared);
}

// y = silu(gate) * up, as swiglu of elementwise.cu rounds it to bf16.
// Parameters: gate, up, y, scales, int width, long long gateStride, long long upStride.
extern "C" __global__ void __launch_bounds__(1024) swiglu_rows(const bf16* gate, const bf16* up,
    unsigned char* y, float* scales, int width, long long gateStride, long long upStride) {
  __shared__ float shared[Quantization::threads / 32];
  const uint4* gates = (const uint4*)(gate + blockIdx.x * gateStride);
  const uint4* ups = (const uint4*)(up + blockIdx.x * upStride);
  const int pieces = width / 8;
  auto product = [](const uint4& gate, const uint4& up) {
    float values[8], factors[8];
    AsBf16::unpack(gate, values);
    AsBf16::unpack(up, factors);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      values[j] = __fdividef(values[j], 1.0f + __expf(-values[j])) * factors[j];
    }
    return AsBf16::pack(values);
  };
  uint4 first[Quantization::kept], second[Quantization::kept];
#pragma unroll
  for (int i = 0; i < Quantization::kept; ++i) {
    const int place = threadIdx.x + i * blockDim.x;
    if (place < pieces) first[i] = gates[place], second[i] = ups[place];
  }
#pragma unroll
  for (int i = 0; i < Quantization::kept; ++i) {
    if ((int)(threadIdx.x + i * blockDim.x) < pieces) first[i] = product(first[i], second[i]);
  }
  quantizeRow(
      first, [gates, ups, product](int i) { return product(gates[i], ups[i]); },
      y + (long long)blockIdx.x * width, scales + blockIdx.x, pieces, shared);
}
