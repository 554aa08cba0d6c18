// Experts of a decoding step: few rows, each with matrices of its own, bound by memory. One launch norms the rows, multiplies them with gate
// and up of their experts and gates the products; another multiplies these with down and adds what a row's experts give, times their
// weights, to the row. Weights are bf16, or e4m3 with a factor for each output.

#include "decoding_products.cuh"
#include "dependent_launch.cuh"

using namespace mi;

struct DecodingExperts {
  const bf16* x;        ///< gated: [rows][inputs]; sum: [positions][inputs]
  const float* norm;    ///< [inputs]; gated alone
  const void* weight;   ///< [experts][outputs][inputs]
  const void* up;       ///< of the same shape; gated alone
  const float* scales;  ///< [experts][outputs], or null
  const float* upScales;
  const int* experts;    ///< [positions]
  const int* sources;    ///< [positions]; gated alone
  const int* places;     ///< [rows][perRow]; sum alone
  const float* factors;  ///< [rows][perRow]; sum alone
  bf16* y;               ///< gated: [positions][outputs]; sum: [rows][outputs], added to
  int perRow, inputs, outputs;
  float epsilon;
};
MI_CHECK_LAYOUT(DecodingExperts);

namespace {

constexpr int threads = 256, warps = 8;
extern __shared__ __align__(16) unsigned char expertInput[];

/// The product of sixteen bytes of weights with as many inputs, packed bf16.
struct Bf16Elements {
  static constexpr int elements = 8;
  static __device__ __forceinline__ float dot(const uint4& w, const uint4 (&x)[1]) {
    float sum = lowFloat(w.x) * lowFloat(x[0].x) + highFloat(w.x) * highFloat(x[0].x);
    sum += lowFloat(w.y) * lowFloat(x[0].y) + highFloat(w.y) * highFloat(x[0].y);
    sum += lowFloat(w.z) * lowFloat(x[0].z) + highFloat(w.z) * highFloat(x[0].z);
    return sum + lowFloat(w.w) * lowFloat(x[0].w) + highFloat(w.w) * highFloat(x[0].w);
  }
};

struct Fp8Elements {
  static constexpr int elements = 16;
  static __device__ __forceinline__ float four(unsigned w, unsigned first, unsigned second) {
    // Bytes 0 and 2, then 1 and 3, in the upper halves of pairs.
    const unsigned even = fp8HighBytesToBF16Pair(w << 8 & 0xff00ff00u), odd = fp8HighBytesToBF16Pair(w & 0xff00ff00u);
    return lowFloat(even) * lowFloat(first) + lowFloat(odd) * highFloat(first) + highFloat(even) * lowFloat(second) +
        highFloat(odd) * highFloat(second);
  }
  static __device__ __forceinline__ float dot(const uint4& w, const uint4 (&x)[2]) {
    return four(w.x, x[0].x, x[0].y) + four(w.y, x[0].z, x[0].w) + four(w.z, x[1].x, x[1].y) + four(w.w, x[1].z, x[1].w);
  }
};

/// A warp computes an output of a position.
template <typename Format> __device__ __forceinline__ void gatedExperts(const DecodingExperts& a) {
  constexpr int elements = Format::elements, chunks = elements / 8, batch = 4;
  __shared__ float squareSums[warps];
  letKernelBehindBegin();
  waitForKernelsInFront();
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, position = blockIdx.y;
  const int output = min((int)blockIdx.x * warps + warp, a.outputs - 1);
  const long long matrixRow = (long long)a.experts[position] * a.outputs + output;
  const unsigned char* weight = (const unsigned char*)a.weight + matrixRow * a.inputs * (16 / elements);
  const unsigned char* up = (const unsigned char*)a.up + matrixRow * a.inputs * (16 / elements);
  const int pieces = a.inputs / elements;
  uint4 w[batch], u[batch];
  auto load = [&](int first) {
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const int piece = first + 32 * i;
      w[i] = u[i] = make_uint4(0u, 0u, 0u, 0u);
      if (piece < pieces) w[i] = loadWeights(weight + piece * 16), u[i] = loadWeights(up + piece * 16);
    }
  };
  load(lane);

  // x * norm as bf16, in the order in which lanes read it: eight elements of every lane lie side by side.
  const bf16* x = a.x + (long long)a.sources[position] * a.inputs;
  uint4* inputs = (uint4*)expertInput;
  float squares = 0.0f;
  for (int eight = threadIdx.x; eight < a.inputs / 8; eight += threads) {
    float values[8], factors[8];
    AsBf16::load8(x + 8 * eight, values);
    AsFp32::load8(a.norm + 8 * eight, factors);
#pragma unroll
    for (int i = 0; i < 8; ++i) squares += values[i] * values[i], values[i] *= factors[i];
    const int piece = eight / chunks, chunk = eight % chunks;
    AsBf16::store8((bf16*)(inputs + (piece / 32 * chunks + chunk) * 32 + piece % 32), values);
  }
  squares = warpSum(squares);
  if (lane == 0) squareSums[warp] = squares;
  __syncthreads();

