// Parameters and shapes of attention of a few rows.

#pragma once

#include "common.cuh"
#include "layouts.cuh"

/// Where the keys and values of a sequence lie, in one layer.
struct SequenceRow {
  const void* k;  ///< [kvHeads][capacity][headDim], bf16 or e4m3
  const void* v;
  const float* keyScales;    ///< [kvHeads], e4m3 only
  const float* valueScales;  ///< [kvHeads], e4m3 only
  long long kvHeadStride;    ///< elements
};
MI_CHECK_LAYOUT(SequenceRow);

struct RowAttentionParameters {
  const bf16* q;     ///< [rows][queryHeads][headDim], row stride qStride
  bf16* o;           ///< [rows][queryHeads][headDim], row stride oStride
  float* logSumExp;  ///< [rows][queryHeads], natural logarithm, or null
  const void* k;     ///< [kvHeads][capacity][headDim], bf16 or e4m3
  const void* v;
  const float* keyScales;    ///< [kvHeads], e4m3 only
  const float* valueScales;  ///< [kvHeads], e4m3 only
  const int* positions;      ///< [rows], device memory, any order; ascending is fastest. Null:
                             ///< consecutive, the last one keys - 1
  float* workspace;
  unsigned* counters;      ///< [kvHeads], or null
  long long kvHeadStride;  ///< elements
  int rows;
  int qStride, oStride;  ///< elements
  int queryHeads;
  int groupSize;  ///< query heads a kv head, 1 to 16 (any number with m64)
  int splits;     ///< grid x of the first launch
  int keys;    ///< 1 + the largest position where the host knows it, so that copies start at once;
               ///< else 0
  int window;  ///< keys with i - j >= window are invisible; INT_MAX: none
  float scaleLog2;  ///< scale * log2(e), positive
  const SequenceRow* sequences;  ///< [rows], device memory: instead of k, v, scales and kvHeadStride
};
MI_CHECK_LAYOUT(RowAttentionParameters);

namespace mi {

/// Shape of one variant. `rowWarps` warps share out packed rows, 16 each; the others share out
/// keys.
template <int D, int bytes, int rowWarps>
struct RowTile {
  static constexpr int threads = 128;
  static constexpr int rows = 16 * rowWarps;
  static constexpr int rowBytes = D * bytes;
  static constexpr int stageKeys = bytes == 2 ? 64 : 128;
  static constexpr int warpKeys =
      rowWarps == 1 ? stageKeys / 4 : 64;  // keys that a warp takes at once
  static constexpr int passes = rowWarps == 1 ? 1 : stageKeys / 64;
  static constexpr int matrixBytes = stageKeys * rowBytes;
  static constexpr int stages = D == 64 ? 6 : 3;
  static constexpr float slack = 8.0f;  // log2; as in attention.cu
  // e4m3 values are multiplied as fp16, whose range is small: p is raised by 2^bias, to at most
  // 2^15, and loses only what is below 2^-31 of its row's largest.
  static constexpr float bias = bytes == 2 ? 0.0f : 7.0f;

  /// Position of 16-byte chunk `chunk` of key `key`, so that eight keys' equal chunks lie in
  /// different banks.
  static __device__ __forceinline__ int chunkOffset(int key, int chunk) {
    const int swizzle = rowBytes % 128 == 0 ? key & 7
        : rowBytes == 96                    ? key >> 2 & 1
                                            : key >> 1 & 3;
    return key * rowBytes + ((chunk ^ swizzle) << 4);
  }
};

__device__ __forceinline__ int positionOf(const RowAttentionParameters& a, int row) {
  return a.positions == nullptr ? a.keys - a.rows + row : a.positions[row];
}

}  // namespace mi
