// Linear layers of a decoding step of up to 8 rows, with weights of bf16 or e4m3: bound by memory, and by launches. A launch norms its
// input, multiplies it with up to three matrices, and adds biases, or gates the product of one by that of another.
//
// A thread block computes 8 outputs of each of one or two matrices, or of two neighbouring groups; its 8 warps share out the inputs.
// Weights go straight from memory to the registers of tensor cores: a lane reads 16 bytes of one output, and both operands have the
// inputs in the order in which they come so. The norm is x * factor / root mean square: the row's sum of squares grows beside the
// products, and its root divides them at the end. Weights of the first steps are under way before the kernel in front has ended.
//
// A single row comes to shared memory as a whole: what a launch takes is then the latency of one load, and not of one in each step.
// It may come from what splits of attention have left, and go to queries and a cache (decoding_row.cuh).
//
// What a row gives does not depend on how many rows there are.

#include "decoding_row.cuh"
#include "dependent_launch.cuh"

using namespace mi;

namespace {

constexpr int warps = 8;

/// Sixteen bytes of weights, and as many inputs of rows, as operands of tensor cores.
struct Bf16Weights {
  static constexpr int elements = 8;
  static constexpr bool hasScales = false;

  static __device__ __forceinline__ void multiply(float (&c)[4], const uint4& w, const unsigned (&x)[4]) {
    const unsigned first[4] = {x[0], 0u, x[1], 0u}, second[4] = {x[2], 0u, x[3], 0u};
    multiplyAdd(c, first, w.x, w.y);
    multiplyAdd(c, second, w.z, w.w);
  }
};

struct Fp8Weights {
  static constexpr int elements = 16;
  static constexpr bool hasScales = true;

  static __device__ __forceinline__ void multiply(float (&c)[4], const uint4& w, const unsigned (&x)[8]) {
    const unsigned words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // Elements 0 and 2 of four, then 1 and 3, as bytes in the upper halves yield them.
      const unsigned a[4] = {__byte_perm(x[2 * i], x[2 * i + 1], 0x5410), 0u, __byte_perm(x[2 * i], x[2 * i + 1], 0x7632), 0u};
      multiplyAdd(c, a, fp8HighBytesToBF16Pair(words[i] << 8 & 0xff00ff00u), fp8HighBytesToBF16Pair(words[i] & 0xff00ff00u));
    }
  }
};

extern __shared__ __align__(16) unsigned char stagedRow[];

