// Products of rows with the matrices of their experts, on every GPU from sm_80 on (e4m3: sm_89). Rows lie in the order of their
// experts. A thread block computes 128 rows of one expert and 128 outputs, or 64 outputs of gate and of up and their gated product.
// Sums are fp32.

#include "expert_tiles.cuh"
#include "numbers.cuh"

using namespace mi;

namespace {

/// Rows of 128 bytes in shared memory, eight pieces of 16 bytes each: piece i of row r lies at i ^ (r % 8), so that neither copies
/// nor the loads of fragments meet in a bank.
struct Tiles {
  static constexpr int rows = 128;
  static constexpr int rowBytes = 128;
  static constexpr int bytes = rows * rowBytes;
  static constexpr int stages = 3;
};

__device__ __forceinline__ unsigned pieceAddress(unsigned tile, int row, int piece) {
  return tile + row * Tiles::rowBytes + ((piece ^ (row & 7)) << 4);
}

/// c += a * b of 32 bytes of the inner extent: the fragments of both types lie alike.
struct Bf16Product {
  static constexpr int elementBytes = 2;
  static __device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    multiplyAdd(c, a, b0, b1);
  }
};
struct Fp8Product {
  static constexpr int elementBytes = 1;
  static __device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 890
    asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    __trap();
#endif
  }
};

template <typename Product, bool gated> __device__ __forceinline__ void expertProduct(const ExpertProduct& p) {
  extern __shared__ __align__(1024) unsigned char memory[];
  ExpertTile tile;
  if (!findExpertTile(p, Tiles::rows, blockIdx.y, tile)) return;
  constexpr int columns = gated ? 64 : 128;
  const int firstColumn = blockIdx.x * columns;
  const unsigned shared = sharedAddress(memory);
  const long long rowBytes = (long long)p.inputs * Product::elementBytes;
  const unsigned char* x = (const unsigned char*)p.x;
  const long long matrix = (long long)tile.expert * p.outputs;
  const int steps = (int)((rowBytes + Tiles::rowBytes - 1) / Tiles::rowBytes);

  auto load = [&](int step) {
    const unsigned a = shared + (step % Tiles::stages) * 2 * Tiles::bytes, b = a + Tiles::bytes;
    const int piece = threadIdx.x & 7;
    const long long offset = (long long)step * Tiles::rowBytes + piece * 16;
    const bool inside = offset < rowBytes;
#pragma unroll
    for (int i = 0; i < Tiles::rows / 32; ++i) {
      const int row = (threadIdx.x >> 3) + i * 32;
      const bool valid = inside && tile.row + row < tile.end;
      copyAsync16(
          pieceAddress(a, row, piece), valid ? x + (long long)(tile.row + row) * rowBytes + offset : x, valid);
      // Of a gated product the upper half are rows of up.
      const bool isUp = gated && row >= 64;
      const unsigned char* weight = (const unsigned char*)(isUp ? p.up : p.weight);
      const int output = firstColumn + (isUp ? row - 64 : row);
      const bool exists = inside && output < p.outputs;
      copyAsync16(pieceAddress(b, row, piece), exists ? weight + (matrix + output) * rowBytes + offset : weight, exists);
    }
  };

  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int warpRow = (warp & 3) * 32, warpColumn = (warp >> 2) * (gated ? 32 : 64);
  float c[2][8][4];
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int k = 0; k < 4; ++k) c[i][j][k] = 0.0f;

#pragma unroll
  for (int step = 0; step < Tiles::stages - 1; ++step) {
    if (step < steps) load(step);
    copyAsyncCommit();
  }
  for (int step = 0; step < steps; ++step) {
    copyAsyncWait<Tiles::stages - 2>();
    __syncthreads();
    if (step + Tiles::stages - 1 < steps) load(step + Tiles::stages - 1);
    copyAsyncCommit();
    const unsigned a = shared + (step % Tiles::stages) * 2 * Tiles::bytes, b = a + Tiles::bytes;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      unsigned fragments[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        loadMatrix4(fragments[i], pieceAddress(a, warpRow + i * 16 + (lane & 15), 2 * k + (lane >> 4)));
      }
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        // Rows of 16 outputs: of gate and up 32 each, or 64 in a row.
        const int first = gated ? (j < 4 ? warpColumn + j * 8 : 64 + warpColumn + (j - 4) * 8) : warpColumn + j * 8;
        unsigned pair[4];
        loadMatrix4(pair, pieceAddress(b, first + (lane & 7) + (lane >> 4) * 8, 2 * k + (lane >> 3 & 1)));
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          Product::multiply(c[i][j], fragments[i], pair[0], pair[1]);
          Product::multiply(c[i][j + 1], fragments[i], pair[2], pair[3]);
        }
      }
    }
  }

  constexpr bool hasScales = Product::elementBytes == 1;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = tile.row + warpRow + i * 16 + (lane >> 2) + half * 8;
      if (row >= tile.end) continue;
      const float rowScale = hasScales ? p.xScales[row] : 1.0f;
      bf16* target = p.y + (long long)row * p.outputs;
