// Whether a head computes the key blocks that were chosen by their shares, or the bands and columns that were planned
// beside them.
//
// What the chunk's last rows attend to, added up over blocks of 128 keys, is compared with the shares of these blocks in the
// chunk's last query block. Where the square root of the Jensen-Shannon divergence of the two is at least the head's
// distance, the shares are not trusted, and bands are computed. Source: FlexPrefill (arXiv 2502.20766), algorithm 2;
// Swift: BandAlternative.
//
// Order of launches: keep_last_shares behind select_shares of the chunk's last part, whose sums it reads; choose_bands
// behind plan_bands and before count_shares, which leaves heads with bands alone. A query block is one scored group here.

#include "reductions.cuh"
#include "shares.cuh"

using namespace mi;

namespace {

/// Parameters of both entries, by value; 88 bytes.
struct BandChoiceParameters {
  /// [slots].
  const ShareHead* heads;
  /// keep_last_shares: [slots][partBlocks][sumStride] and [slots][partBlocks][maximumStride] fp32 of the chunk's last part,
  /// as for ShareParameters.
  const float* sums;
  const float* maxima;
  /// [slots][keyBlocks]: the shares of the chunk's last query block.
  float* lastShares;
  /// choose_bands: [heads][columnSumStride] fp32, of which `keys` are read: the mass of the last rows on every column.
  const float* columnSums;
  /// [slots]: 1: the head computes bands.
  int* takesBands;
  long long columnSumStride;
  /// Keys up to the chunk's last row, and their blocks.
  int keys, keyBlocks;
  int partBlocks, sumStride, maximumStride;
  /// Position of the first row of the last query block.
  int firstRow;
  /// INT_MAX: none.
  int window;
};
MI_CHECK_LAYOUT(BandChoiceParameters);

/// What a block adds to the divergence of two distributions that hold x and y in it.
__device__ __forceinline__ double divergencePart(double x, double y) {
  const double middle = (x + y) / 2;
  return (x > 0 ? x * log(x / middle) / 2 : 0) + (y > 0 ? y * log(y / middle) / 2 : 0);
}

}  // namespace

// The shares of the chunk's last query block, zero outside the window. Grid: slots. Block: 256. No dynamic shared memory.
// Parameters: BandChoiceParameters, by value.
extern "C" __global__ void __launch_bounds__(256) keep_last_shares(const BandChoiceParameters p) {
  __shared__ double totals[32];
  const int slot = blockIdx.x;
  const long long row = (long long)slot * p.partBlocks + p.partBlocks - 1;
  const float* const sums = p.sums + row * p.sumStride;
  const float* const maxima = p.maxima + row * p.maximumStride;
  float* const shares = p.lastShares + (long long)slot * p.keyBlocks;
  const int own = p.keyBlocks - 1;
  const int firstVisible = firstVisibleBlock(own, p.firstRow, p.window);
  // Tiles outside the window were left out.
  float maximum = lowestScore;
  for (int tile = firstVisible / scoreTile; tile <= own / scoreTile; ++tile) maximum = fmaxf(maximum, maxima[tile]);
  double sum = 0;
  for (int c = firstVisible + (int)threadIdx.x; c <= own; c += blockDim.x) {
    sum += (double)(sums[c] * exp2Approximate(maxima[c / scoreTile] - maximum));
  }
  const double total = blockSum(sum, totals);
  for (int c = threadIdx.x; c <= own; c += blockDim.x) {
    const float mass = c < firstVisible ? 0 : sums[c] * exp2Approximate(maxima[c / scoreTile] - maximum);
    shares[c] = (float)(mass / total);
  }
}

// Decides for each head. Grid: slots. Block: 1024. No dynamic shared memory. Parameters: BandChoiceParameters, by value.
extern "C" __global__ void __launch_bounds__(1024) choose_bands(const BandChoiceParameters p) {
  __shared__ double totals[32];
  const int slot = blockIdx.x;
  const ShareHead rule = p.heads[slot];
  const int thread = threadIdx.x, lane = thread % 32;
  if (rule.bandDistance == infinity()) {
    if (thread == 0) p.takesBands[slot] = 0;
    return;
  }
  const float* const columns = p.columnSums + rule.head * p.columnSumStride;
  const float* const shares = p.lastShares + (long long)slot * p.keyBlocks;
  double ofRows = 0, ofMeans = 0;
  for (int i = thread; i < p.keys; i += blockDim.x) ofRows += columns[i];
  for (int c = thread; c < p.keyBlocks; c += blockDim.x) ofMeans += shares[c];
  ofRows = blockSum(ofRows, totals);
  ofMeans = blockSum(ofMeans, totals);
  double divergence = 0;
  for (int c = thread / 32; c < p.keyBlocks; c += blockDim.x / 32) {
    double mass = 0;
#pragma unroll
    for (int i = 0; i < shareBlock; i += 32) {
      const int key = c * shareBlock + i + lane;
      if (key < p.keys) mass += columns[key];
    }
    mass = warpSum(mass);
    if (lane == 0) divergence += divergencePart(mass / ofRows, shares[c] / ofMeans);
  }
  divergence = blockSum(divergence, totals);
  if (thread != 0) return;
  // A distribution without mass is no ground to trust the shares.
  const bool isNear = ofRows > 0 && ofMeans > 0 && sqrt(fmax(0.0, divergence)) < (double)rule.bandDistance;
  p.takesBands[slot] = !isNear;
}