/// `groups`: 8 outputs each. `blockScales`: factors differ along the inputs too, by blocks of a multiple of 64. `staged`: one row, in
/// shared memory with the factors of the norm behind it; `Inputs` and `Store` are where it comes from and goes to.
template <typename Format, int groups, bool blockScales, bool staged, typename Inputs = RowInputs, typename Store = StoreRow>
__device__ __forceinline__ void decodingProduct(
    const DecodingProduct& p, const Inputs& inputs = Inputs(), const Store& store = Store()) {
  constexpr int elements = Format::elements, stepInputs = 4 * elements, words = elements / 2;
  constexpr int batch = 6 / groups;
  __shared__ float2 products[warps][groups][8][4];
  __shared__ float squareSums[warps][8];
  letKernelBehindBegin();
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, quad = lane >> 2, part = lane & 3;

  int block = blockIdx.x, matrix = 0;
  if (!p.isGated) {
    for (; matrix < 2; ++matrix) {
      const int blocks = (p.matrices[matrix].outputs + 8 * groups - 1) / (8 * groups);
      if (block < blocks) break;
      block -= blocks;
    }
  }
  auto matrixOf = [&](int group) -> const DecodingMatrix& { return p.matrices[p.isGated ? group : matrix]; };
  auto firstOutput = [&](int group) {
    if (!Store::storesHeads) return (p.isGated ? block : block * groups + group) * 8;
    // Eight elements of the first half of a head, and those that are turned with them.
    const int first = block * 8, half = store.halfHead();
    return first / half * 2 * half + first % half + group * half;
  };

  const unsigned char* weights[groups];
#pragma unroll
  for (int g = 0; g < groups; ++g) {
    const DecodingMatrix& m = matrixOf(g);
    const long long output = min(firstOutput(g) + quad, m.outputs - 1);
    weights[g] = (const unsigned char*)m.weight + output * p.inputs * (16 / elements) + part * 16;
  }
  const int steps = (p.inputs + stepInputs - 1) / stepInputs;

  /// Weights of `batch` steps of this warp, and their factors.
  struct Batch {
    uint4 w[batch][groups];
    float2 scales[blockScales ? batch : 1][groups];
  };
  auto load = [&](Batch& to, int first) {
#pragma unroll
    for (int u = 0; u < batch; ++u) {
      const int step = first + u * warps, input = step * stepInputs + part * elements;
#pragma unroll
      for (int g = 0; g < groups; ++g) {
        to.w[u][g] = make_uint4(0u, 0u, 0u, 0u);
        if (input < p.inputs) to.w[u][g] = loadWeights(weights[g] + (long long)step * 64);
        if (blockScales) {
          const DecodingMatrix& m = matrixOf(g);
          const int column = step < steps ? step * stepInputs / m.scaleColumns : 0;
          const int output = m.firstRow + firstOutput(g) + 2 * part, last = m.firstRow + m.outputs - 1;
          to.scales[u][g] = make_float2(m.scales[(long long)(min(output, last) / m.scaleRows) * m.scalesAcross + column],
              m.scales[(long long)(min(output + 1, last) / m.scaleRows) * m.scalesAcross + column]);
        }
      }
    }
  };
  Batch current, next;
  load(current, warp);
  float* stagedFactors = (float*)(stagedRow + p.inputs * 2);
  if (staged && p.norm) {
    for (int input = threadIdx.x * 4; input < p.inputs; input += 256 * 4)
      *(float4*)(stagedFactors + input) = *(const float4*)(p.norm + input);
  }
  waitForKernelsInFront();
  if (staged) {
#pragma unroll 4
    for (int input = threadIdx.x * 8; input < p.inputs; input += 256 * 8)
      *(uint4*)(stagedRow + input * 2) = inputs(p, 0, input);
    __syncthreads();
  }

  // What the last threads need is under way meanwhile.
  const int ownRow = threadIdx.x >> 3 & 7;
  const int ownGroup = p.isGated || Store::storesHeads ? 0 : (threadIdx.x >> 6) % groups;
  const int ownOutput = firstOutput(ownGroup) + (threadIdx.x & 7);
  const DecodingMatrix& own = matrixOf(ownGroup);
  const bool isOwner = (int)threadIdx.x < (p.isGated || Store::storesHeads ? 64 : 64 * groups) && ownRow < p.rows &&
      ownOutput < own.outputs;
  typename Store::Prepared prepared = {};
  if (isOwner) prepared = store.prepare(p, own, ownRow, ownOutput);

  const bool hasRow = quad < p.rows;
  const bf16* x = p.x + (long long)(hasRow ? quad : 0) * p.inputs;
  float c[groups][4] = {}, squares = 0.0f;
  for (int first = warp; first < steps; first += batch * warps) {
    if (first + batch * warps < steps) load(next, first + batch * warps);
#pragma unroll
    for (int u = 0; u < batch; ++u) {
      const int step = first + u * warps, input = step * stepInputs + part * elements;
      if (step >= steps) break;
      unsigned values[words] = {};
      if (hasRow && input < p.inputs) {
#pragma unroll
        for (int i = 0; i < words / 4; ++i) {
          const uint4 eight = staged ? *(const uint4*)(stagedRow + (input + 8 * i) * 2) : *(const uint4*)(x + input + 8 * i);
          values[4 * i] = eight.x, values[4 * i + 1] = eight.y, values[4 * i + 2] = eight.z, values[4 * i + 3] = eight.w;
        }
        if (p.norm) {
#pragma unroll
          for (int i = 0; i < words; i += 2) {
            const float4 factors = *(const float4*)((staged ? stagedFactors : p.norm) + input + 2 * i);
            const float x0 = lowFloat(values[i]), x1 = highFloat(values[i]);
            const float x2 = lowFloat(values[i + 1]), x3 = highFloat(values[i + 1]);
            squares += x0 * x0 + x1 * x1 + x2 * x2 + x3 * x3;
            values[i] = toBF16Pair(x0 * factors.x, x1 * factors.y);
            values[i + 1] = toBF16Pair(x2 * factors.z, x3 * factors.w);
          }
        }
      }
#pragma unroll
      for (int g = 0; g < groups; ++g) {
        if (blockScales) {
          float d[4] = {};
          Format::multiply(d, current.w[u][g], values);
          c[g][0] += current.scales[u][g].x * d[0], c[g][1] += current.scales[u][g].y * d[1];
        } else {
          Format::multiply(c[g], current.w[u][g], values);
        }
      }
    }
    current = next;
  }

  squares = quadSum(squares);
  if (part == 0) squareSums[warp][quad] = squares;
#pragma unroll
  for (int g = 0; g < groups; ++g) products[warp][g][quad][part] = make_float2(c[g][0], c[g][1]);
  __syncthreads();
  if (!isOwner) return;
  float scale = 1.0f;
  if (p.norm) {
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < warps; ++w) sum += squareSums[w][ownRow];
    scale = 1.0f / sqrtf(sum / (float)p.inputs + p.epsilon);
  }
  auto total = [&](int group) {
    const DecodingMatrix& m = matrixOf(group);
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < warps; ++w) sum += ((const float*)products[w][group][ownRow])[threadIdx.x & 7];
    sum *= scale;
    const int output = ownOutput + (group - ownGroup) * (Store::storesHeads ? store.halfHead() : p.isGated ? 0 : 8);
    if (Format::hasScales && !blockScales) sum *= m.scales[(m.firstRow + output) / m.scaleRows * m.scalesAcross];
    return m.bias ? sum + m.bias[output] : sum;
  };
  float result = total(ownGroup), other = 0.0f;
  if (Store::storesHeads) other = total(groups - 1);
  if (groups > 1 && p.isGated) {
    // Rounded where gate and up are rounded that are computed apart.
    result = siluTimes(toFloat(toBF16(result)), toFloat(toBF16(total(groups - 1))));
  }
  store(p, own, ownRow, ownOutput, result, other, prepared);
}

}  // namespace

