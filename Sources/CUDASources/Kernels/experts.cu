// Mixtures of experts beside their products: which experts a row goes to, in which order rows lie for them, and the sum of what
// they give. Positions are in the order of their experts, those of one expert in the order of the rows; nothing here depends on
// the order in which threads run.

#include "layouts.cuh"
#include "numbers.cuh"
#include "reductions.cuh"

using namespace mi;

/// How a row chooses: RoutingRule in Swift.
struct ExpertRule {
  int experts, perRow, isSigmoid, groups, chosenGroups, normalizes;
  float scaling;
};
MI_CHECK_LAYOUT(ExpertRule);

namespace {

constexpr int threads = 256;
/// Experts that a lane looks after, of up to 512.
constexpr int most = 16;
/// Choices that one block orders by comparing all with all.
constexpr int fewChoices = 256;


/// The largest value of the warp and where it is, of equals the lowest place; in every lane.
__device__ __forceinline__ void warpBest(float& value, int& place) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) {
    const float otherValue = __shfl_xor_sync(allLanes, value, m);
    const int otherPlace = __shfl_xor_sync(allLanes, place, m);
    if (otherValue > value || (otherValue == value && otherPlace < place)) value = otherValue, place = otherPlace;
  }
}

/// A warp chooses the experts of one row. Expert e is lane e % 32's.
__device__ __forceinline__ void chooseExperts(
    const float* logits, const float* bias, const ExpertRule& rule, int* chosen, float* weights) {
  const int lane = threadIdx.x & 31;
  const float none = -infinity();
  float scores[most], choices[most];
  float largest = none;
#pragma unroll
  for (int i = 0; i < most; ++i) {
    const int e = lane + 32 * i;
    // The bias of a sigmoid is for the choice alone.
    scores[i] = e < rule.experts ? logits[e] + (bias && !rule.isSigmoid ? bias[e] : 0.0f) : none;
    largest = fmaxf(largest, scores[i]);
  }
  largest = warpMaximum(largest);
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < most; ++i) {
    const int e = lane + 32 * i;
    if (e >= rule.experts) {
      choices[i] = none, scores[i] = 0.0f;
    } else if (rule.isSigmoid) {
      scores[i] = 1.0f / (1.0f + __expf(-scores[i]));
      choices[i] = scores[i] + (bias ? bias[e] : 0.0f);
    } else {
      choices[i] = scores[i];
      scores[i] = __expf(scores[i] - largest);
      total += scores[i];
    }
  }
  total = rule.isSigmoid ? 1.0f : warpSum(total);

  if (rule.groups > 1) {
    const int size = rule.experts / rule.groups;
    // Lane g holds the sum of group g's two best.
    float sum = none;
    for (int g = 0; g < rule.groups; ++g) {
      float first = none, second = none;
#pragma unroll
      for (int i = 0; i < most; ++i) {
        const int e = lane + 32 * i;
        if (e < g * size || e >= (g + 1) * size) continue;
        if (choices[i] > first) {
          second = first, first = choices[i];
        } else if (choices[i] > second) {
          second = choices[i];
        }
      }
      for (int m = 16; m > 0; m >>= 1) {
        const float otherFirst = __shfl_xor_sync(allLanes, first, m);
        const float otherSecond = __shfl_xor_sync(allLanes, second, m);
        second = fmaxf(fminf(first, otherFirst), fmaxf(second, otherSecond));
        first = fmaxf(first, otherFirst);
      }
      if (lane == g) sum = first + second;
    }
    unsigned mayChoose = 0;
    for (int i = 0; i < rule.chosenGroups; ++i) {
      float value = sum;
      int place = lane;
      warpBest(value, place);
      mayChoose |= 1u << place;
      if (lane == place) sum = none;
    }
#pragma unroll
    for (int i = 0; i < most; ++i) {
      const int e = lane + 32 * i;
      if (e < rule.experts && !(mayChoose >> (e / size) & 1)) choices[i] = none;
    }
  }

  // Lane j keeps the j-th choice.
  float weight = 0.0f;
  int expert = 0;
  for (int rank = 0; rank < rule.perRow; ++rank) {
    float value = none;
    int place = lane < rule.experts ? lane : 0x7fffffff;
#pragma unroll
    for (int i = 0; i < most; ++i) {
      if (choices[i] > value) value = choices[i], place = lane + 32 * i;
    }
    warpBest(value, place);
    float score = 0.0f;
#pragma unroll
    for (int i = 0; i < most; ++i) {
      if (lane + 32 * i == place) score = scores[i], choices[i] = none;
    }
    score = __shfl_sync(allLanes, score, place & 31);
    if (lane == rank) weight = score / total, expert = place;
  }
  const float sum = warpSum(lane < rule.perRow ? weight : 0.0f);
  if (lane < rule.perRow) {
    chosen[lane] = expert;
    weights[lane] = rule.normalizes ? weight / (sum + 1e-20f) * rule.scaling : weight * rule.scaling;
  }
}

/// Sum over the block, in every thread; every thread has read `shared` when it returns.
__device__ __forceinline__ int blockTotal(int value, int* shared) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) value += __shfl_xor_sync(allLanes, value, m);
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = value;
  __syncthreads();
  int sum = 0;
  for (int warp = 0; warp < threads / 32; ++warp) sum += shared[warp];
  __syncthreads();
  return sum;
}

}  // namespace

