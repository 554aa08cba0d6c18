// Blocks of 64 keys as attention with fp8 operands reads them: 8192 bytes each for keys and values, already in the order of shared
// memory, so that one plain bulk copy brings a block.
//
// Keys: 64 rows of 128 channels; the 16-byte chunk c of row r lies at chunk c ^ r % 8 (the 128-byte swizzle).
// Values: transposed, 128 rows (channels) of 64 keys; chunk c of row r lies at chunk c ^ r / 2 % 4 (the 64-byte swizzle). The keys
// of every 32 are permuted: a thread's weights of columns 8b + 2q, 8b + 2q + 1 (b = 0..3) of a product's accumulator then are, in
// that order, its bytes 4q..4q+3 and 16+4q..16+4q+3 of the next product's left operand, and need no exchange between threads.
//
// Per kv head 264 floats, KVFactors: what was subtracted from every key and value, and the scales. A key is
// keyMean + keyScale * stored, a value valueMean + valueScale * stored. The means cost no exactness: a constant added to all keys
// shifts a row's scores alike, and weights that sum to 1 pass a constant of all values on. What e4m3 rounds is then smaller.
#ifndef MI_FP8_BLOCKS_CUH
#define MI_FP8_BLOCKS_CUH

namespace mi {

struct KVFactors {
  float keyMean[128], valueMean[128];
  float keyScale, valueScale;
  float pad[6];
};

constexpr int fp8BlockBytes = 64 * 128;

/// The key whose value stands at place p of the 64 of a block.
__device__ __forceinline__ int permutedKey(int p) {
  return (p & 48) + (p >> 1 & 1) * 8 + 2 * (p >> 2 & 3) + (p & 1);
}

}  // namespace mi

#endif