// decoding_product_TYPE_GROUPS, decoding_row_TYPE_GROUPS. Gated: two groups, and grid (outputs + 7) / 8. Else grid: the sum of
// (outputs + 8 * GROUPS - 1) / (8 * GROUPS) over the matrices; those that are not there have no outputs. 256 threads. Dynamic shared
// memory of a row: 2 * inputs bytes, and 4 * inputs more with a norm. Parameters: DecodingProduct.
//
// decoding_row_heads_TYPE: the matrices give heads, whose size is a multiple of 16. Grid: the sum of outputs / 16. DecodingHeads follow.
// decoding_row_partials_TYPE: the input is what attention of one row has left. Grid: as with one group. RowAttentionParameters follow.
#define MI_DECODING_PRODUCT(name, Format, groups, blockScales)                                            \
  extern "C" __global__ void __launch_bounds__(256, 2)                                                    \
      decoding_product_##name##_##groups(const __grid_constant__ DecodingProduct p) {                     \
    decodingProduct<Format, groups, blockScales, false>(p);                                               \
  }                                                                                                       \
  extern "C" __global__ void __launch_bounds__(256, 2)                                                    \
      decoding_row_##name##_##groups(const __grid_constant__ DecodingProduct p) {                         \
    decodingProduct<Format, groups, blockScales, true>(p);                                                \
  }
#define MI_DECODING_PRODUCTS(name, Format, blockScales)                                                   \
  MI_DECODING_PRODUCT(name, Format, 1, blockScales)                                                       \
  MI_DECODING_PRODUCT(name, Format, 2, blockScales)                                                       \
  extern "C" __global__ void __launch_bounds__(256, 2) decoding_row_heads_##name(                         \
      const __grid_constant__ DecodingProduct p, const __grid_constant__ DecodingHeads a) {               \
    decodingProduct<Format, 2, blockScales, true>(p, RowInputs(), StoreHeads{a});                         \
  }                                                                                                       \
  extern "C" __global__ void __launch_bounds__(256, 2) decoding_row_partials_##name(                      \
      const __grid_constant__ DecodingProduct p, const __grid_constant__ RowAttentionParameters a) {      \
    decodingProduct<Format, 1, blockScales, true>(p, PartialInputs{a});                                   \
  }

MI_DECODING_PRODUCTS(bf16, Bf16Weights, false)
MI_DECODING_PRODUCTS(fp8, Fp8Weights, false)
MI_DECODING_PRODUCTS(fp8_blocks, Fp8Weights, true)
