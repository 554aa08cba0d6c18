// Dot products of matrices of GGUF files with a row of int8: a piece of a block at a time, as words of four bytes.
//
// A format is a struct with elements and bytes of a block, the elements of a piece (a whole number of groups of 16), and dot, which
// gives the product of piece `piece` of a row of blocks with the row x. Rows begin at multiples of the size of a block, which
// decides how many bytes are loaded at once. What the bytes mean is defined in Swift, StoredNumbers/Blocks, under the same names.
#ifndef MI_BLOCK_DOTS_CUH
#define MI_BLOCK_DOTS_CUH

#include "numbers.cuh"

namespace mi {

typedef unsigned char byte;

/// A row of activations: bytes with a scale for each 32, and what each 16 of them add up to. Begins at a multiple of 16 bytes.
struct ByteRow {
  const int* words;
  const float* scales;
  const int* sums;
};

__device__ __forceinline__ float halfAt(const byte* p, int offset = 0) {
  float low, high;
  unpackFp16((unsigned)p[offset] | (unsigned)p[offset + 1] << 8, low, high);
  return low;
}

template <int alignment> __device__ __forceinline__ int wordAt(const byte* p) {
  if (alignment >= 4) return *(const int*)p;
  if (alignment == 2) return (int)((const unsigned short*)p)[0] | (int)((const unsigned short*)p)[1] << 16;
  return (int)((unsigned)p[0] | (unsigned)p[1] << 8 | (unsigned)p[2] << 16 | (unsigned)p[3] << 24);
}

/// Sixteen bytes.
template <int alignment> __device__ __forceinline__ void wordsAt(const byte* p, int (&words)[4]) {
  if (alignment == 16) {
    const uint4 all = *(const uint4*)p;
    words[0] = (int)all.x, words[1] = (int)all.y, words[2] = (int)all.z, words[3] = (int)all.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) words[i] = wordAt<alignment>(p + 4 * i);
  }
}

/// Sixteen bytes of weights with sixteen of x from element `first` on.
__device__ __forceinline__ int dot16(const int (&w)[4], const ByteRow& x, int first) {
  const uint4 four = *(const uint4*)(x.words + first / 4);
  return __dp4a(w[3], (int)four.w, __dp4a(w[2], (int)four.z, __dp4a(w[1], (int)four.y, __dp4a(w[0], (int)four.x, 0))));
}

__device__ __forceinline__ void lowNibbles(const int (&q)[4], int (&w)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) w[i] = q[i] & 0x0F0F0F0F;
}

__device__ __forceinline__ void highNibbles(const int (&q)[4], int (&w)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) w[i] = q[i] >> 4 & 0x0F0F0F0F;
}

/// Sixteen signed bytes as a table of nibbles.
struct NibbleTable {
  unsigned words[4];

  __device__ __forceinline__ unsigned four(unsigned nibbles) const {
    const unsigned selector = nibbles & 0x7777;
    return __byte_perm(__byte_perm(words[0], words[1], selector), __byte_perm(words[2], words[3], selector),
        0x3210 + ((nibbles & 0x8888) >> 1));
  }

  /// The values of the low and of the high nibbles of four bytes.
  __device__ __forceinline__ void look(int q, int& low, int& high) const {
    const unsigned first = four((unsigned)q & 0xFFFF), second = four((unsigned)q >> 16);
    low = (int)__byte_perm(first, second, 0x6420);
    high = (int)__byte_perm(first, second, 0x7531);
  }
};

/// Thirty-two elements whose nibbles are indices of a table: low ones first.
__device__ __forceinline__ int tableDot(const NibbleTable& table, const int (&q)[4], const ByteRow& x, int first) {
  int low[4], high[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) table.look(q[i], low[i], high[i]);
  return dot16(low, x, first) + dot16(high, x, first + 16);
}

