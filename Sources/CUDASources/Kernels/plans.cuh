// The sparse index on the device: what estimation writes and attention reads.
//
// A tile row is 64 query positions at an absolute multiple of 64; a pair of tile rows is 128 positions.
// A band of start o is, for the tile row whose first position is R, the keys R - o ..< R - o + 64: what
// 64 rows see of an offset that is a slash. Starts need not be multiples of 64; keys before 0 do not
// exist. Swift fills and reads these structs: their order and sizes are part of the interface.
#ifndef MI_PLANS_CUH
#define MI_PLANS_CUH

#include "layouts.cuh"

namespace mi {

constexpr int tileExtent = 64;

/// 32-bit words of key tiles that choosing tiles holds: 4M keys.
constexpr int maximumWords = 2048;

/// In HeadPlan::starts: no band starts in these 64 offsets.
constexpr unsigned noStart = 255;

/// Whether bands cover the key x positions before a tile row's first one, x > 0, where `here` is the entry of
/// starts for x / 64 and `after` the next: some start o has x <= o < x + 64.
__device__ __forceinline__ bool coveredByBands(unsigned here, unsigned after, unsigned x) {
  return (here < tileExtent && here >= (x & 63u)) || after < (x & 63u);
}

/// The two tile rows of a pair, as bits: half 0 and half 1.
enum Halves : int { noHalf = 0, firstHalf = 1, secondHalf = 2, bothHalves = 3 };

/// An entry of HeadPlan::steps: halves in the low bits, above them the place. The place of kind 1 is the
/// distance e, of kind 2 the key tile.
///
/// Fields are named by their shifts and masks, here and below, and not read by functions: calls inside of
/// conditions change the code that the compiler makes of the attention kernels.
struct StepEntry {
  enum : int { placeShift = 2, halves = bothHalves };
};

/// What attention computes for one query head; 64 bytes.
struct HeadPlan {
  /// 0 dense, 1 bands (shift-invariant), 2 rows (explicit).
  int kind;
  /// Kind 1: entries of steps.
  int stepCount;
  /// Kind 1: entry = e * 4 + halves, ascending e; bit h: half h of a pair computes the keys from R - e, R
  /// the first position of half 1.
  /// Kind 2: entry = keyTile * 4 + halves, descending key tiles within a pair.
  const int* steps;
  /// Kind 2: [pairs + 1] starts in steps; pair index = T - firstPosition / 128.
  const int* stepOffsets;
  /// Kind 1: entry j: the start of the band among offsets 64 j ..< 64 j + 64, less 64 j, or noStart. Starts are at
  /// least 64 apart; the first is 0, the tile on the diagonal. Readable to (keys - 1) / 64 + 3.
  const unsigned char* starts;
  /// Single key columns, ascending, distinct.
  const int* columns;
  int columnCount;
  /// Tile rows with a position at or after this one are dense; INT_MAX: none.
  int denseFrom;
  int pad[3];
};
MI_CHECK_LAYOUT(HeadPlan);

/// What the attention kernels are called with, by value; 104 bytes. Activations and caches are bf16 bits.
struct AttentionParameters {
  /// [rows][queryHeads][headDim], row strides qStride and oStride in elements. q and o may be the same memory.
  const unsigned short* q;
  unsigned short* o;
  /// [rows][queryHeads], natural logarithm, or null.
  float* logSumExp;
  /// [kvHeads][capacity][headDim]; keys from firstPosition + rows on are never read.
  const unsigned short* k;
  const unsigned short* v;
  long long kvHeadStride;
  const HeadPlan* heads;
  int rows;
  /// Position of row 0, and of row 0 of the chunk that the plan was made for.
  int firstPosition, planFirstPosition;
  int qStride, oStride;
  int queryHeads;
  /// Query heads a key head.
  int groupSize;
  /// Keys with i - j >= window are invisible; INT_MAX: none.
  int window;
  /// scale * log2(e), positive.
  float scaleLog2;
  /// Keys outside firstKey ..< endKey are invisible, whatever the plan says; endKey INT_MAX: none behind. A part
  /// of attention, to be merged with others.
  int firstKey, endKey;
};
MI_CHECK_LAYOUT(AttentionParameters);

/// What selection takes for one query head: columns and offsets, clamped to the keys. 16 bytes.
struct HeadBudget {
  int vertical, slash;
  /// 0: leave this head alone.
  int wanted;
  /// More than that where it takes more to hold this share of the mass; 0: no more.
  float share;
};
MI_CHECK_LAYOUT(HeadBudget);

/// A selection that needs no estimate, for one query head; 32 bytes. Ranges and columns are slices of
/// arrays that heads may share.
struct FixedBands {
  /// 0: leave this head alone.
  int wanted;
  int rangeStart, rangeCount;
  int columnStart, columnCount;
  int denseFrom;
  int pad[2];
};
MI_CHECK_LAYOUT(FixedBands);

}  // namespace mi

#endif
