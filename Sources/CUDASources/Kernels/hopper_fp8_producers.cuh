// The warps that feed the consumers of attention with fp8 operands: a loader for blocks of keys and values, and a warp a half for
// its queries, which it rounds to e4m3 with a scale a row.

#pragma once

#include "hopper_fp8_plan.cuh"
#include "numbers.cuh"

namespace mi {

struct Fp8Loader {
  using Layout = Fp8Layout;

  static __device__ __forceinline__ void copyBlock(
      const Fp8Parameters& f, unsigned to, unsigned barrier, int position, int kvHead, int head) {
    const bool columns = position >= columnBlock;
    const long long block = columns ? (long long)head * f.columnBlocks + (position - columnBlock >> 6)
                                    : (long long)kvHead * f.blocks + (position >> 6);
    copyBytes(to, (columns ? f.columnKeys : f.keys) + block * fp8BlockBytes, fp8BlockBytes, barrier, cacheEvictLast);
    copyBytes(to + Layout::values, (columns ? f.columnValues : f.values) + block * fp8BlockBytes, fp8BlockBytes, barrier,
        cacheEvictLast);
  }

  static __device__ __forceinline__ void run(
      const Fp8Parameters& f, unsigned shared, const unsigned* queueWords, unsigned* infoWords) {
    constexpr int stageWords = sizeof(Stage) / 4;
    const int lane = threadIdx.x & 31;
    int slot = 0, slotPhase = 0, stage = 0, phase = 0;
    for (;;) {
      barrierWait(shared + Layout::fullQueue + 8 * slot, slotPhase);
      barrierWait(shared + Layout::empty + 8 * stage, phase ^ 1);
      const Stage& entry = *(const Stage*)(queueWords + slot * stageWords);
      const int next = entry.tile;
      const bool used = next >= 0 && entry.use;
      if (lane < stageWords) infoWords[stage * stageWords + lane] = queueWords[slot * stageWords + lane];
      __syncwarp();
      if (lane == 0) {
        const unsigned full = shared + Layout::full + 8 * stage;
        const unsigned to = shared + Layout::keys + stage * Layout::stageBytes;
        barrierExpect(full, used ? Layout::stageBytes : 0);
        if (used) {
          copyBlock(f, to, full, entry.position[0], entry.kvHead, entry.head[0]);
          copyBlock(f, to + fp8BlockBytes, full, entry.position[1], entry.kvHead, entry.head[0]);
        }
      }
      if (next < 0) return;
      __syncwarp();
      if (lane == 0) barrierArrive(shared + Layout::emptyQueue + 8 * slot);
      if (++slot == Layout::queueDepth) slot = 0, slotPhase ^= 1;
      if (++stage == Layout::stages) stage = 0, phase ^= 1;
    }
  }
};

/// One warp a half: 64 rows of queries to e4m3, two rows at a time, sixteen lanes a row.
struct Fp8Queries {
  using Layout = Fp8Layout;

  static __device__ __forceinline__ float sumOfRow(float x) {
#pragma unroll
    for (int m = 8; m > 0; m >>= 1) x += __shfl_xor_sync(0xffffffffu, x, m);
    return x;
  }

  static __device__ __forceinline__ void run(
      const AttentionParameters& a, const Fp8Parameters& f, unsigned char* base, unsigned shared, int half) {
    const int lane = threadIdx.x & 31, part = lane & 15;
    for (int count = 0;; ++count) {
      const int buffer = count % Layout::queryBuffers, phase = count / Layout::queryBuffers & 1;
      barrierWait(shared + Layout::asked + 8 * buffer, phase);
      const Fp8Ask& ask = *(const Fp8Ask*)(base + Layout::ask + buffer * sizeof(Fp8Ask));
      const int firstRow = ask.row[half], head = ask.head[half];
      if (firstRow < 0) return;
      const KVFactors& factors = f.factors[head / a.groupSize];
      Fp8Rows& rows = *(Fp8Rows*)(base + Layout::rows + (count & 1) * sizeof(Fp8Rows));
      unsigned char* to = base + buffer * Layout::queryBytes + half * Layout::halfQueryBytes;
      float mean[8];
      AsFp32::load8(factors.keyMean + 8 * part, mean);
      const float keyScale = a.scaleLog2 * factors.keyScale;
      const bf16* q = a.q + (long long)head * 128 + 8 * part;
      for (int first = lane >> 4; first < 64; first += 8) {
        uint4 words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = firstRow + first + 2 * i - a.firstPosition;
          words[i] = row >= 0 && row < a.rows ? *(const uint4*)(q + (long long)row * a.qStride) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = first + 2 * i;
          float x[8];
          AsBf16::unpack(words[i], x);
          float largest = 0, bias = 0;
#pragma unroll
          for (int j = 0; j < 8; ++j) largest = fmaxf(largest, fabsf(x[j])), bias += x[j] * mean[j];
#pragma unroll
          for (int m = 8; m > 0; m >>= 1) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, m));
          bias = sumOfRow(bias);
          const float inverse = largest > 1e-30f ? largestFp8 / largest : 1.0f;
#pragma unroll
          for (int j = 0; j < 8; ++j) x[j] *= inverse;
          *(uint2*)(to + row * 128 + ((part >> 1 ^ (row & 7)) << 4) + 8 * (part & 1)) =
              make_uint2(packFp8(x[0], x[1], x[2], x[3]), packFp8(x[4], x[5], x[6], x[7]));
          if (part == 0) {
            rows.scale[64 * half + row] = keyScale / inverse;
            rows.bias[64 * half + row] = a.scaleLog2 * bias;
          }
        }
      }
      // Both halves belong to one kv head; each brings half of what its values need.
#pragma unroll
      for (int i = 0; i < 2; ++i) rows.valueMean[64 * half + 32 * i + lane] = factors.valueMean[64 * half + 32 * i + lane];
      if (lane == 0) rows.valueScale = factors.valueScale;
      publishShared();
      __syncwarp();
      if (lane == 0) barrierArrive(shared + Layout::fullQueries + 8 * buffer);
    }
  }
};

}  // namespace mi