__device__ __forceinline__ NibbleTable unevenValues() {
  return {{0xBFAD9881u, 0xF6EADDCFu, 0x26190D01u, 0x71594535u}};
}

/// E2M1, doubled.
__device__ __forceinline__ NibbleTable doubledE2M1() {
  return {{0x03020100u, 0x0C080604u, 0xFDFEFF00u, 0xF4F8FAFCu}};
}

/// Blocks of 32 elements; a piece is a block.
template <int blockBytes> struct SmallBlocks {
  static constexpr int elements = 32, bytes = blockBytes, piece = 32;
  static constexpr int alignment = bytes % 4 == 0 ? 4 : bytes % 2 == 0 ? 2 : 1;

  static __device__ __forceinline__ int sum(const ByteRow& x, int piece) { return x.sums[2 * piece] + x.sums[2 * piece + 1]; }

  /// Nibbles at `offset`, low ones first.
  static __device__ __forceinline__ int nibbleDot(const byte* b, int offset, const ByteRow& x, int piece) {
    int q[4], low[4], high[4];
    wordsAt<alignment>(b + offset, q);
    lowNibbles(q, low), highNibbles(q, high);
    return dot16(low, x, 32 * piece) + dot16(high, x, 32 * piece + 16);
  }

  /// The same with a fifth bit of each in the word at offset - 4.
  static __device__ __forceinline__ int fiveBitDot(const byte* b, int offset, const ByteRow& x, int piece) {
    int q[4], low[4], high[4];
    wordsAt<alignment>(b + offset, q);
    const unsigned fifth = (unsigned)wordAt<alignment>(b + offset - 4);
    lowNibbles(q, low), highNibbles(q, high);
#pragma unroll
    for (int i = 0; i < 4; ++i) low[i] |= spread(fifth >> 4 * i), high[i] |= spread(fifth >> (16 + 4 * i));
    return dot16(low, x, 32 * piece) + dot16(high, x, 32 * piece + 16);
  }

  /// Bit i of four as bit 4 of byte i.
  static __device__ __forceinline__ int spread(unsigned bits) {
    return (int)((bits & 1) << 4 | (bits & 2) << 11 | (bits & 4) << 18 | (bits & 8) << 25);
  }
};

struct DotQ4_0 : SmallBlocks<18> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const byte* b = row + piece * bytes;
    return halfAt(b) * x.scales[piece] * (float)(nibbleDot(b, 2, x, piece) - 8 * sum(x, piece));
  }
};

struct DotQ4_1 : SmallBlocks<20> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const byte* b = row + piece * bytes;
    return x.scales[piece] * (halfAt(b) * (float)nibbleDot(b, 4, x, piece) + halfAt(b, 2) * (float)sum(x, piece));
  }
};

struct DotQ5_0 : SmallBlocks<22> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const byte* b = row + piece * bytes;
    return halfAt(b) * x.scales[piece] * (float)(fiveBitDot(b, 6, x, piece) - 16 * sum(x, piece));
  }
};

struct DotQ5_1 : SmallBlocks<24> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const byte* b = row + piece * bytes;
    return x.scales[piece] * (halfAt(b) * (float)fiveBitDot(b, 8, x, piece) + halfAt(b, 2) * (float)sum(x, piece));
  }
};

struct DotQ8_0 : SmallBlocks<34> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const byte* b = row + piece * bytes;
    int first[4], second[4];
    wordsAt<2>(b + 2, first), wordsAt<2>(b + 18, second);
    return halfAt(b) * x.scales[piece] * (float)(dot16(first, x, 32 * piece) + dot16(second, x, 32 * piece + 16));
  }
};

struct DotIQ4_NL : SmallBlocks<18> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const byte* b = row + piece * bytes;
    int q[4];
    wordsAt<2>(b + 2, q);
    return halfAt(b) * x.scales[piece] * (float)tableDot(unevenValues(), q, x, 32 * piece);
  }
};

