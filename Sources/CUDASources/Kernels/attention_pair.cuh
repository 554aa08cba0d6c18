// What the plan of a head says about one pair of tile rows, and the scan that compacts its columns
// into the ring from which steps gather keys.

#pragma once

#include "attention_step.cuh"

namespace mi {

/// What the plan says about one pair; the same for all threads of a block.
struct Pair {
  HeadPlan plan;
  int firstTileRow;  // 2T
  int dense;         // bit h: half h is dense, whether it has rows or not
  int sparse;        // bit h: half h has rows and is not dense
  int limit;         // columns from this key on are in diagonal tiles or invisible to sparse halves
  int lowestKey[2];  // window and part
  int listBegin, listEnd;
  int walkLowest;  // the lowest key that either half may compute

  /// Flags of the halves whose window reaches the 64 keys from `first` on.
  __device__ __forceinline__ int visible(int first) const {
    return (first + Tile::keys > lowestKey[0] ? firstHalf : 0) |
        (first + Tile::keys > lowestKey[1] ? secondHalf : 0);
  }
  /// Flags of tile t in a kind 2 list, by bisection.
  __device__ __forceinline__ int listed(int t) const {
    int low = listBegin, high = listEnd;
    while (low < high) {
      const int middle = (low + high) >> 1;
      if ((plan.steps[middle] >> StepEntry::placeShift) > t)
        low = middle + 1;
      else
        high = middle;
    }
    if (low == listEnd) return 0;
    const int entry = plan.steps[low];
    return (entry >> StepEntry::placeShift) == t ? entry & StepEntry::halves : noHalf;
  }
  /// Flags of the halves whose bands hold the key x positions before half 0's first, x > -64 or
  /// anything for that half.
  __device__ __forceinline__ int inBands(int x) const {
    const int bucket = x >> 6;
    const unsigned before = bucket >= 0 ? plan.starts[bucket] : noStart;
    const unsigned here = bucket >= -1 ? plan.starts[bucket + 1] : noStart;
    const unsigned after = bucket >= -1 ? plan.starts[bucket + 2] : noStart;
    return (coveredByBands(before, here, x) ? firstHalf : 0) |
        (coveredByBands(here, after, x) ? secondHalf : 0);
  }
};

/// A step in one word, so that the next one takes one register: (first key + 64) * 4 + halves of a
/// tile, or columns + place in the ring * 128 + number of columns, or none.
struct StepWord {
  enum : int {
    none = 0,
    columns = 1 << 30,
    keyShift = 2,
    halves = bothHalves,
    ringShift = 7,
    count = 127
  };
};

/// Compacts the plan's columns to those that a half of the pair has to gather: not in its tiles,
/// not at or behind its own diagonal tile, inside the window. Each warp looks at 32 of every 128
/// columns, copied to its part of `buffer` at the scan before: with the steps' own copies they are
/// there one barrier later.
struct ColumnScan {
  int next;  // index of the scan's first column of this warp

  __device__ __forceinline__ void fetch(const Pair& pair, int* buffer, int lane) const {
    const bool valid = next + lane < pair.plan.columnCount;
    copyAsync4(sharedAddress(buffer + lane), pair.plan.columns + (valid ? next + lane : 0), valid);
  }
  /// Returns false when there is nothing to scan.
  __device__ __forceinline__ bool begin(const Pair& pair, int* buffer, int warp, int lane) {
    if (pair.plan.kind == 0 || pair.plan.columnCount == 0 || pair.sparse == 0) return false;
    const int lowest = pair.sparse & firstHalf ? pair.lowestKey[0] : pair.lowestKey[1];
    int low = 0, high = lowest > 0 ? pair.plan.columnCount : 0;
    while (low < high) {
      const int middle = (low + high) >> 1;
      if (pair.plan.columns[middle] < lowest)
        low = middle + 1;
      else
        high = middle;
    }
    next = low + warp * 32;
    fetch(pair, buffer, lane);
    return true;
  }
  /// Appends to the ring behind `produced` entries; an entry is column * 4 + flags. Adds the number
  /// of entries, and 65536 at the columns' end, to `added`.
  __device__ __forceinline__ void run(
      const Pair& pair, int* buffer, int* ring, int produced, int* added, int lane) {
    const int column = next + lane < pair.plan.columnCount ? buffer[lane] : 0x7fffffff;
    const int distance = pair.firstTileRow - (column >> 6);
    const bool behind = column >= pair.limit;
    int flags = 0;
    if (!behind) {
      const int covered = pair.plan.kind == 1
          ? pair.inBands(pair.firstTileRow * Tile::half - column)
          : pair.listed(column >> 6);
      flags = pair.sparse & ~covered;
      if (distance <= 0 || column < pair.lowestKey[0]) flags &= ~firstHalf;
      if (column < pair.lowestKey[1]) flags &= ~secondHalf;
    }
    const unsigned kept = __ballot_sync(0xffffffffu, flags != 0);
    const int end = __any_sync(0xffffffffu, behind) ? 65536 : 0;
    int first = 0;
    if (lane == 0) first = atomicAdd(added, __popc(kept) + end) & 65535;
    first = __shfl_sync(0xffffffffu, first, 0) + produced;
    if (flags)
      ring[(first + __popc(kept & ((1u << lane) - 1))) & (Tile::ring - 1)] = column * 4 + flags;
    next += Tile::scan;
    fetch(pair, buffer, lane);
  }
};

}  // namespace mi
