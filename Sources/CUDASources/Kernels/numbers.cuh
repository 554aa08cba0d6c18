// Number formats in memory: bf16, fp16 and fp32, each read and written as fp32.
//
// A format is a struct with load8/store8 (8 elements, 16-byte aligned) and load/store (one element).
#ifndef MI_NUMBERS_CUH
#define MI_NUMBERS_CUH

#include "common.cuh"

namespace mi {

typedef unsigned short fp16;

__device__ __forceinline__ unsigned packFp16(float low, float high) {
  unsigned packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

__device__ __forceinline__ void unpackFp16(unsigned packed, float& low, float& high) {
  asm("{\n\t.reg .f16 a, b;\n\tmov.b32 {a, b}, %2;\n\tcvt.f32.f16 %0, a;\n\tcvt.f32.f16 %1, b;\n\t}"
      : "=f"(low), "=f"(high)
      : "r"(packed));
}

struct AsBf16 {
  typedef bf16 Element;
  static __device__ __forceinline__ void unpack(uint4 words, float (&values)[8]) {
    const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      values[2 * i] = __uint_as_float(word[i] << 16);
      values[2 * i + 1] = __uint_as_float(word[i] & 0xFFFF0000u);
    }
  }
  static __device__ __forceinline__ uint4 pack(const float (&values)[8]) {
    return make_uint4(
        toBF16Pair(values[0], values[1]), toBF16Pair(values[2], values[3]),
        toBF16Pair(values[4], values[5]), toBF16Pair(values[6], values[7]));
  }
  static __device__ __forceinline__ void load8(const Element* source, float (&values)[8]) {
    unpack(*(const uint4*)source, values);
  }
  static __device__ __forceinline__ void store8(Element* target, const float (&values)[8]) {
    *(uint4*)target = pack(values);
  }
  static __device__ __forceinline__ float load(const Element* source) { return toFloat(*source); }
  static __device__ __forceinline__ void store(Element* target, float value) {
    *target = toBF16(value);
  }
};

struct AsFp16 {
  typedef fp16 Element;
  static __device__ __forceinline__ void load8(const Element* source, float (&values)[8]) {
    const uint4 words = *(const uint4*)source;
    unpackFp16(words.x, values[0], values[1]);
    unpackFp16(words.y, values[2], values[3]);
    unpackFp16(words.z, values[4], values[5]);
    unpackFp16(words.w, values[6], values[7]);
  }
  static __device__ __forceinline__ void store8(Element* target, const float (&values)[8]) {
    *(uint4*)target = make_uint4(
        packFp16(values[0], values[1]), packFp16(values[2], values[3]),
        packFp16(values[4], values[5]), packFp16(values[6], values[7]));
  }
  static __device__ __forceinline__ float load(const Element* source) {
    float low, high;
    unpackFp16(*source, low, high);
    return low;
  }
  static __device__ __forceinline__ void store(Element* target, float value) {
    *target = (fp16)packFp16(value, 0.0f);
  }
};

struct AsFp32 {
  typedef float Element;
  static __device__ __forceinline__ void load8(const Element* source, float (&values)[8]) {
    const float4 first = ((const float4*)source)[0];
    const float4 second = ((const float4*)source)[1];
    values[0] = first.x, values[1] = first.y, values[2] = first.z, values[3] = first.w;
    values[4] = second.x, values[5] = second.y, values[6] = second.z, values[7] = second.w;
  }
  static __device__ __forceinline__ void store8(Element* target, const float (&values)[8]) {
    ((float4*)target)[0] = make_float4(values[0], values[1], values[2], values[3]);
    ((float4*)target)[1] = make_float4(values[4], values[5], values[6], values[7]);
  }
  static __device__ __forceinline__ float load(const Element* source) { return *source; }
  static __device__ __forceinline__ void store(Element* target, float value) { *target = value; }
};

}  // namespace mi

#endif