struct DotMXFP4 : SmallBlocks<17> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const byte* b = row + piece * bytes;
    int q[4];
    wordsAt<1>(b + 1, q);
    // 2^(e - 127); exponent 0 is a subnormal number of fp32. Values are doubled.
    const float scale = __uint_as_float(b[0] ? (unsigned)b[0] << 23 : 1u << 22);
    return scale * (0.5f * x.scales[piece] * (float)tableDot(doubledE2M1(), q, x, 32 * piece));
  }
};

/// Blocks of 256 elements.
template <int blockBytes, int pieceElements> struct SuperBlocks {
  static constexpr int elements = 256, bytes = blockBytes, piece = pieceElements;
  static constexpr int alignment = bytes % 16 == 0 ? 16 : bytes % 8 == 0 ? 8 : bytes % 4 == 0 ? 4 : 2;
};

/// Scales and minima of two neighbouring groups, 2 * pair and 2 * pair + 1, of eight pairs of 6 bits in 12 bytes: a byte each.
__device__ __forceinline__ void sixBitPairs(const byte* s, int pair, unsigned& scales, unsigned& minima) {
  const unsigned short* halves = (const unsigned short*)s;
  if (pair < 2) {
    scales = halves[pair] & 0x3F3Fu, minima = halves[pair + 2] & 0x3F3Fu;
  } else {
    const unsigned low = halves[pair + 2];
    scales = (low & 0x0F0Fu) | (halves[pair - 2] >> 2 & 0x3030u);
    minima = (low >> 4 & 0x0F0Fu) | (halves[pair] >> 2 & 0x3030u);
  }
}

/// Sixteen elements of each of two groups of Q4_K or Q5_K: what they add to the product. first: an element of the row.
__device__ __forceinline__ float pairDot(
    const byte* b, int pair, const int (&low)[4], const int (&high)[4], const ByteRow& x, int first) {
  unsigned scales, minima;
  sixBitPairs(b + 4, pair, scales, minima);
  const float s0 = x.scales[first / 32], s1 = x.scales[first / 32 + 1];
  const float scaled = s0 * (float)((int)(scales & 255) * dot16(low, x, first)) +
      s1 * (float)((int)(scales >> 8) * dot16(high, x, first + 32));
  const float least = s0 * (float)((int)(minima & 255) * x.sums[first / 16]) +
      s1 * (float)((int)(minima >> 8) * x.sums[first / 16 + 2]);
  return halfAt(b) * scaled - halfAt(b, 2) * least;
}

struct DotQ4_K : SuperBlocks<144, 32> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const int pair = piece >> 1 & 3, half = piece & 1;
    const byte* b = row + (piece >> 3) * bytes;
    int q[4], low[4], high[4];
    wordsAt<16>(b + 16 + 32 * pair + 16 * half, q);
    lowNibbles(q, low), highNibbles(q, high);
    return pairDot(b, pair, low, high, x, (piece >> 3) * 256 + 64 * pair + 16 * half);
  }
};

struct DotQ5_K : SuperBlocks<176, 32> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const int pair = piece >> 1 & 3, half = piece & 1;
    const byte* b = row + (piece >> 3) * bytes;
    int q[4], fifth[4], low[4], high[4];
    wordsAt<16>(b + 48 + 32 * pair + 16 * half, q);
    wordsAt<16>(b + 16 + 16 * half, fifth);
    lowNibbles(q, low), highNibbles(q, high);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      low[i] |= (fifth[i] >> 2 * pair & 0x01010101) << 4;
      high[i] |= (fifth[i] >> (2 * pair + 1) & 0x01010101) << 4;
    }
    return pairDot(b, pair, low, high, x, (piece >> 3) * 256 + 64 * pair + 16 * half);
  }
};

