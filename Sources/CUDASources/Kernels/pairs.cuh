// Counts of (query, key) pairs, as SparseIndex and TileGrid count them.
#ifndef MI_PAIRS_CUH
#define MI_PAIRS_CUH

#include "plans.cuh"

namespace mi {

/// Causal pairs inside the window of rows at positions from ..< to; 0 if there are none.
__device__ __forceinline__ long long causalPairs(long long from, long long to, long long window) {
  if (from >= to) return 0;
  // Rows before `window` see position + 1 keys, later ones exactly `window`.
  const long long rampEnd = max(from, min(to, window));
  return (rampEnd - from) * (from + rampEnd + 1) / 2 + (to - rampEnd) * window;
}

/// Causal pairs inside the window of rows from ..< to, all of tile row R, and key tile R - distance.
__device__ __forceinline__ long long tilePairs(int from, int to, int distance, int window) {
  if (distance > 0 && (long long)tileExtent * distance + tileExtent - 1 < window) {
    return (long long)tileExtent * (to - from);
  }
  if (distance == 0 && window >= tileExtent) {
    return (long long)(to - from) * (from % tileExtent + (to - 1) % tileExtent + 2) / 2;
  }
  long long pairs = 0;
  for (int position = from; position < to; ++position) {
    // Keys at or before the query, then those that the window leaves.
    const int row = position % tileExtent;
    const int last = distance > 0 ? tileExtent - 1 : row;
    const long long first = (long long)tileExtent * distance + row - window + 1;
    pairs += max(0ll, last + 1 - max(0ll, first));
  }
  return pairs;
}

}  // namespace mi

#endif