// Experts and weights of every row. logits: [rows][experts] fp32; bias: [experts] fp32 or null; chosen, weights: [rows][perRow].
// experts <= 512, perRow <= 32, groups <= 32. Grid: (rows + 7) / 8. Parameters: logits, bias, ExpertRule, int rows, chosen, weights.
extern "C" __global__ void __launch_bounds__(256) choose_experts(
    const float* logits, const float* bias, ExpertRule rule, int rows, int* chosen, float* weights) {
  const int row = blockIdx.x * (threads / 32) + (threadIdx.x >> 5);
  if (row >= rows) return;
  chooseExperts(
      logits + (long long)row * rule.experts, bias, rule, chosen + (long long)row * rule.perRow,
      weights + (long long)row * rule.perRow);
}

// The same for few rows, and their positions: rows * perRow <= 256. places, sources, experts, weights: [rows * perRow];
// offsets: [experts + 1]. Grid: 1. Parameters: logits, bias, ExpertRule, int rows, places, sources, experts, offsets, weights.
extern "C" __global__ void __launch_bounds__(256) route_few(
    const float* logits, const float* bias, ExpertRule rule, int rows, int* places, int* sources, int* experts, int* offsets,
    float* weights) {
  __shared__ int chosen[fewChoices];
  for (int row = threadIdx.x >> 5; row < rows; row += threads / 32) {
    chooseExperts(
        logits + (long long)row * rule.experts, bias, rule, chosen + row * rule.perRow, weights + row * rule.perRow);
  }
  __syncthreads();
  const int count = rows * rule.perRow;
  if ((int)threadIdx.x < count) {
    const int expert = chosen[threadIdx.x];
    int position = 0;
    for (int i = 0; i < count; ++i) {
      position += chosen[i] < expert || (chosen[i] == expert && i < (int)threadIdx.x);
    }
    places[threadIdx.x] = position;
    sources[position] = threadIdx.x / rule.perRow;
    experts[position] = expert;
  }
  for (int e = threadIdx.x; e <= rule.experts; e += threads) {
    int before = 0;
    for (int i = 0; i < count; ++i) before += chosen[i] < e;
    offsets[e] = before;
  }
}

// counts[e] = choices that are e. chosen: [count], 16-byte aligned. Grid: experts. Parameters: chosen, int count, counts.
extern "C" __global__ void __launch_bounds__(256) count_experts(const int* chosen, int count, int* counts) {
  __shared__ int shared[threads / 32];
  const int expert = blockIdx.x;
  int found = 0;
  for (int first = threadIdx.x * 4; first < count; first += threads * 4) {
    if (first + 4 <= count) {
      const int4 four = *(const int4*)(chosen + first);
      found += (four.x == expert) + (four.y == expert) + (four.z == expert) + (four.w == expert);
    } else {
      for (int i = first; i < count; ++i) found += chosen[i] == expert;
    }
  }
  found = blockTotal(found, shared);
  if (threadIdx.x == 0) counts[expert] = found;
}

// Positions in the order of experts and rows. counts: [experts]; places, sources, positions' experts: [count]; offsets:
// [experts + 1]. Grid: experts. Parameters: chosen, int count, int perRow, counts, places, sources, experts, offsets.
extern "C" __global__ void __launch_bounds__(256) order_positions(
    const int* chosen, int count, int perRow, const int* counts, int* places, int* sources, int* experts, int* offsets) {
  __shared__ int shared[threads / 32];
  __shared__ int total;
  const int expert = blockIdx.x;
  int before = 0;
  for (int e = threadIdx.x; e < expert; e += threads) before += counts[e];
  int next = blockTotal(before, shared);
  if (threadIdx.x == 0) {
    offsets[expert] = next;
    if (expert + 1 == (int)gridDim.x) offsets[expert + 1] = next + counts[expert];
  }
  constexpr int batch = 8;
  for (int start = 0; start < count; start += threads * batch) {
    const int first = start + threadIdx.x * batch;
    unsigned mine = 0;
#pragma unroll
    for (int i = 0; i < batch; ++i) mine |= first + i < count && chosen[first + i] == expert ? 1u << i : 0;
    const int inBlock = blockExclusiveSum(__popc(mine), shared);
    int position = next + inBlock;
    // The last thread knows what all have found together.
    if (threadIdx.x == threads - 1) total = inBlock + __popc(mine);
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      if (!(mine >> i & 1)) continue;
      places[first + i] = position;
      sources[position] = (first + i) / perRow;
      experts[position] = expert;
      ++position;
    }
    __syncthreads();
    next += total;
  }
}

// y[p] = x[ids[p]], of float32 factors. Grid: (count + 255) / 256. Parameters: x, ids, y, int count.
extern "C" __global__ void __launch_bounds__(256) gather_factors(const float* x, const int* ids, float* y, int count) {
  const int i = blockIdx.x * threads + threadIdx.x;
  if (i < count) y[i] = x[ids[i]];
}

// y[r] += the sum over j, in order, of weights[r][j] * x[places[r][j]], rounded once. x: [positions][width], y: [rows][width], bf16;
// width is a multiple of 8. Grid: rows. Parameters: x, places, weights, y, int perRow, int width.
extern "C" __global__ void __launch_bounds__(256) add_experts(
    const bf16* x, const int* places, const float* weights, bf16* y, int perRow, int width) {
  __shared__ int rows[32];
  __shared__ float factors[32];
  const long long first = (long long)blockIdx.x * perRow;
  if ((int)threadIdx.x < perRow) {
    rows[threadIdx.x] = places[first + threadIdx.x];
    factors[threadIdx.x] = weights[first + threadIdx.x];
  }
  __syncthreads();
  for (int column = threadIdx.x * 8; column < width; column += threads * 8) {
    float sums[8];
    bf16* target = y + (long long)blockIdx.x * width + column;
    AsBf16::load8(target, sums);
    for (int j = 0; j < perRow; ++j) {
      float values[8];
      AsBf16::load8(x + (long long)rows[j] * width + column, values);
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[i] += factors[j] * values[i];
    }
    AsBf16::store8(target, sums);
  }
}
