// Matrices of GGUF files: blocks of integers with scales, read eight elements at a time as fp32.
//
// A format is a struct with the elements and bytes of a block and read8, which decodes elements first ..< first + 8 of a block;
// first is a multiple of 8. Blocks have no alignment. What the bytes mean is defined in Swift, StoredNumbers/Blocks, under the
// same names.
#ifndef MI_BLOCKS_CUH
#define MI_BLOCKS_CUH

#include "numbers.cuh"

namespace mi {

typedef unsigned char byte;

__device__ __forceinline__ float halfAt(const byte* p) {
  float low, high;
  unpackFp16((unsigned)p[0] | (unsigned)p[1] << 8, low, high);
  return low;
}

/// Eight nibbles of `q`, 16 bytes that hold 32 elements: low halves first, then high ones.
__device__ __forceinline__ void nibbles8(const byte* q, int first, int (&v)[8]) {
  const int shift = first < 16 ? 0 : 4;
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] = q[(first & 15) + i] >> shift & 15;
}

/// The values of IQ4_NL's and IQ4_XS's nibbles, four to a word, as signed bytes.
__device__ __forceinline__ float unevenValue(int nibble) {
  const unsigned words[4] = {0xBFAD9881u, 0xF6EADDCFu, 0x26190D01u, 0x71594535u};
  const unsigned word = nibble < 8 ? (nibble < 4 ? words[0] : words[1]) : (nibble < 12 ? words[2] : words[3]);
  return (float)(signed char)(word >> 8 * (nibble & 3));
}

/// Scale and offset `group` of eight pairs of 6 bits in 12 bytes.
__device__ __forceinline__ void sixBitPair(const byte* s, int group, int& scale, int& minimum) {
  if (group < 4) {
    scale = s[group] & 63, minimum = s[group + 4] & 63;
  } else {
    scale = (s[group + 4] & 15) | s[group - 4] >> 6 << 4;
    minimum = s[group + 4] >> 4 | s[group] >> 6 << 4;
  }
}

struct Q4_0 {
  static constexpr int elements = 32, bytes = 18;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    int v[8];
    nibbles8(b + 2, first, v);
    const float d = halfAt(b);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * (float)(v[i] - 8);
  }
};

struct Q4_1 {
  static constexpr int elements = 32, bytes = 20;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    int v[8];
    nibbles8(b + 4, first, v);
    const float d = halfAt(b), m = halfAt(b + 2);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * (float)v[i] + m;
  }
};

struct Q5_0 {
  static constexpr int elements = 32, bytes = 22;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    int v[8];
    nibbles8(b + 6, first, v);
    const float d = halfAt(b);
    const int fifth = b[2 + first / 8];
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * (float)((v[i] | (fifth >> i & 1) << 4) - 16);
  }
};

struct Q5_1 {
  static constexpr int elements = 32, bytes = 24;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    int v[8];
    nibbles8(b + 8, first, v);
    const float d = halfAt(b), m = halfAt(b + 2);
    const int fifth = b[4 + first / 8];
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * (float)(v[i] | (fifth >> i & 1) << 4) + m;
  }
};

struct Q8_0 {
  static constexpr int elements = 32, bytes = 34;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    const float d = halfAt(b);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * (float)(signed char)b[2 + first + i];
  }
};

struct IQ4_NL {
  static constexpr int elements = 32, bytes = 18;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    int v[8];
    nibbles8(b + 2, first, v);
    const float d = halfAt(b);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * unevenValue(v[i]);
  }
};

struct MXFP4 {
  static constexpr int elements = 32, bytes = 17;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    int v[8];
    nibbles8(b + 1, first, v);
    // 2^(e - 127); exponent 0 is a subnormal number of fp32.
    const float scale = __uint_as_float(b[0] ? (unsigned)b[0] << 23 : 1u << 22);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      // A sign, two bits of exponent, one of fraction.
      const int exponent = v[i] >> 1 & 3, fraction = v[i] & 1;
      const float magnitude = exponent ? (float)((2 + fraction) << exponent) * 0.25f : 0.5f * (float)fraction;
      values[i] = scale * (v[i] & 8 ? -magnitude : magnitude);
    }
  }
};

struct Q2_K {
  static constexpr int elements = 256, bytes = 84;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    const int half = first >> 7, shift = (first >> 5 & 3) * 2, scales = b[first >> 4];
    const byte* q = b + 16 + 32 * half + (first & 31);
    const float d = halfAt(b + 80) * (float)(scales & 15), m = halfAt(b + 82) * (float)(scales >> 4);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * (float)(q[i] >> shift & 3) - m;
  }
};

struct Q3_K {
  static constexpr int elements = 256, bytes = 110;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    const int half = first >> 7, quarter = first >> 5 & 3, l = first & 31, group = first >> 4;
    const byte* s = b + 96;
    const int low = group < 8 ? s[group] & 15 : s[group - 8] >> 4;
    const int scale = (low | (s[8 + (group & 3)] >> 2 * (group >> 2) & 3) << 4) - 32;
    const float d = halfAt(b + 108) * (float)scale;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int v = (b[32 + 32 * half + l + i] >> 2 * quarter & 3) | (b[l + i] >> (4 * half + quarter) & 1) << 2;
      values[i] = d * (float)(v - 4);
    }
  }
};

struct Q4_K {
  static constexpr int elements = 256, bytes = 144;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    const int group = first >> 5, shift = (group & 1) * 4;
    int scale, minimum;
    sixBitPair(b + 4, group, scale, minimum);
    const byte* q = b + 16 + 32 * (group >> 1) + (first & 31);
    const float d = halfAt(b) * (float)scale, m = halfAt(b + 2) * (float)minimum;
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * (float)(q[i] >> shift & 15) - m;
  }
};

struct Q5_K {
  static constexpr int elements = 256, bytes = 176;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    const int group = first >> 5, shift = (group & 1) * 4, l = first & 31;
    int scale, minimum;
    sixBitPair(b + 4, group, scale, minimum);
    const byte* q = b + 48 + 32 * (group >> 1) + l;
    const float d = halfAt(b) * (float)scale, m = halfAt(b + 2) * (float)minimum;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      values[i] = d * (float)((q[i] >> shift & 15) | (b[16 + l + i] >> group & 1) << 4) - m;
    }
  }
};

struct Q6_K {
  static constexpr int elements = 256, bytes = 210;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    const int half = first >> 7, quarter = first >> 5 & 3, l = first & 31;
    const byte* low = b + 64 * half + 32 * (quarter & 1) + l;
    const byte* high = b + 128 + 32 * half + l;
    const float d = halfAt(b + 208) * (float)(signed char)b[192 + (first >> 4)];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int v = (low[i] >> (quarter < 2 ? 0 : 4) & 15) | (high[i] >> 2 * quarter & 3) << 4;
      values[i] = d * (float)(v - 32);
    }
  }
};

struct IQ4_XS {
  static constexpr int elements = 256, bytes = 136;
  static __device__ __forceinline__ void read8(const byte* b, int first, float (&values)[8]) {
    const int group = first >> 5;
    const int high = ((int)b[2] | (int)b[3] << 8) >> 2 * group & 3;
    const int scale = ((b[4 + group / 2] >> 4 * (group & 1) & 15) | high << 4) - 32;
    int v[8];
    nibbles8(b + 8 + 16 * group, first & 31, v);
    const float d = halfAt(b) * (float)scale;
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = d * unevenValue(v[i]);
  }
};

}  // namespace mi

#endif
