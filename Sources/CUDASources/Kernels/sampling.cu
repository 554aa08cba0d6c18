// Choosing the next token from fp32 logits: the largest, or a draw by temperature, top-k, top-p and min-p.
//
// What is drawn is what TokenDraw.swift draws on the host, to the last bit: weights are 40-bit fractions of the largest, made
// by integer arithmetic from a difference and a product in double precision, and sums of integers do not depend on their
// order. The largest logits that together have a given mass are found as the k-th largest number is: by radix selection, digits
// counted by mass. The id at which a running mass passes a bound is found by halving: each warp sums a part, and the part in
// which the bound lies is shared out anew.

#include "largest.cuh"

using namespace mi;

namespace {

typedef unsigned long long Mass;

struct Sampling {
  static constexpr int threads = 1024;
  static constexpr int warps = threads / 32;
  static constexpr int batch = 8;       // logits of a thread under way at once
  static constexpr int digits = 2048;   // two for each thread
  static constexpr double limit = 41.0; // powers of two below the largest where a weight is nothing
};

struct SamplingShared {
  unsigned low[Sampling::digits], high[Sampling::digits];
  Mass sums[Sampling::warps];
  Mass total, rest;
  int digit;
};

/// visit(id, logit) for every step-th of the ids first ..< end.
template <typename Visit>
__device__ __forceinline__ void forEach(const float* logits, int first, int end, int step, Visit visit) {
  for (int i = first; i < end; i += step * Sampling::batch) {
    float batch[Sampling::batch];
#pragma unroll
    for (int j = 0; j < Sampling::batch; ++j) batch[j] = i + j * step < end ? logits[i + j * step] : 0.0f;
#pragma unroll
    for (int j = 0; j < Sampling::batch; ++j) {
      if (i + j * step < end) visit(i + j * step, batch[j]);
    }
  }
}

/// The rank of the largest logit, in every thread; 0 for a row that is refused: with NaN or infinity in it, or with nothing
/// above -infinity.
__device__ __forceinline__ Mass largestRank(const float* logits, int vocabulary, Mass* shared) {
  Mass best = 0;
  int refused = 0;
  forEach(logits, threadIdx.x, vocabulary, Sampling::threads, [&](int id, float logit) {
    if (!(logit < infinity())) refused = 1;
    best = maximum(best, rankOf(logit, id));
  });
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) best = maximum(best, __shfl_xor_sync(allLanes, best, step));
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = best;
  refused = __syncthreads_or(refused);
  for (int warp = 0; warp < Sampling::warps; ++warp) best = maximum(best, shared[warp]);
  __syncthreads();
  return refused || best >> 32 <= orderedBits(-infinity()) ? 0 : best;
}

// MARK: Masses

/// 2^40 * exp((logit - largest) / temperature), rounded; steepness = log2(e) / temperature. As TokenDraw.weight(below:).
__device__ __forceinline__ Mass weightOf(float logit, float largest, double steepness) {
  const double below = __dmul_rn(__dsub_rn((double)largest, (double)logit), steepness);
  if (!(below < Sampling::limit)) return 0;
  // Behind 2^20 a double has 32 bits after the point.
  const Mass bits = (Mass)__double_as_longlong(__dadd_rn(below, 1048576.0));
  const unsigned fraction = (unsigned)bits;
  const int whole = (int)(bits >> 32 & 0xFFFFF);
  // 2^-fraction in 32 bits after the point: interpolated at eight Chebyshev nodes.
  unsigned power = 0xB58Du;
  power = 0x9A6A6u - __umulhi(power, fraction);
  power = 0x5704AFu - __umulhi(power, fraction);
  power = 0x2762A6Du - __umulhi(power, fraction);
  power = 0xE357996u - __umulhi(power, fraction);
  power = 0x3D7F7AA6u - __umulhi(power, fraction);
  power = 0xB17217E7u - __umulhi(power, fraction);
  const Mass scaled = ((1ull << 32) - __umulhi(power, fraction)) << 8;
  return (scaled + ((1ull << whole) >> 1)) >> whole;
}

struct One {
  __device__ __forceinline__ Mass operator()(int, float) const { return 1; }
};

/// The weight of ids down to a rank, and of at least so much.
struct Weight {
  Mass lowest, least;
  float largest;
  double steepness;

