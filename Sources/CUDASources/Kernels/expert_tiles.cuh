// Which tile of which expert a thread block computes: rows of products with experts lie in the order of their experts, and where
// each expert's begin is known on the device alone.
#ifndef MI_EXPERT_TILES_CUH
#define MI_EXPERT_TILES_CUH

#include "layouts.cuh"
#include "reductions.cuh"

namespace mi {

/// Products of positions with the matrices of their experts.
struct ExpertProduct {
  /// [positions][inputs], bf16 or e4m3.
  const void* x;
  /// [experts][outputs][inputs], of the same type; `up` of a gated product alone.
  const void* weight;
  const void* up;
  /// [positions][outputs].
  bf16* y;
  /// Where each expert's positions begin, [experts + 1]: of the experts of this launch.
  const int* offsets;
  /// Factors of e4m3: [positions], [experts][outputs], [experts][outputs].
  const float* xScales;
  const float* weightScales;
  const float* upScales;
  /// What is added to products, [experts][outputs] of the experts of this launch; null: nothing.
  const float* bias;
  const float* upBias;
  int experts;
  int outputs;
  int inputs;
  /// Of clamped SwiGLU; limit 0: silu.
  float alpha, limit;
};

MI_CHECK_LAYOUT(ExpertProduct);

/// The gated product of one output of gate and of up. NaN stays NaN.
__device__ __forceinline__ float gatedOutput(const ExpertProduct& p, float gate, float up) {
  if (p.limit > 0.0f) {
    gate = gate > p.limit ? p.limit : gate;
    up = up > p.limit ? p.limit : up < -p.limit ? -p.limit : up;
    return __fdividef(gate, 1.0f + __expf(-p.alpha * gate)) * (up + 1.0f);
  }
  return __fdividef(gate, 1.0f + __expf(-gate)) * up;
}

struct ExpertTile {
  int expert;
  /// Its first row and the end of the expert's rows.
  int row, end;
};

/// The tile of `rows` rows that is number `index` over all experts; a warp finds it together. False behind the last one.
__device__ __forceinline__ bool findExpertTile(const ExpertProduct& p, int rows, int index, ExpertTile& tile) {
  const int lane = threadIdx.x & 31;
  int before = 0;
  for (int first = 0; first < p.experts; first += 32) {
    const int e = first + lane;
    const int start = e < p.experts ? p.offsets[e] : 0;
    const int end = e < p.experts ? p.offsets[e + 1] : 0;
    const int tiles = (end - start + rows - 1) / rows;
    const int through = before + warpInclusiveSum(tiles);
    const unsigned behind = __ballot_sync(allLanes, through > index);
    if (behind) {
      const int found = __ffs(behind) - 1;
      tile.expert = first + found;
      const int own = __shfl_sync(allLanes, start + (index - (through - tiles)) * rows, found);
      tile.row = own;
      tile.end = __shfl_sync(allLanes, end, found);
      return true;
    }
    before = __shfl_sync(allLanes, through, 31);
  }
  return false;
}

}  // namespace mi

#endif