struct DotQ6_K : SuperBlocks<210, 32> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const int half = piece >> 2 & 1, side = piece >> 1 & 1, sixteen = piece & 1;
    const byte* b = row + (piece >> 3) * bytes;
    int q[4], two[4], low[4], high[4];
    wordsAt<2>(b + 64 * half + 32 * side + 16 * sixteen, q);
    wordsAt<2>(b + 128 + 32 * half + 16 * sixteen, two);
    lowNibbles(q, low), highNibbles(q, high);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      low[i] |= (two[i] >> 2 * side & 0x03030303) << 4;
      high[i] |= (two[i] >> (2 * side + 4) & 0x03030303) << 4;
    }
    const int group = 8 * half + 2 * side + sixteen, first = (piece >> 3) * 256 + 16 * group;
    const int scale0 = (signed char)b[192 + group], scale1 = (signed char)b[192 + group + 4];
    const int dot0 = dot16(low, x, first) - 32 * x.sums[first / 16];
    const int dot1 = dot16(high, x, first + 64) - 32 * x.sums[first / 16 + 4];
    return halfAt(b, 208) *
        (x.scales[first / 32] * (float)(scale0 * dot0) + x.scales[first / 32 + 2] * (float)(scale1 * dot1));
  }
};

struct DotQ2_K : SuperBlocks<84, 64> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const int half = piece >> 1 & 1, sixteen = piece & 1;
    const byte* b = row + (piece >> 2) * bytes;
    int q[4];
    wordsAt<4>(b + 16 + 32 * half + 16 * sixteen, q);
    float scaled = 0.0f, least = 0.0f;
#pragma unroll
    for (int shift = 0; shift < 4; ++shift) {
      int w[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) w[i] = q[i] >> 2 * shift & 0x03030303;
      const int group = 8 * half + 2 * shift + sixteen, first = (piece >> 2) * 256 + 16 * group;
      const float scale = x.scales[first / 32];
      scaled += scale * (float)((b[group] & 15) * dot16(w, x, first));
      least += scale * (float)((b[group] >> 4) * x.sums[first / 16]);
    }
    return halfAt(b, 80) * scaled - halfAt(b, 82) * least;
  }
};

struct DotQ3_K : SuperBlocks<110, 64> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const int half = piece >> 1 & 1, sixteen = piece & 1;
    const byte* b = row + (piece >> 2) * bytes;
    const byte* s = b + 96;
    int q[4], third[4];
    wordsAt<2>(b + 32 + 32 * half + 16 * sixteen, q);
    wordsAt<2>(b + 16 * sixteen, third);
    float sum = 0.0f;
#pragma unroll
    for (int shift = 0; shift < 4; ++shift) {
      int w[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        w[i] = (q[i] >> 2 * shift & 0x03030303) | (third[i] >> (4 * half + shift) & 0x01010101) << 2;
      }
      const int group = 8 * half + 2 * shift + sixteen, first = (piece >> 2) * 256 + 16 * group;
      const int low = half ? s[group - 8] >> 4 : s[group] & 15;
      const int scale = (low | (s[8 + (group & 3)] >> 2 * (group >> 2) & 3) << 4) - 32;
      sum += x.scales[first / 32] * (float)(scale * (dot16(w, x, first) - 4 * x.sums[first / 16]));
    }
    return halfAt(b, 108) * sum;
  }
};

struct DotIQ4_XS : SuperBlocks<136, 32> {
  static __device__ __forceinline__ float dot(const byte* row, int piece, const ByteRow& x) {
    const int group = piece & 7;
    const byte* b = row + (piece >> 3) * bytes;
    const int high = ((int)b[2] | (int)b[3] << 8) >> 2 * group & 3;
    const int scale = ((b[4 + group / 2] >> 4 * (group & 1) & 15) | high << 4) - 32;
    int q[4];
    wordsAt<4>(b + 8 + 16 * group, q);
    return halfAt(b) * x.scales[piece] * (float)(scale * tableDot(unevenValues(), q, x, 32 * piece));
  }
};

}  // namespace mi

#endif