  __device__ __forceinline__ Mass operator()(int id, float logit) const {
    if (rankOf(logit, id) < lowest) return 0;
    const Mass weight = weightOf(logit, largest, steepness);
    return weight < least ? 0 : weight;
  }
};

/// The mass of ids with one logit.
template <typename MassOf> struct Tied {
  unsigned key;
  MassOf massOf;

  __device__ __forceinline__ Mass operator()(int id, float logit) const {
    return orderedBits(logit + 0.0f) == key ? massOf(id, logit) : 0;
  }
};

// MARK: Bounds, which may depend on the sum of all masses

struct Exactly {
  Mass bound;
  __device__ __forceinline__ Mass operator()(Mass) const { return bound; }
};

/// So many 2^64ths of the sum, rounded up.
struct ShareUp {
  Mass share;
  __device__ __forceinline__ Mass operator()(Mass total) const {
    return __umul64hi(share, total) + (share * total != 0);
  }
};

struct ShareDown {
  Mass share;
  __device__ __forceinline__ Mass operator()(Mass total) const { return __umul64hi(share, total); }
};

// MARK: Searches; all threads of the block call them and get the result

/// The logit, as ordered bits, at which the masses of logits from the largest down reach `bound`, in 1 ... their sum.
/// rest: what remains of the bound for ids with that logit.
template <typename Bound, typename MassOf>
__device__ __forceinline__ unsigned cut(
    const float* logits, int vocabulary, Bound bound, MassOf massOf, SamplingShared& shared, Mass& rest) {
  unsigned prefix = 0;
  int unresolved = 32;
#pragma unroll 1
  for (int level = 0; level < 3; ++level) {
    const int width = level < 2 ? 11 : 10, shift = unresolved - width;
    const unsigned mask = (1u << width) - 1;
    for (int i = threadIdx.x; i < Sampling::digits; i += Sampling::threads) shared.low[i] = shared.high[i] = 0;
    __syncthreads();
    forEach(logits, threadIdx.x, vocabulary, Sampling::threads, [&](int id, float logit) {
      const unsigned key = orderedBits(logit + 0.0f);
      if (level > 0 && key >> unresolved != prefix) return;
      const Mass mass = massOf(id, logit);
      if (mass == 0) return;
      // Sums of 64 bits from additions of 32: whoever makes the low word overflow carries.
      const unsigned digit = key >> shift & mask, low = (unsigned)mass;
      const unsigned before = atomicAdd(shared.low + digit, low);
      const unsigned high = (unsigned)(mass >> 32) + (before + low < before);
      if (high != 0) atomicAdd(shared.high + digit, high);
    });
    __syncthreads();
    // Thread 0 has the highest digits: what threads before a thread have is above its own.
    const int top = Sampling::digits - 1 - 2 * threadIdx.x;
    const Mass first = (Mass)shared.high[top] << 32 | shared.low[top];
    const Mass own = first + ((Mass)shared.high[top - 1] << 32 | shared.low[top - 1]);
    const Mass above = blockExclusiveSum(own, shared.sums);
    if (level == 0) {
      if (threadIdx.x == Sampling::threads - 1) shared.total = above + own;
      __syncthreads();
      rest = bound(shared.total);
    }
    if (above < rest && rest <= above + own) {
      const bool isFirst = rest <= above + first;
      shared.digit = isFirst ? top : top - 1;
      shared.rest = rest - above - (isFirst ? 0 : first);
    }
    __syncthreads();
    prefix = prefix << width | (unsigned)shared.digit;
    rest = shared.rest;
    unresolved = shift;
  }
  return prefix;
}

/// The first id at which the masses from id 0 on sum to more than `bound`, which must be below their sum.
template <typename Bound, typename MassOf>
__device__ __forceinline__ int firstBeyond(
    const float* logits, int vocabulary, Bound bound, MassOf massOf, SamplingShared& shared) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  int begin = 0, end = vocabulary;
  Mass rest = 0;