  float sum = 0.0f, upSum = 0.0f;
  for (int first = lane;;) {
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const int piece = first + 32 * i;
      if (piece >= pieces) break;
      uint4 own[chunks];
#pragma unroll
      for (int c = 0; c < chunks; ++c) own[c] = inputs[(piece / 32 * chunks + c) * 32 + lane];
      sum += Format::dot(w[i], own), upSum += Format::dot(u[i], own);
    }
    first += 32 * batch;
    if (first - lane >= pieces) break;
    load(first);
  }
  sum = warpSum(sum), upSum = warpSum(upSum);
  if (lane != 0 || (int)blockIdx.x * warps + warp >= a.outputs) return;
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < warps; ++i) total += squareSums[i];
  const float scale = 1.0f / sqrtf(total / (float)a.inputs + a.epsilon);
  sum *= a.scales ? scale * a.scales[matrixRow] : scale;
  upSum *= a.upScales ? scale * a.upScales[matrixRow] : scale;
  AsBf16::store(a.y + (long long)position * a.outputs + output, siluTimes(sum, upSum));
}

/// A warp computes an output of a row: its lanes share out the inputs of all experts of the row.
template <typename Format> __device__ __forceinline__ void expertSum(const DecodingExperts& a) {
  constexpr int elements = Format::elements, chunks = elements / 8, batch = 4;
  letKernelBehindBegin();
  waitForKernelsInFront();
  const int lane = threadIdx.x & 31, row = blockIdx.y;
  const int output = blockIdx.x * warps + (threadIdx.x >> 5);
  if (output >= a.outputs) return;
  bf16* target = a.y + (long long)row * a.outputs + output;
  const float before = lane == 0 ? AsBf16::load(target) : 0.0f;
  const int pieces = a.inputs / elements, all = pieces * a.perRow;
  float sum = 0.0f;
  for (int first = lane; first < all; first += 32 * batch) {
    uint4 w[batch], x[batch][chunks];
    float factors[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const int index = first + 32 * i;
      factors[i] = 0.0f;
      if (index >= all) continue;
      const int choice = index / pieces, piece = index - choice * pieces;
      const int position = a.places[row * a.perRow + choice];
      const long long matrixRow = (long long)a.experts[position] * a.outputs + output;
      w[i] = loadWeights((const unsigned char*)a.weight + matrixRow * a.inputs * (16 / elements) + piece * 16);
      const uint4* own = (const uint4*)(a.x + (long long)position * a.inputs) + piece * chunks;
#pragma unroll
      for (int c = 0; c < chunks; ++c) x[i][c] = own[c];
      factors[i] = a.factors[row * a.perRow + choice] * (a.scales ? a.scales[matrixRow] : 1.0f);
    }
#pragma unroll
    for (int i = 0; i < batch; ++i)
      if (first + 32 * i < all) sum += factors[i] * Format::dot(w[i], x[i]);
  }
  sum = warpSum(sum);
  if (lane == 0) AsBf16::store(target, before + sum);
}

}  // namespace

// decoding_gated_experts_TYPE: y[p] = silu(norm(x) * transpose(gate)) * (norm(x) * transpose(up)), of the row and the expert of position
// p. Grid: (outputs + 7) / 8, positions; 256 threads; dynamic shared memory: 2 * inputs bytes, rounded up to whole lines of 32 pieces of
// 16 (e4m3: 32) bytes. decoding_expert_sum_TYPE: y[r] += the sum over j of factors[r][j] * x[places[r][j]] * transpose(down of that
// position's expert). Grid: (outputs + 7) / 8, rows; 256 threads. inputs: a multiple of 8 (e4m3: 16). Parameters: DecodingExperts.
#define MI_DECODING_EXPERTS(name, Format)                                                         \
  extern "C" __global__ void __launch_bounds__(256)                                               \
      decoding_gated_experts_##name(const __grid_constant__ DecodingExperts a) {                  \
    gatedExperts<Format>(a);                                                                      \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(256)                                               \
      decoding_expert_sum_##name(const __grid_constant__ DecodingExperts a) {                     \
    expertSum<Format>(a);                                                                         \
  }

MI_DECODING_EXPERTS(bf16, Bf16Elements)
MI_DECODING_EXPERTS(fp8, Fp8Elements)
