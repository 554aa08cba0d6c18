// Products of rows with the matrices of their experts by Hopper's warpgroup products (sm_90a). Rows lie in the order of their experts.
// Persistent thread blocks: one warp brings tiles by bulk tensor copies, two warpgroups compute 64 rows each of 128 rows and 256
// outputs, or 128 outputs of gate and of up and their gated product. Sums are fp32 (of e4m3: as many bits as the tensor cores keep).

#include "expert_tiles.cuh"
#include "hopper_fp8.cuh"
#include "hopper_quads.cuh"
#include "numbers.cuh"

using namespace mi;

namespace {

struct Tiles {
  static constexpr int rows = 128;
  /// Outputs of one operand tile, of which a stage has two.
  static constexpr int outputs = 128;
  static constexpr int rowBytes = 128;
  static constexpr int bytes = 128 * rowBytes;
  static constexpr int stageBytes = 3 * bytes;
  static constexpr int stages = 4;
  /// Registers of a thread that copies, and of one that computes.
  static constexpr int copying = 40;
  static constexpr int computing = 232;
};

/// c = a * b^T (+ c where `accumulate`) of 32 bytes of the inner extent: a 64 rows, b 128 rows, both K-major in shared memory.
struct Bf16Product {
  static constexpr int elementBytes = 2;
  static __device__ __forceinline__ void multiply(
      float (&c)[64], unsigned long long a, unsigned long long b, int accumulate) {
    multiplyShared128(c, a, b, accumulate);
  }
};
struct Fp8Product {
  static constexpr int elementBytes = 1;
  static __device__ __forceinline__ void multiply(
      float (&c)[64], unsigned long long a, unsigned long long b, int accumulate) {
    multiplySharedFp8(c, a, b, accumulate);
  }
};

/// Where a round of a ring of stages stands.
struct Ring {
  int stage = 0;
  unsigned parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == Tiles::stages) stage = 0, parity ^= 1;
  }
};