#pragma unroll 1
  for (bool isFirst = true; isFirst || end - begin > 32; isFirst = false) {
    const int part = (end - begin + Sampling::threads - 1) / Sampling::threads * 32;
    const int from = begin + warp * part;
    Mass sum = 0;
    forEach(logits, from + lane, minimum(from + part, end), 32, [&](int id, float logit) { sum += massOf(id, logit); });
    sum = (Mass)warpSum((long long)sum);
    __syncthreads();
    if (lane == 0) shared.sums[warp] = sum;
    __syncthreads();
    if (isFirst) {
      Mass total = 0;
      for (int i = 0; i < Sampling::warps; ++i) total += shared.sums[i];
      rest = bound(total);
    }
    int found = 0;
    while (found < Sampling::warps - 1 && rest >= shared.sums[found]) rest -= shared.sums[found++];
    begin += found * part;
    end = minimum(begin + part, end);
  }
  const int id = begin + lane;
  const Mass running = warpInclusiveSum(id < end ? massOf(id, logits[id]) : (Mass)0);
  return begin + __ffs((int)__ballot_sync(allLanes, running > rest)) - 1;
}

}  // namespace

// ids[r] = the id of the largest logit of row r, the lowest of several; -1 for a row that a sampler refuses:
// with NaN or infinity in it, or with nothing above -infinity. logits: [rows][vocabulary] fp32 with a row
// stride. Grid: rows. Block: 1024. Parameters: logits, ids, int vocabulary, long long stride.
extern "C" __global__ void __launch_bounds__(1024) argmax(
    const float* logits, int* ids, int vocabulary, long long stride) {
  __shared__ Mass largest[Sampling::warps];
  const Mass best = largestRank(logits + blockIdx.x * stride, vocabulary, largest);
  if (threadIdx.x == 0) ids[blockIdx.x] = best == 0 ? -1 : idOfRank(best);
}

// *id = the id that is drawn from one row of logits, [vocabulary] fp32; -1 for a row that is refused, as above. Kept are the
// topK most likely (0: all; equal logits by the lower id); of these the fewest that have topP 2^64ths of their
// weight (0: all); of these the ones that weigh at least minWeight 2^-40ths of the most likely. steepness: log2(e) / temperature.
// random: 64 random bits. Grid: 1. Block: 1024. Parameters: logits, id, int vocabulary, int topK, double steepness, unsigned
// long long topP, minWeight, random.
extern "C" __global__ void __launch_bounds__(1024) draw(
    const float* logits, int* id, int vocabulary, int topK, double steepness, Mass topP, Mass minWeight, Mass random) {
  __shared__ SamplingShared shared;
  const Mass best = largestRank(logits, vocabulary, shared.sums);
  if (best == 0) {
    if (threadIdx.x == 0) *id = -1;
    return;
  }
  Weight weight = {0, 0, scoreOfOrderedBits((unsigned)(best >> 32)), steepness};
  Mass rest = 0;
  if (topK > 0 && topK < vocabulary) {
    const Exactly bound = {(Mass)topK};
    const Tied<One> tied = {cut(logits, vocabulary, bound, One(), shared, rest), One()};
    const Exactly last = {rest - 1};
    weight.lowest = rankOfBits(tied.key, firstBeyond(logits, vocabulary, last, tied, shared));
  }
  if (topP != 0) {
    const ShareUp bound = {topP};
    const Tied<Weight> tied = {cut(logits, vocabulary, bound, weight, shared, rest), weight};
    const Exactly last = {rest - 1};
    weight.lowest = rankOfBits(tied.key, firstBeyond(logits, vocabulary, last, tied, shared));
  }
  weight.least = minWeight;
  const ShareDown bound = {random};
  const int chosen = firstBeyond(logits, vocabulary, bound, weight, shared);
  if (threadIdx.x == 0) *id = chosen;
}

// Weakens the logits of ids that were seen: positive ones are divided by the penalty, others multiplied. logits: rows of fp32
// with a row stride; ids: [count], distinct. Grid: (count + 255) / 256, rows. Block: 256. Parameters: logits, ids, int count,
// float penalty, long long stride.
extern "C" __global__ void __launch_bounds__(256) penalize(
    float* logits, const int* ids, int count, float penalty, long long stride) {
  const int i = blockIdx.x * 256 + threadIdx.x;
  if (i >= count) return;
  float* logit = logits + blockIdx.y * stride + ids[i];
  *logit = *logit > 0.0f ? *logit / penalty : *logit * penalty;
}