#pragma unroll
      for (int j = 0; j < (gated ? 4 : 8); ++j) {
        const int column = firstColumn + warpColumn + j * 8 + (lane & 3) * 2;
        if (column >= p.outputs) continue;
        float low = c[i][j][2 * half], high = c[i][j][2 * half + 1];
        if (hasScales) {
          low *= rowScale * p.weightScales[matrix + column];
          high *= rowScale * p.weightScales[matrix + column + 1];
        }
        if (p.bias) low += p.bias[matrix + column], high += p.bias[matrix + column + 1];
        if (gated) {
          float lowUp = c[i][j + 4][2 * half], highUp = c[i][j + 4][2 * half + 1];
          if (hasScales) {
            lowUp *= rowScale * p.upScales[matrix + column];
            highUp *= rowScale * p.upScales[matrix + column + 1];
          }
          if (p.upBias) lowUp += p.upBias[matrix + column], highUp += p.upBias[matrix + column + 1];
          low = gatedOutput(p, low, lowUp);
          high = gatedOutput(p, high, highUp);
        }
        *(unsigned*)(target + column) = toBF16Pair(low, high);
      }
    }
  }
}

/// As formats of blocks.cuh: eight elements at a time.
struct DenseBf16 {
  static constexpr int elements = 8, bytes = 16;
  static __device__ __forceinline__ void read8(const unsigned char* b, int, float (&values)[8]) {
    AsBf16::load8((const bf16*)b, values);
  }
};
struct DenseFp8 {
  static constexpr int elements = 8, bytes = 8;
  static __device__ __forceinline__ void read8(const unsigned char* b, int, float (&values)[8]) {
    const uint2 words = *(const uint2*)b;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const unsigned word = i == 0 ? words.x : words.y;
      // Bytes 0 and 2, then 1 and 3, in the upper halves of pairs.
      const unsigned even = fp8HighBytesToBF16Pair(word << 8 & 0xff00ff00u), odd = fp8HighBytesToBF16Pair(word & 0xff00ff00u);
      values[4 * i] = lowFloat(even), values[4 * i + 1] = lowFloat(odd);
      values[4 * i + 2] = highFloat(even), values[4 * i + 3] = highFloat(odd);
    }
  }
};

}  // namespace

#include "few_expert_rows.cuh"

// y = x * transpose(matrix of each row's expert) + its bias. Grid: (outputs + 127) / 128, at least the tiles of 128 rows that all experts have
// together; 256 threads; 98304 bytes of shared memory. Extents are multiples of 8 (e4m3: 16) and bases of 16 bytes.
extern "C" __global__ void __launch_bounds__(256, 2) expert_linear_bf16(const __grid_constant__ ExpertProduct p) {
  expertProduct<Bf16Product, false>(p);
}
extern "C" __global__ void __launch_bounds__(256, 2) expert_linear_fp8(const __grid_constant__ ExpertProduct p) {
  expertProduct<Fp8Product, false>(p);
}

// y = gatedOutput of x * transpose(gate) and x * transpose(up) with their biases, of each row's expert. Grid: (outputs + 63) / 64, and as above.
extern "C" __global__ void __launch_bounds__(256, 2) gated_experts_bf16(const __grid_constant__ ExpertProduct p) {
  expertProduct<Bf16Product, true>(p);
}
extern "C" __global__ void __launch_bounds__(256, 2) gated_experts_fp8(const __grid_constant__ ExpertProduct p) {
  expertProduct<Fp8Product, true>(p);
}

MI_FEW_EXPERT_ROWS(bf16, DenseBf16)
MI_FEW_EXPERT_ROWS(fp8, DenseFp8)