/// Writes one half of a thread's outputs, 128 columns from `first` on; `up` of a gated product alone.
template <typename Product, bool gated>
__device__ __forceinline__ void store(
    const ExpertProduct& p, const ExpertTile& tile, int warpRow, int first, const float (&c)[64], const float (&up)[64]) {
  const int lane = threadIdx.x & 31;
  const long long matrix = (long long)tile.expert * p.outputs;
  constexpr bool hasScales = Product::elementBytes == 1;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = tile.row + warpRow + (lane >> 2) + 8 * half;
    const bool isRow = row < tile.end;
    const float rowScale = hasScales && isRow ? p.xScales[row] : 1.0f;
    bf16* target = p.y + (long long)row * p.outputs;
    // Four threads hold a row, two columns of every eight; after the exchange each holds eight columns that lie together. All
    // lanes take part in it, also those without a row.
#pragma unroll
    for (int group = 0; group < 4; ++group) {
      unsigned words[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int b = 4 * group + i, column = first + 8 * b + 2 * (lane & 3);
        float low = c[4 * b + 2 * half], high = c[4 * b + 2 * half + 1];
        if (hasScales && column < p.outputs) {
          const float2 scales = *(const float2*)(p.weightScales + matrix + column);
          low *= rowScale * scales.x;
          high *= rowScale * scales.y;
        }
        if (gated) {
          float lowUp = up[4 * b + 2 * half], highUp = up[4 * b + 2 * half + 1];
          if (hasScales && column < p.outputs) {
            const float2 scales = *(const float2*)(p.upScales + matrix + column);
            lowUp *= rowScale * scales.x;
            highUp *= rowScale * scales.y;
          }
          low = __fdividef(low, 1.0f + __expf(-low)) * lowUp;
          high = __fdividef(high, 1.0f + __expf(-high)) * highUp;
        }
        words[i] = toBF16Pair(low, high);
      }
      transposeQuad(words);
      const int column = first + 32 * group + 8 * (lane & 3);
      if (isRow && column < p.outputs) *(uint4*)(target + column) = make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

/// `weights`: of outputs 0 ..< 128 of a tile; `second`: of the next 128, or of up.
template <typename Product, bool gated>
__device__ __forceinline__ void expertProduct(
    const ExpertProduct& p, const TensorMap& x, const TensorMap& weights, const TensorMap& second) {
  extern __shared__ unsigned char memory[];
  const unsigned start = (sharedAddress(memory) + 1023) & ~1023u;
  // Behind the stages: a barrier of each that it is full, and one that it is empty.
  const unsigned full = start + Tiles::stages * Tiles::stageBytes, empty = full + 8 * Tiles::stages;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Tiles::stages; ++stage) {
      barrierInitialize(full + 8 * stage, 1);
      // One arrival for each warp that computes.
      barrierInitialize(empty + 8 * stage, 8);
    }
    barrierInitializationFence();
  }
  __syncthreads();

  constexpr int columns = gated ? Tiles::outputs : 2 * Tiles::outputs;
  constexpr int elements = Tiles::rowBytes / Product::elementBytes;
  const int columnTiles = (p.outputs + columns - 1) / columns;
  const int steps = (p.inputs + elements - 1) / elements;
  const int warpgroup = threadIdx.x >> 7;
  Ring ring;
  if (warpgroup == 0) {
    releaseRegisters<Tiles::copying>();
    if (threadIdx.x >= 32) return;
    ExpertTile tile;
    for (int index = blockIdx.x; findExpertTile(p, Tiles::rows, index / columnTiles, tile); index += gridDim.x) {
      const int column = index % columnTiles * columns;
      for (int step = 0; step < steps; ++step) {
        if (threadIdx.x == 0) {
          // A ring that has not come round yet is empty.
          barrierWait(empty + 8 * ring.stage, ring.parity ^ 1);
          const unsigned a = start + ring.stage * Tiles::stageBytes, barrier = full + 8 * ring.stage;
          barrierExpect(barrier, Tiles::stageBytes);
          copyBox(a, &x, step * elements, tile.row, 0, barrier, cacheEvictNormal);
          copyBox(a + Tiles::bytes, &weights, step * elements, column, tile.expert, barrier, cacheEvictNormal);
          copyBox(
              a + 2 * Tiles::bytes, &second, step * elements, gated ? column : column + Tiles::outputs, tile.expert, barrier,
              cacheEvictNormal);
        }
        ring.advance();
      }
      __syncwarp();
    }
    return;
  }

  claimRegisters<Tiles::computing>();
  const int half = warpgroup - 1;
  const int warpRow = half * 64 + (threadIdx.x >> 5 & 3) * 16;
  ExpertTile tile;
  for (int index = blockIdx.x; findExpertTile(p, Tiles::rows, index / columnTiles, tile); index += gridDim.x) {
    const int column = index % columnTiles * columns;
    float first[64], other[64];
    for (int step = 0; step < steps; ++step) {
      barrierWait(full + 8 * ring.stage, ring.parity);
      const unsigned a = start + ring.stage * Tiles::stageBytes;
      const unsigned long long rows = operand(a + half * 64 * Tiles::rowBytes, 0, 1024);
      const unsigned long long b = operand(a + Tiles::bytes, 0, 1024), c = operand(a + 2 * Tiles::bytes, 0, 1024);
      pin(first);
      pin(other);
      productsBegin();
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        // 32 bytes further within the swizzled rows; addresses count units of 16.
        Product::multiply(first, rows + 2 * k, b + 2 * k, step > 0 || k > 0);
        Product::multiply(other, rows + 2 * k, c + 2 * k, step > 0 || k > 0);
      }
      productsCommit();
      // The products before these have ended: their stage may be filled again.
      productsWait<1>();
      if (step > 0 && (threadIdx.x & 31) == 0) {
        barrierArrive(empty + 8 * (ring.stage == 0 ? Tiles::stages - 1 : ring.stage - 1));
      }
      ring.advance();
    }
    productsWait<0>();
    pin(first);
    pin(other);
    if ((threadIdx.x & 31) == 0) barrierArrive(empty + 8 * (ring.stage == 0 ? Tiles::stages - 1 : ring.stage - 1));
    store<Product, gated>(p, tile, warpRow, column, first, other);
    if (!gated) store<Product, false>(p, tile, warpRow, column + Tiles::outputs, other, first);
  }
}

}  // namespace

// expert_linear_TYPE: y = x * transpose(matrix of each row's expert); weights and second are one map. gated_experts_TYPE: y = silu(x *
// transpose(gate)) * (x * transpose(up)); weights are gate, second up. Maps are of rows of 128 bytes in boxes of 128 rows with the
// 128-byte swizzle: x [1][positions][inputs], weights [experts][outputs][inputs]. Grid: at most one block a multiprocessor; 384
// threads; 197760 bytes of shared memory. Parameters: ExpertProduct, TensorMap x, TensorMap weights, TensorMap second.
#define MI_EXPERT_PRODUCTS(name, Product)                                                                      \
  extern "C" __global__ void __launch_bounds__(384, 1) expert_linear_##name(                                   \
      const __grid_constant__ ExpertProduct p, const __grid_constant__ TensorMap x,                            \
      const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap second) {                   \
    expertProduct<Product, false>(p, x, weights, second);                                                      \
  }                                                                                                            \
  extern "C" __global__ void __launch_bounds__(384, 1) gated_experts_##name(                                   \
      const __grid_constant__ ExpertProduct p, const __grid_constant__ TensorMap x,                            \
      const __grid_constant__ TensorMap weights, const __grid_constant__ TensorMap second) {                   \
    expertProduct<Product, true>(p, x, weights, second);                                                       \
  }

MI_EXPERT_PRODUCTS(bf16, Bf16Product)
MI_EXPERT_PRODUCTS(fp8, Fp8Product)
